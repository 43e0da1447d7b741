"""All numbers that say how far a fusion's likelihood ratios can be trusted, for each question."""

from typing import Any

from auditor.canon import finite
from auditor.errors import UndefinedError
from auditor.judge.assess import auc, cllr, cllr_min, dev_pav, multiclass_cost, tpr_at_fpr
from auditor.judge.bootstrap import Draws, class_families, family_interval
from auditor.judge.calibrate import Scored
from auditor.judge.curves import empirical_cross_entropy, recalibration, tippett
from auditor.judge.fusion_fit import Fitted
from auditor.judge.rates import Misleading, Rate, auc_interval, misleading, tpr_interval
from auditor.types import Array

FPR = 0.01


def validity(fitted: Fitted, draws: Draws) -> dict[str, Any]:
    """Return, as JSON values, the leave-one-family-out validation of a fusion.

    For each pair: families, Cllr with its 95 % interval over families, Cllr_min, Cllr_cal, devPAV
    (null where the classes are separated), AUC and TPR at 1 % FPR with intervals, rates of
    misleading evidence at LR 1, 10 and 100, the bounds, and the points of the Tippett, ECE and PAV
    plots. The ratios are the bounded ones that a case is told; devPAV and the AUC are of the
    ratios before bounding, which ties would hide. ``multiclass`` is the cost over all classes, 1
    where the scores say nothing.
    """
    validation = fitted.validation
    pairs = {}
    for pair, bounds in fitted.fusion.bounds.items():
        stated, families = validation.question(pair, bounds)
        free, _ = validation.question(pair)
        low, high = family_interval(cllr, stated, families, draws)
        pairs[pair] = {
            "families": list(class_families(stated, families)),
            "bounds": [bounds.lower, bounds.upper],
            "cllr": cllr(stated),
            "cllr_interval": [low, high],
            "cllr_min": cllr_min(stated),
            "cllr_cal": cllr(stated) - cllr_min(stated),
            "dev_pav": _dev_pav(free),
            "auc": auc(free),
            "auc_interval": list(auc_interval(free, families, draws)),
            "tpr": tpr_at_fpr(free, FPR),
            "tpr_interval": list(tpr_interval(free, families, draws, FPR)),
            "fpr": FPR,
            "misleading": [misleading_json(rates) for rates in misleading(stated, families)],
            "curves": curves_json(stated),
        }
    return {
        "multiclass": multiclass_cost(
            validation.log_likelihoods, validation.labels, validation.weights
        ),
        "pairs": pairs,
    }


def _dev_pav(controls: Scored) -> float | None:
    try:
        return dev_pav(controls)
    except UndefinedError:
        return None


def rate_json(found: Rate) -> dict[str, Any]:
    """Return a rate with its count, families and interval."""
    return {
        "count": found.count,
        "families": found.families,
        "value": found.value,
        "interval": list(found.interval),
    }


def misleading_json(rates: Misleading) -> dict[str, Any]:
    """Return the three rates at one likelihood ratio."""
    return {
        "lr": rates.lr,
        "false_support": rate_json(rates.false_support),
        "false_exclusion": rate_json(rates.false_exclusion),
        "missed": rate_json(rates.missed),
    }


def curves_json(controls: Scored) -> dict[str, Any]:
    """Return the points of the Tippett, ECE and PAV plots.

    Raises:
        UndefinedError: a likelihood ratio of 0 or infinity is wrong.
    """
    steps, entropy, pav = (
        tippett(controls),
        empirical_cross_entropy(controls),
        recalibration(controls),
    )
    return {
        "tippett": {
            "first": [_numbers(axis) for axis in steps.first],
            "second": [_numbers(axis) for axis in steps.second],
        },
        "ece": {
            "log10_prior_odds": _numbers(entropy.log10_prior_odds),
            "lr": _numbers(entropy.lr),
            "pav": _numbers(entropy.pav),
            "ignored": _numbers(entropy.ignored),
        },
        "pav": {
            "log10_lr": _numbers(pav.log10_lr),
            # Null stands for minus infinity at the start and for infinity at the end.
            "pav": [None if abs(value) == float("inf") else finite(value) for value in pav.pav],
            "first": [bool(value) for value in pav.first],
        },
    }


def _numbers(values: Array) -> list[Any]:
    return [finite(value) for value in values]
