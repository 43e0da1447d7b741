"""How often `auditor watch` alarms: on honest deployments of a model, and on changed ones.

`python -m auditor.watch_rates SPEC --other SPEC... --out FILE` enrols a local model, runs it as
other deployments (number type, attention, batches, padding, key-value cache, system message) and as
changed ones, and watches each. The probabilities of the answers are those that each deployment
computes; the watches draw from them.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import json_digest, pretty_json
from auditor.case import atomic_write
from auditor.collect.coarse_copies import round_matrices
from auditor.collect.first_answers import answers_of_logits, with_system
from auditor.enrolment.baseline import LOG10_ALARM, QUERIES, Enrolling, enrol
from auditor.errors import InputError
from auditor.judge.betting import Cell
from auditor.judge.cells import table
from auditor.judge.rates import clopper_pearson
from auditor.judge.wagers import Wagers
from auditor.judge.watch_power import watched
from auditor.models import open_model
from auditor.models.transformers_model import TransformersModel
from auditor.progress import Silent
from auditor.types import Array
from auditor.watch_baseline import groups_of, probe_of, read_baseline
from auditor.watch_deployments import ATTENTION, BATCHES, DTYPES, Running, first_logits, honest

if TYPE_CHECKING:
    import torch

SCHEMA = "auditor/watch-rates/1"
WATCHES = 10
"""Of each deployment."""
NF4 = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""Levels of the 4-bit normal float (Dettmers et al. 2023, arXiv 2305.14314, appendix E)."""


def answering(model: TransformersModel, baseline: dict[str, Any], how: Running) -> list[Array]:
    """Return, of each cell, (K,) the probabilities of its answers in a deployment."""
    cells = baseline["cells"]
    prompts = [model.prompt(with_system(probe_of(cell), how.system)).token_ids for cell in cells]
    logits = first_logits(model, prompts, how)
    rows = [answers_of_logits(model, row, baseline["temperature"]) for row in logits]
    return [table([row], cell["answers"])[0] for row, cell in zip(rows, cells, strict=True)]


class Trial:
    """Watches of deployments against one baseline."""

    def __init__(self, baseline: dict[str, Any]) -> None:
        """Start from a baseline of a local model."""
        self.baseline = baseline
        self._fresh = Wagers(groups_of(baseline))

    def times(self, rows: Sequence[Array], seed: int) -> list[int | None]:
        """Return after how many questions each of `WATCHES` watches alarms, None where none."""
        draw = np.random.RandomState(seed)
        return [
            watched(self._fresh, rows, log10_alarm=LOG10_ALARM, queries=QUERIES, draw=draw)
            for _ in range(WATCHES)
        ]

    def above(self, rows: Sequence[Array]) -> float:
        """Return by how much an answer exceeds its ceiling at most, in the group it fits best."""
        return min(_above(rows, cells) for cells in groups_of(self.baseline))


def _above(rows: Sequence[Array], cells: Sequence[Cell]) -> float:
    limits = np.concatenate([cell.limits for cell in cells])
    over = np.concatenate(list(rows)) - limits
    return float(over[limits < 1.0].max())


