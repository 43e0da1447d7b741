"""Divergence from the nearest control less that from the reference, of lists of likely tokens."""

import math

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._coarse import coarse_divergence
from auditor.types import Array

FEWEST = 3
"""Controls: the nearest of fewer is not near."""
LARGEST_TAIL = 0.5
"""Mean probability outside the stored tokens beyond which they say too little."""


def gap_by_probe(
    pair: tuple[Array, Array], lists: list[Array], names: tuple[str, str], probes: int
) -> Array:
    """Return (P,): min_c JSD(C, S) - JSD(R, S), the nearest control the same for all probes.

    Args:
        pair: rows of the reference and of the suspect.
        lists: rows of controls; those of other positions than the suspect's are left out.
        names: of reference and suspect, for messages.
        probes: P.

    Raises:
        UndefinedError: a list leaves too much outside, the reference's are of other positions, or
            fewer than `FEWEST` controls are left.
    """
    ours, theirs = pair
    for rows, name in zip(pair, names, strict=True):
        _check_tail(rows, name)
    if not np.array_equal(ours["probe"], theirs["probe"]):
        raise UndefinedError(
            "the reference and the suspect do not list tokens at the same positions: they cut its "
            "text into other tokens"
        )
    found = [rows for rows in lists if np.array_equal(rows["probe"], theirs["probe"])]
    if len(found) < FEWEST:
        raise UndefinedError(
            f"{len(found)} controls of the pool list tokens at the positions of the pair; "
            f"{FEWEST} are needed"
        )
    near = [_probe_means(rows, theirs, probes) for rows in found]
    nearest = min(near, key=lambda values: math.fsum(values[~np.isnan(values)]))
    return nearest - _probe_means(ours, theirs, probes)


def _check_tail(rows: Array, name: str) -> None:
    tail = float(rows["tail"].mean())
    if tail > LARGEST_TAIL:
        raise UndefinedError(
            f"the tokens that {name} does not list have {tail:.2f} of its probability "
            f"on average, more than {LARGEST_TAIL}"
        )


def _probe_means(rows: Array, theirs: Array, probes: int) -> Array:
    """Return (P,) divergences between rows at the same positions; NaN for a probe without any."""
    probe = theirs["probe"]
    total = np.bincount(probe, weights=coarse_divergence(rows, theirs), minlength=probes)
    count = np.bincount(probe, minlength=probes)
    return np.divide(total, count, out=np.full(probes, np.nan), where=count > 0)
