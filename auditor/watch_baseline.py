"""A baseline for a watch, read from a file or a case and checked before anything is asked."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from auditor.bundle.schemas import departures
from auditor.enrolment.baseline import SCHEMA
from auditor.errors import InputError
from auditor.judge.betting import Cell
from auditor.judge.cells import cell_of
from auditor.types import Message, Probe
from auditor.watched import FILE

IN_A_CASE = Path("data", FILE)
_ENROL = "`auditor watch SUBJECT --enrol FILE` makes a baseline"


def read_baseline(path: Path) -> dict[str, Any]:
    """Return a baseline: a file, or that of a case.

    Raises:
        InputError: there is none, or it is of another schema or broken.
    """
    place = path / IN_A_CASE if path.is_dir() else path
    try:
        content = json.loads(place.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise InputError(f"{place} cannot be read: {error.strerror}", hint=_ENROL) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no JSON: {error}", hint=_ENROL) from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{place} is no baseline of schema {SCHEMA}", hint=_ENROL)
    wrong = next(departures(content, "watch-baseline"), None) or _disagreement(content)
    if wrong is not None:
        raise InputError(f"{place} is broken: {wrong}", hint=_ENROL)
    return content


def _no_number(text: str) -> float:
    """Refuse NaN and infinities, which Python reads: no limit of a schema holds them back."""
    raise ValueError(f"{text} is no number")


def _disagreement(content: dict[str, Any]) -> str | None:
    """Return what a schema cannot say: where the parts of a baseline do not fit each other."""
    passes = [len(group["passes"]) for group in content["groups"]]
    for index, cell in enumerate(content["cells"]):
        wanted = [(count, len(cell["answers"]) + 1) for count in passes]
        if len(cell["groups"]) != len(wanted):
            return f"/cells/{index}/groups: wanted {len(wanted)}, found {len(cell['groups'])}"
        if len(set(cell["answers"])) < len(cell["answers"]):
            return f"/cells/{index}/answers: one stands there twice"
        for place, (group, size) in enumerate(zip(cell["groups"], wanted, strict=True)):
            wrong = _misfit(group, *size)
            if wrong is not None:
                return f"/cells/{index}/groups/{place}: {wrong}"
    return None


def _misfit(group: dict[str, Any], passes: int, answers: int) -> str | None:
    if len(group["passes"]) != passes:
        return f"wanted {passes} passes, found {len(group['passes'])}"
    if any(len(row) != answers for row in (*group["passes"], group["ceilings"])):
        return f"wanted a number for each of {answers} answers"
    if not np.allclose(np.sum(group["passes"], axis=1), 1.0, atol=1e-6):
        return "the probabilities of a pass do not add up to 1"
    limits = np.array(group["ceilings"])
    if not (np.all(limits > 0.0) and np.all(limits <= 1.0) and limits.sum() >= 1.0):
        return "ceilings that no deployment can keep below"
    return None


def groups_of(baseline: dict[str, Any]) -> list[list[Cell]]:
    """Return the cells of a baseline as each group of honest deployments answers them."""
    temperature = float(baseline["temperature"])
    return [
        [_cell(cell["groups"][place], temperature) for cell in baseline["cells"]]
        for place in range(len(baseline["groups"]))
    ]


def _cell(group: dict[str, Any], temperature: float) -> Cell:
    passes = np.array(group["passes"], dtype=np.float64)
    return cell_of(passes, np.array(group["ceilings"], dtype=np.float64), temperature)


def probe_of(cell: dict[str, Any]) -> Probe:
    """Return the question of a cell."""
    messages = tuple(Message(role=m["role"], content=m["content"]) for m in cell["messages"])
    return Probe(id=cell["probe"], category=cell["category"], messages=messages)
