"""Hidden states of a pair, in float64."""

import numpy as np

from auditor.outputs import Pair
from auditor.types import Array


def hidden_states(pair: Pair) -> tuple[Array, Array]:
    """Return the hidden states of reference and suspect, (P, D) each; the widths may differ.

    Raises:
        UndefinedError: the hidden states are missing.
    """
    pair.require("hidden")
    sides = (pair.reference, pair.suspect)
    ours, theirs = (np.array(side.hidden, dtype=np.float64) for side in sides)
    return ours, theirs
