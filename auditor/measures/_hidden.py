"""Hidden states of a pair, in float64, a block of probes at a time."""

import numpy as np

from auditor.measures._rows import Computed, widened
from auditor.outputs import Pair


def hidden_states(pair: Pair) -> tuple[Computed, Computed]:
    """Return the hidden states of reference and suspect, (P, D) each; the widths may differ.

    Raises:
        UndefinedError: the hidden states are missing.
    """
    pair.require("hidden")
    ours, theirs = (widened(np.asarray(side.hidden)) for side in (pair.reference, pair.suspect))
    return ours, theirs
