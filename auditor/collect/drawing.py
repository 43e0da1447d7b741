"""Replies to one group of probes: drawn from a model, or read where another process drew them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.canon import canonical_json
from auditor.case import Case, atomic_write
from auditor.collect.conditions import check_rendered, conditioned
from auditor.errors import (
    AccessError,
    BudgetError,
    MissingExtraError,
    ServerError,
    StorageError,
    SubjectError,
)
from auditor.models.base import Model
from auditor.types import Probe, Sample

if TYPE_CHECKING:
    from auditor.collect.sampling import Sampling

_NOT_OF_A_PROBE = (
    StorageError,
    MissingExtraError,
    AccessError,
    ServerError,
    BudgetError,
    ImportError,
)
"""Failures of the whole subject or of this machine."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Replies by (probe id, repeat), and why a probe lacks some."""

    samples: dict[tuple[str, int], Sample]
    failures: dict[str, str]


def draw(model: Model, batch: Sequence[Probe], wanted: "Sampling") -> Drawn:
    """Return the replies of a model to a group of probes, asked in halves where it fails.

    Raises:
        AuditorError: the failure is not that of a probe: the server, this machine, a package.
    """
    try:
        return Drawn(_ask(model, batch, wanted.repeats, wanted), {})
    except _NOT_OF_A_PROBE:
        raise
    except Exception as error:
        if len(batch) == 1:
            return _draw_fewer(model, batch[0], wanted, _probe_failure(error, batch[0]))
    # One bad probe must not cost the others: ask again, in halves.
    middle = len(batch) // 2
    first, second = draw(model, batch[:middle], wanted), draw(model, batch[middle:], wanted)
    return Drawn(first.samples | second.samples, first.failures | second.failures)


def _draw_fewer(model: Model, probe: Probe, wanted: "Sampling", failure: str) -> Drawn:
    """Return as many repeats as the model can give: recorded outputs may hold fewer than planned.

    A draw depends on its repeat, not on how many are drawn with it.
    """
    for repeats in range(wanted.repeats - 1, 0, -1):
        try:
            return Drawn(_ask(model, (probe,), repeats, wanted), {probe.id: failure})
        except _NOT_OF_A_PROBE:
            raise
        except Exception as error:
            _probe_failure(error, probe)
    return Drawn({}, {probe.id: failure})


def _ask(
    model: Model, probes: Sequence[Probe], repeats: int, wanted: "Sampling"
) -> dict[tuple[str, int], Sample]:
    probes = [conditioned(probe, wanted.system) for probe in probes]
    check_rendered(model, probes, wanted.system)
    drawn = model.sample(probes, repeats, wanted.decoding, wanted.seed)
    return {(reply.probe_id, reply.repeat): reply for reply in drawn}


def _probe_failure(error: Exception, probe: Probe) -> str:
    """Return the reason for a record.

    Raises:
        SubjectError: memory ran out. Another machine would answer, so it must not be recorded.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        raise SubjectError(
            f"memory ran out on the single probe {probe.id!r}",
            hint="use another --device, a smaller --dtype or fewer new tokens",
        ) from error
    return f"{type(error).__name__}: {error}"


def drawn_path(case: Case, subject: str, group: int) -> Path:
    """Return where the replies to a group of probes wait until they are written as records."""
    return case.work / "draws" / subject / f"{group}.json"


def write_drawn(case: Case, subject: str, group: int, drawn: Drawn) -> None:
    """Keep the replies of a model at hand, which has neither recordings nor exchanges."""
    rows = [asdict(sample) for sample in drawn.samples.values()]
    content = {"samples": rows, "failures": drawn.failures}
    atomic_write(drawn_path(case, subject, group), canonical_json(content))


def read_drawn(case: Case, subject: str, group: int) -> Drawn | None:
    """Return the replies that were kept of a group, or None."""
    path = drawn_path(case, subject, group)
    if not path.is_file():
        return None
    content = json.loads(path.read_bytes())
    samples = [
        Sample(
            **{
                **row,
                "prompt_ids": tuple(row["prompt_ids"]),
                "token_ids": tuple(row["token_ids"]),
            }
        )
        for row in content["samples"]
    ]
    return Drawn({(one.probe_id, one.repeat): one for one in samples}, content["failures"])
