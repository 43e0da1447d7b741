"""The decisive measures on all probes but those of one category: does a result hang on one kind?"""

from collections.abc import Sequence

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._registry import get
from auditor.measures._run import usable_probes
from auditor.outputs import Pair

Less = dict[str, dict[str, float | None]]
"""Measure id -> category left out -> value; None where it is undefined on the rest."""


def without_categories(pair: Pair, names: Sequence[str]) -> Less:
    """Return pooled measures on the probes of all categories but one, for each category.

    Everything is fitted again on the probes that are left, as for an interval. A measure that is
    undefined on all probes is left out, and so is everything with fewer than two categories.

    Args:
        pair: reference and one other model.
        names: pooled measures that are defined on subsets of the probes.
    """
    counted = np.flatnonzero([probe.weight > 0 for probe in pair.probes])
    pair = pair.take(counted.tolist()) if 0 < len(counted) < len(pair.probes) else pair
    found: Less = {}
    for name in names:
        measure = get(name)
        try:
            usable = usable_probes(measure, pair)
            values = _less(measure.subsets, usable)
        except UndefinedError:  # the measurement itself has the reason
            continue
        if values:
            found[measure.id] = values
    return found


def _less(subsets: object, pair: Pair) -> dict[str, float | None]:
    own = np.array([probe.category for probe in pair.probes])
    categories = sorted(set(own.tolist()))
    if len(categories) < 2 or not callable(subsets):
        return {}
    chosen = np.array([own != category for category in categories])  # (C, P)
    values = subsets(pair, chosen)
    return {
        category: float(value) if np.isfinite(value) else None
        for category, value in zip(categories, values, strict=True)
    }
