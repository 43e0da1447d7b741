"""Maximum mean discrepancy between the embeddings of two subjects' replies."""

from collections.abc import Iterator

import numpy as np

from auditor.errors import UndefinedError
from auditor.measures._embeddings import unit_replies
from auditor.measures._registry import measure
from auditor.measures._rows import Rows, blocks, held
from auditor.outputs import Pair
from auditor.types import Array

_BLOCK = 1 << 22  # elements of a block of the kernel matrix


def subset_discrepancies(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the discrepancy on each of B subsets of the probes, (B, P) bool."""
    weight = chosen.astype(np.float64).T  # (P, B)
    total = np.zeros(weight.shape[1])
    for start, rows in _paired_blocks(*unit_replies(pair)):
        total += (weight[start : start + len(rows)] * (rows @ weight)).sum(axis=0)
    size = weight.sum(axis=0)
    return total / (size * (size - 1))


@measure(
    "embedding-mmd",
    version=1,
    group="representation",
    unit="squared discrepancy",
    bounds=(-2.0, 2.0),
    identical=0.0,
    closer="lower",
    symmetric=True,
    needs=("embeddings",),
    reduce="pooled",
    subsets=subset_discrepancies,
    # Differences of nearly equal sums.
    tolerance=(1e-9, 1e-9),
)
def embedding_mmd(pair: Pair) -> float:
    """Squared maximum mean discrepancy of the two sets of reply embeddings, paired by probe.

    Formula: the mean over probes i != j of H_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j)
    - k(y_i, x_j), k(x, y) = exp(-|x - y|^2 / 2) on unit vectors, averaged over all repeats of i and
    j. Gretton et al. 2012, equation 3 extended to pairs: i = j is left out, so that replies to
    one probe, which are alike, do not bias it. The width of k is fixed, not fitted to each pair:
    suspects and controls are measured with one scale.

    Range: [-2, 2]; the expected value is at least 0, an estimate near 0 is often negative: noise,
    not closer than identical. Symmetric.
    Degenerate: undefined with fewer than 2 probes.

    Pitfalls: compares what the subjects say over the whole suite, not probe by probe: two models
    that swap their replies between probes score about 0. The level depends on the encoder and on
    the suite. No evidence of a link by itself: it is read against controls only.
    """
    count = len(pair.probes)
    if count < 2:
        raise UndefinedError(f"{count} probe; the discrepancy compares at least 2")
    total = sum(float(rows.sum()) for _, rows in _paired_blocks(*unit_replies(pair)))
    return total / (count * (count - 1))


def _paired_blocks(x: Rows, y: Rows) -> Iterator[tuple[int, Array]]:
    """Yield (first row, rows of H with a zero diagonal): (b, P) at a time."""
    count, largest = len(x), max(x.shape[1], y.shape[1])
    x, y = held(x), held(y)
    step = max(1, _BLOCK // (count * largest**2))
    for start in range(0, count, step):
        a, b = x[start : start + step], y[start : start + step]
        rows = np.empty((len(a), count))
        for block in blocks(x):
            u, v = x[block], y[block]
            rows[:, block] = (_kernel(a, u) + _kernel(b, v)) - (_kernel(a, v) + _kernel(b, u))
        rows[np.arange(len(rows)), np.arange(start, start + len(rows))] = 0.0
        yield start, rows


def _kernel(a: Array, b: Array) -> Array:
    """Return (len(a), len(b)): k between probes, averaged over their repeats, (., N, E) each."""
    # A product of an array with its own transpose takes another BLAS path (syrk) with other
    # rounding; the copy keeps all four on one path, so that equal inputs cancel exactly.
    cosines = a.reshape(-1, a.shape[2]) @ np.array(b.reshape(-1, b.shape[2]).T, order="C")
    np.minimum(cosines, 1.0, out=cosines)
    k = np.exp(np.subtract(cosines, 1.0, out=cosines), out=cosines)
    # (b N, P N) -> (b, P N) -> (b, P): whole rows first, which is several times faster
    rows = k.reshape(len(a), a.shape[1], -1).sum(axis=1)
    return rows.reshape(len(a), len(b), b.shape[1]).sum(axis=2) / (a.shape[1] * b.shape[1])
