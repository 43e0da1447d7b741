"""How a pack's locked half comes out: separation, error rates, calibration, by access pattern.

No fusion is fitted to the locked half.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from auditor.controls.pack_access import power_by_access
from auditor.controls.pack_calibration import (
    IDIOSYNCRASY,
    NEURONS,
    PATTERNS,
    SAMPLE,
    SPAN,
    Row,
    fit_pattern,
    group_scores,
)
from auditor.errors import UndefinedError
from auditor.judge.assess import auc, cllr, cllr_min, tpr_at_fpr
from auditor.judge.bootstrap import Draws, family_interval
from auditor.judge.calibrate import scored
from auditor.judge.fuse import Fusion, fuse
from auditor.judge.null import standing
from auditor.judge.rates import auc_interval, rate, tpr_interval
from auditor.judge.scores import PAIRS, Pair, proposition_of
from auditor.judge.validity import rate_json

_DRAWS = Draws(seed=0, resamples=1000)
Score = Callable[[Row], float | None]


def evaluate(rows: Sequence[Row]) -> dict[str, Any]:
    """Return, as JSON values, the results on the locked half of a score table."""
    locked = _locked(rows)
    return {
        **evaluate_counts(rows),
        "separation": [found for found in _separations(locked) if found is not None],
        "fusion": {"+".join(names): _fused(rows, locked, names) for names in PATTERNS},
    }


def evaluate_counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the results that are plain counts, without resampling."""
    locked = _locked(rows)
    nulls = [_null_test(rows, name, alpha) for name in (SAMPLE, IDIOSYNCRASY) for alpha in _LEVELS]
    return {
        "models": {role: _counts(locked, role) for role in _ROLES},
        "null_tests": [*nulls, *_rank_tests(rows), *(_exact_test(rows, a) for a in _LEVELS)],
        "readings": {role: _readings(locked, role) for role in _ROLES},
        "false_links": _false_links(locked),
        "access": power_by_access(rows, locked, _KINDS),
        "groups": {group: _group(rows, group) for group in dict.fromkeys(r["group"] for r in rows)},
    }


def _locked(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["split"] == "locked"]


_ROLES = ("independent", "sibling", "imitation", "replication")
_LEVELS = (0.05, 0.01)


def _counts(rows: Sequence[Row], role: str) -> dict[str, int]:
    found = [row for row in rows if row["role"] == role]
    return {"models": len(found), "families": len({row["family"] for row in found})}


def at_least_half(row: Row) -> bool:
    """Whether a model is an imitation of at least half a dose that did not start from a control."""
    return row["role"] == "imitation" and row["start"] is None and _dose(row) >= 0.5


def _dose(row: Row) -> float:
    """Return the dose of an imitation that was taught directly; 1 for all other models."""
    return 1.0 if row["role"] != "imitation" or row["teaching"] is None else row["teaching"]["dose"]


def _unlinked(row: Row) -> bool:
    return row["role"] in ("independent", "sibling")


def _score(name: str, sign: float, key: str = "z") -> Score:
    def value(row: Row) -> float | None:
        found = row["scores"].get(name)
        return None if found is None or found[key] is None else sign * float(found[key])

    return value


_QUESTIONS: tuple[tuple[str, Callable[[Row], bool], Callable[[Row], bool]], ...] = (
    (
        "replication vs rest",
        lambda r: r["role"] == "replication",
        lambda r: r["role"] != "replication",
    ),
    ("imitation >= 50 % vs unlinked", at_least_half, _unlinked),
    (
        "imitation 10 % vs unlinked",
        lambda r: _dose(r) < 0.5,
        _unlinked,
    ),
    (
        "imitation from a control's base vs unlinked",
        lambda r: r["group"] == "text-based",
        _unlinked,
    ),
    ("any link vs unlinked", lambda r: not _unlinked(r), _unlinked),
)
_KINDS = (
    ("copies", lambda r: r["role"] == "replication", True),
    ("imitations, half of the training or all", at_least_half, True),
    ("imitations, a tenth of the training", lambda r: _dose(r) < 0.5, True),
    ("no link", _unlinked, False),
)
_SCORES: dict[str, Score] = {
    "neuron-matching": _score(NEURONS, -1.0, "value"),
    "unembedding-span": _score(SPAN, 1.0),
    "sample-llr": _score(SAMPLE, 1.0),
    "idiosyncratic-agreement": _score(IDIOSYNCRASY, 1.0),
    "divergence-gap": _score("divergence-gap@1", 1.0, "value"),
    "residual-correlation": _score("residual-correlation@1", 1.0, "value"),
    "first-token-agreement": _score("first-token-agreement@1", 1.0, "value"),
    "first-token-gap": _score("first-token-gap@1", 1.0, "value"),
    "own-residual-correlation": _score("own-residual-correlation@1", 1.0, "value"),
    "weight-cka": _score("weight-cka@1", 1.0, "value"),
    "logit-js (raw)": _score("logit-js@1", -1.0, "value"),
    "logit-top1 (raw)": _score("logit-top1@1", 1.0, "value"),
}


def _separations(rows: Sequence[Row]) -> Iterator[dict[str, Any] | None]:
    for question, first, second in _QUESTIONS:
        for name, score in _SCORES.items():
            yield separation(
                question, name, [row for row in rows if first(row) or second(row)], (first, score)
            )