def honest_rows(
    spec: str, trial: Trial, batches: Sequence[int], most: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return what the watches of the honest deployments found.

    Args:
        spec: of the model that was enrolled.
        trial: its baseline.
        batches: sequences in a batch.
        most: of some number types, how many deployments of each attention; spread over all.
    """
    found = []
    for dtype, attention in itertools.product(DTYPES, ATTENTION):
        model = _opened(spec, dtype)
        model.module.set_attn_implementation(attention)
        every = list(honest(dtype, attention, batches))
        places = np.linspace(0, len(every) - 1, min(len(every), most.get(dtype, len(every))))
        for number in np.rint(places).astype(int).tolist():
            how = every[number]
            rows = answering(model, trial.baseline, how)
            times = trial.times(rows, number)
            one = {"deployment": str(how), "times": times, "above": trial.above(rows)}
            found.append({**one, "answers": json_digest([row.tolist() for row in rows])})
        model.close()
    return found


def _opened(spec: str, dtype: str) -> TransformersModel:
    model = open_model(spec, dtype=dtype)
    if isinstance(model, TransformersModel):
        return model
    raise InputError(f"{spec} is no local model", hint="name a folder or a GGUF file")


def changed_rows(spec: str, others: Sequence[str], trial: Trial) -> list[dict[str, Any]]:
    """Return what the watches of coarser copies and of other models found."""
    found = []
    for name, rounded in ROUNDINGS.items():
        model = _opened(spec, "float32")
        round_matrices(model, rounded)
        found.append(_changed(name, model, trial))
    for other in others:
        found.append(_changed(other, _opened(other, "float32"), trial))
    return found


def _changed(name: str, model: TransformersModel, trial: Trial) -> dict[str, Any]:
    how = Running(dtype="float32", attention="sdpa", batch=1, side="left", cached=False)
    rows = answering(model, trial.baseline, how)
    model.close()
    return {"change": name, "times": trial.times(rows, 1)}


def _absmax(bits: int, group: int) -> "Callable[[torch.Tensor], torch.Tensor]":
    from auditor.kernels.weight_forms import rounded_groups

    return lambda weight: rounded_groups(weight, bits, group)


def _rows(weight: "torch.Tensor") -> "torch.Tensor":
    from auditor.kernels.weight_forms import rounded_rows

    return rounded_rows(weight, 4)


def _normal_float(weight: "torch.Tensor") -> "torch.Tensor":
    """Return weights rounded to the levels of NF4, a scale for every 64 columns."""
    import torch

    levels = torch.tensor(NF4)
    middles = (levels[1:] + levels[:-1]) / 2
    parts = []
    for part in torch.split(weight, 64, dim=1):
        scale = part.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
        parts.append(levels[torch.bucketize(part / scale, middles)] * scale)
    return torch.cat(parts, dim=1)


ROUNDINGS: "dict[str, Callable[[torch.Tensor], torch.Tensor]]" = {
    "4 bits, absmax, a scale for 32 columns": _absmax(4, 32),
    "NF4, a scale for 64 columns": _normal_float,
    "4 bits, absmax, a scale a row": _rows,
}


def summary(found: dict[str, Any]) -> str:
    """Return the lines of a table for people."""
    honest_found = found["honest"]
    first = sum(row["times"][0] is not None for row in honest_found)
    every = sum(time is not None for row in honest_found for time in row["times"])
    low, high = clopper_pearson(first, len(honest_found))
    lines = [
        f"{found['spec']}: {first} of {len(honest_found)} honest deployments alarmed "
        f"[{low:.3f}, {high:.3f}], {every} of {len(honest_found) * WATCHES} watches; "
        f"{len({row['answers'] for row in honest_found})} of them answer differently; largest "
        f"excess over a ceiling {max(row['above'] for row in honest_found):.3f}"
    ]
    for row in found["changed"]:
        times = [np.inf if time is None else time for time in row["times"]]
        lines.append(f"{row['change']}: median {np.median(times):g}, largest {max(times):g}")
    return "\n".join(lines)


def _most(given: Sequence[str]) -> dict[str, int]:
    return {dtype: int(count) for dtype, _, count in (one.partition("=") for one in given)}


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec")
    parser.add_argument("--other", action="append", default=[], help="a full swap; repeatable")
    parser.add_argument("--candidates", type=int, default=None)
    parser.add_argument("--baseline", type=Path, default=None, help="enrolled before")
    parser.add_argument(
        "--most",
        action="append",
        default=[],
        metavar="DTYPE=N",
        help="of a slow number type, deployments of each attention; repeatable",
    )
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--out", type=Path, required=True)
    wanted = parser.parse_args()
    kept, asked = wanted.baseline, Enrolling(spec=wanted.spec, candidates=wanted.candidates)
    baseline = enrol(asked, Silent()) if kept is None else read_baseline(kept)
    trial = Trial(baseline)
    found = {
        "schema": SCHEMA,
        "spec": wanted.spec,
        "temperature": baseline["temperature"],
        "margins": [group["margin"] for group in baseline["groups"]],
        "changed": changed_rows(wanted.spec, wanted.other, trial),
        "honest": honest_rows(wanted.spec, trial, wanted.batches, _most(wanted.most)),
    }
    atomic_write(wanted.out, pretty_json(found))
    sys.stdout.write(summary(found) + "\n")


if __name__ == "__main__":
    main()
