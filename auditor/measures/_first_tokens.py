"""What models expect as the first token of their reply: the one place that needs no given text.

The prompt alone comes before it, so what a server shows beside its own reply is about the same
question for every model. Later tokens stand after words of the author's own: their lists could be
compared with those of a reference and of controls that read these words, which no case holds (it
has their log-probability of each reply, see `own-residual-correlation`).
"""

import numpy as np

from auditor.outputs import Pair
from auditor.types import Array


def common_lists(pair: Pair) -> tuple[Array, Array, list[Array]]:
    """Return the rows of the reference, the suspect and the controls at the probes that count.

    A probe counts that reference and suspect both list tokens for. A control may lack some of them.

    Raises:
        UndefinedError: the lists of a side are missing.
    """
    pair.require("answers")
    ours, theirs = pair.reference.answers, pair.suspect.answers
    if ours is None or theirs is None:  # `require` has raised
        raise TypeError("no answers")
    common = np.intersect1d(ours["probe"], theirs["probe"])
    lists = [control.answers for control in pair.pool if control.answers is not None]
    return _of(ours, common), _of(theirs, common), [_of(rows, common) for rows in lists]


def _of(rows: Array, probes: Array) -> Array:
    """Return the rows of some probes, in their order."""
    if np.array_equal(rows["probe"], probes):
        return rows  # mapped: nothing is copied
    kept = rows[np.isin(rows["probe"], probes)]
    return kept[np.argsort(kept["probe"], kind="stable")]