def separation(
    question: str, name: str, rows: Sequence[Row], how: tuple[Callable[[Row], bool], Score]
) -> dict[str, Any] | None:
    """Return AUC and TPR at 1 % FPR of one score, with 95 % intervals over families.

    Models without the score are left out and counted. None where a class is empty.
    """
    first, score = how
    usable = [(row, value) for row in rows if (value := score(row)) is not None]
    families = [row["family"] for row, _ in usable]
    try:
        found = scored(
            np.array([value for _, value in usable]), [first(row) for row, _ in usable], families
        )
        return {
            "question": question,
            "score": name,
            "linked": sum(first(row) for row, _ in usable),
            "others": sum(not first(row) for row, _ in usable),
            "undefined": len(rows) - len(usable),
            "auc": auc(found),
            "auc_interval": list(auc_interval(found, families, _DRAWS)),
            "tpr_at_1_percent": tpr_at_fpr(found),
            "tpr_interval": list(tpr_interval(found, families, _DRAWS)),
        }
    except UndefinedError:
        return None


def _null_test(rows: Sequence[Row], name: str, alpha: float) -> dict[str, Any]:
    """Return how often the predictive p of independent models is under `alpha`."""
    p = [
        row["scores"][name]["predictive_p"]
        for row in rows
        if row["role"] == "independent" and name in row["scores"]
    ]
    return _rejections(f"predictive p of {name}", [v for v in p if v is not None], alpha)


def _rank_tests(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Yield how often an unlinked locked model is among the highest of those for calibration."""
    for name in (SAMPLE, IDIOSYNCRASY):
        null, values = (
            [r["scores"][name]["value"] for r in rows if half(r) and name in r["scores"]]
            for half in (_unlinked_in("calibration"), _unlinked_in("locked"))
        )
        p = [found for v in values if (found := standing(v, null, "higher").rank_p) is not None]
        for alpha in _LEVELS:
            if (len(null) + 1) * alpha >= 1.0:  # else no rank is so rare
                yield _rejections(f"rank of {name} among {len(null)}", p, alpha)


def _unlinked_in(split: str) -> Callable[[Row], bool]:
    return lambda row: _unlinked(row) and row["split"] == split


def _exact_test(rows: Sequence[Row], alpha: float) -> dict[str, Any]:
    p = [
        10.0 ** row["scores"][NEURONS]["value"]
        for row in rows
        if _unlinked(row) and NEURONS in row["scores"]
    ]
    return _rejections(f"p of {NEURONS}", p, alpha)


def _rejections(test: str, p: Sequence[float], alpha: float) -> dict[str, Any]:
    from scipy.stats import binom

    count, total = sum(value <= alpha for value in p), len(p)
    low, high = (int(binom.ppf(tail, total, alpha)) for tail in (0.025, 0.975))
    return {
        "test": test,
        "nominal": alpha,
        "rejected": count,
        "models": total,
        "band": [low, high],
        "inside": low <= count <= high,
    }


def _readings(rows: Sequence[Row], role: str) -> dict[str, int]:
    words = [row["reading"] for row in rows if row["role"] == role]
    return {word: words.count(word) for word in sorted(set(words))}


def _false_links(rows: Sequence[Row]) -> dict[str, Any]:
    """Return how many unlinked models were read as linked, by model and by family."""
    unlinked = [row for row in rows if _unlinked(row)]
    wrong = [row for row in unlinked if row["reading"] in ("imitation", "replication")]
    families = {row["family"] for row in unlinked}
    return {
        "models": rate_json(rate(len(wrong), len(unlinked))),
        "families": rate_json(rate(len({row["family"] for row in wrong}), len(families))),
        "which": sorted(row["name"] for row in wrong),
    }


def _fused(rows: Sequence[Row], locked: Sequence[Row], names: tuple[str, ...]) -> dict[str, Any]:
    try:
        fusion = fit_pattern(rows, names).fusion
    except UndefinedError as error:
        return {"undefined": error.message}
    return {pair: _question(fusion, locked, pair) for pair in PAIRS if pair in fusion.bounds}


def _question(fusion: Fusion, locked: Sequence[Row], pair: Pair) -> dict[str, Any]:
    first, second = pair.split(":")
    values, holds, families = [], [], []
    for row in locked:
        scores = group_scores(row)
        of = proposition_of(row["role"])
        if of in (first, second) and all(scores[name] is not None for name in fusion.recipe.names):
            values.append(fuse(fusion, scores).pairs[pair].log10_lr)
            holds.append(of == first)
            families.append(row["family"])
    try:
        found = scored(np.array(values), holds, families)
        return {
            "models": len(values),
            "cllr": cllr(found),
            "cllr_interval": list(family_interval(cllr, found, families, _DRAWS)),
            "cllr_min": cllr_min(found),
            "auc": auc(found),
            "auc_interval": list(auc_interval(found, families, _DRAWS)),
            "bounds": [fusion.bounds[pair].lower, fusion.bounds[pair].upper],
        }
    except UndefinedError as error:
        return {"undefined": error.message}


def _group(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Return how a group came out, both halves of it: readings, and the spread of the scores."""
    found = [row for row in rows if row["group"] == name]
    return {
        "models": len(found),
        "role": found[0]["role"],
        "readings": _readings(found, found[0]["role"]),
        **{key: _spread([group_scores(row)[key] for row in found]) for key in PATTERNS[0]},
    }


def _spread(values: Sequence[float | None]) -> list[float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return [min(known), float(np.median(known)), max(known)]
