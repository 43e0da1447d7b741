"""Share of a suspect that a deterministic transform of the reference reproduces bit for bit."""

from auditor.errors import UndefinedError
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "rederived-share",
    version=1,
    group="weights",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("rederivation",),
    reduce="pooled",
    access=Access.WEIGHTS,
    library="python",
    resampled=False,
)
def rederived_share(pair: Pair) -> float:
    """Share of the suspect's weights that one transform of the reference gives bit for bit.

    Formula: the largest, over transforms, of equal elements over tested elements. Transforms: copy,
    cast to float16 or bfloat16, round trip through 2 to 8 bit integers a row or through GGUF
    blocks, magnitude pruning to the suspect's number of zeros, any mask, linear merge with a
    control (its shares solved per tensor, then verified), and each tensor by whichever fits best;
    all of them also after the reference's units were put in the suspect's order, and after its
    residual stream was rotated by the rotation that solves for the suspect. What is recomputed is
    rounded to the type in which the suspect is stored. Tensors in which neighbouring rows
    agree (norms of ones, biases of zeros) and elements that are 0 on both sides are not counted.

    Range: [0, 1]; 1 where every tested element is reproduced, about 0.9 for a rotated copy, where
    numbers next to a rounding boundary stay open. Not symmetric: a copy at 4 bits
    follows from its source, the source not from the copy.
    Degenerate: undefined where no tensor has a name and shape of the reference's, or weights cannot
    be read.

    Pitfalls: decisive when it hits, silent when it misses. A hit is no statistic and has no chance
    level: two trainings do not end in the same bits. A miss says nothing: one step of training,
    or another rounding rule moves every bit. In 16 bits a light fine-tune leaves many
    weights as they were, and those count. It says that weights derive, not in which direction.
    """
    pair.require("rederivation")
    rows = pair.rederivation
    if rows is None or not len(rows):
        raise UndefinedError("no transform was tried")
    tested = [row for row in rows if row["elements"] > 0]
    if not tested:
        raise UndefinedError("no tensor of the suspect could be tested")
    return max(int(row["elements_equal"]) / int(row["elements"]) for row in tested)
