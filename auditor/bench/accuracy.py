"""Errors of outputs against float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.bench.experiment import Experiment, Outputs

DIVERGENCES = frozenset({"kl_ab", "kl_ba", "js", "tv", "hellinger2"})
"""Outputs that cannot be negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How one candidate's outputs differ from the truth."""

    errors: dict[str, float]
    mismatches: dict[str, int]
    negative: int


def accuracy(experiment: Experiment, found: Outputs, truth: Outputs) -> Accuracy:
    """Compare the outputs that both have."""
    errors, mismatches = {}, {}
    for name in sorted(truth.keys() & found.keys()):
        mine, true = _at(found[name], experiment.rows), truth[name].detach().cpu()
        if true.dtype.is_floating_point:
            errors[name] = error(mine, true, elementwise=experiment.elementwise)
        else:
            mismatches[name] = int((mine.long() != true.long()).sum())
    negative = sum(int((found[name] < 0).sum()) for name in DIVERGENCES & found.keys())
    return Accuracy(errors=errors, mismatches=mismatches, negative=negative)


def error(found: Tensor, truth: Tensor, *, elementwise: bool = False) -> float:
    """Return the largest relative error; the largest absolute one where the truth is all 0.

    Relative to the largest value of the truth, or to each value where `elementwise`. Where both
    are the same infinity or both NaN there is no error; where one is, it is infinite.
    """
    mine, true = found.detach().double().cpu(), truth.detach().double().cpu()
    same = (mine == true) | (torch.isnan(mine) & torch.isnan(true))
    gap = torch.where(same, 0.0, (mine - true).abs())
    gap = torch.where(torch.isnan(gap), float("inf"), gap)
    if not bool((gap > 0).any()):
        return 0.0
    size = true.abs()
    if not bool((size > 0).any()):
        return float(gap.max())
    if elementwise:
        return float(torch.where(gap > 0, gap / size, 0.0).max())
    return float(gap.max() / torch.where(torch.isfinite(size), size, 0.0).max())


def _at(table: Tensor, rows: Tensor | None) -> Tensor:
    table = table.detach().cpu()
    return table if rows is None or table.ndim == 0 else table[rows.cpu()]
