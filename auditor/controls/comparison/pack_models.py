"""The models of a pack as suspects, and our own results on them beside those of the others."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import auditor
from auditor.controls.comparison.opponent import PeerResult
from auditor.controls.comparison.run import Suspect
from auditor.controls.pack_calibration import Row, group_scores
from auditor.controls.pack_evaluation import at_least_half
from auditor.errors import UndefinedError
from auditor.judge.calibration import Calibration
from auditor.judge.fuse import Fused, PairResult, fuse, select_fusion

ACCESSES: dict[str, tuple[str, ...]] = {
    "auditor-weights": ("replication", "span", "sample", "idiosyncrasy"),
    "auditor-logits": ("span", "sample", "idiosyncrasy"),
    "auditor-text": ("sample",),
}
"""Our readings by access, and the scores that each may look at."""


def pack_suspects(
    rows: Sequence[Row], models: Path, *, split: str | None = "locked"
) -> dict[str, Suspect]:
    """Return the scored models of a pack by name, of one split or (None) of all.

    Headline: all but imitations of less than half a dose or that started from another model.

    Args:
        rows: the pack's score table (`auditor.controls.pack_scores.read_scores`).
        models: the folder that holds a transformers folder a model.
        split: ``locked`` or ``calibration``.
    """
    return {
        row["name"]: Suspect(
            folder=models / row["name"],
            kind=f"{row['role']}/{row['group']}",
            family=row["family"],
            split=row["split"],
            headline=row["role"] != "imitation" or at_least_half(row),
        )
        for row in rows
        if split in (None, row["split"])
    }


def own_results(rows: Sequence[Row], calibration: Calibration) -> dict[str, tuple[PeerResult, ...]]:
    """Return our likelihood ratios at each access, and our reading at weights, by name.

    Discrimination is that of the unbounded ratios; what is stated is bounded as in a report.
    """
    return {
        row["name"]: tuple(_result(row, name, calibration) for name in ACCESSES) for row in rows
    }


def _result(row: Row, name: str, calibration: Calibration) -> PeerResult:
    scores = group_scores(row)
    shown = {key: scores[key] if key in ACCESSES[name] else None for key in scores}
    word = row["reading"] if name == "auditor-weights" else None
    found, why = _fused(shown, calibration)
    return PeerResult(
        reading=name,
        version=auditor.__version__,
        scores=_by_question({pair: result.unbounded for pair, result in found.items()}),
        stated=_by_question({pair: result.log10_lr for pair, result in found.items()}),
        verdict=word,
        accuses_replication=None if word is None else word == "replication",
        accuses_any=None if word is None else word in ("replication", "imitation"),
        failure=why,
        raw=shown,
    )


def _fused(
    scores: Mapping[str, float | None], calibration: Calibration
) -> tuple[Mapping[str, PairResult], str | None]:
    try:
        fused: Fused = fuse(select_fusion(calibration.fusions, scores), scores)
    except UndefinedError as error:
        return {}, error.message
    return {str(pair): result for pair, result in fused.pairs.items()}, None


def _by_question(log10_lr: Mapping[str, float]) -> dict[str, float]:
    """Return the log10 LR of each question, its composite sides weighing their parts alike.

    Replication against independence or imitation: ``1 / (1/(2 r) + 1/(2 s))`` of the two pairwise
    ratios r and s. Any link against independence: their mean. What lacks a pair is left out.
    """
    imitated = log10_lr.get("imitation:independent")
    copied = log10_lr.get("replication:independent")
    against = log10_lr.get("replication:imitation")
    found = {}
    if copied is not None and against is not None:
        found["replication"] = -_log10_mean(-copied, -against)
    if imitated is not None:
        found["imitation"] = imitated
    if imitated is not None and copied is not None:
        found["link"] = _log10_mean(imitated, copied)
    return found


def _log10_mean(a: float, b: float) -> float:
    high = max(a, b)
    return high + math.log10((10.0 ** (a - high) + 10.0 ** (b - high)) / 2)
