"""The exact median of many numbers, most of which are only compared, not sorted."""

import numpy as np

from auditor.types import Array

_SAMPLE = 4096


def median(values: Array) -> float:
    """Return what `numpy.median` does of (n,) finite numbers, n >= 1, several times as fast.

    An even sample gives two bounds between which the median lies, by four standard deviations of
    its own median; the numbers between them are selected from. Where it does not, all are.
    """
    sample = np.sort(values[:: max(1, len(values) // _SAMPLE)])
    middle, margin = len(sample) // 2, int(2.0 * len(sample) ** 0.5) + 1
    if margin > middle or len(sample) == len(values):
        return float(np.median(values))
    low, high = sample[middle - margin], sample[min(middle + margin, len(sample) - 1)]
    between = values[(values >= low) & (values <= high)]
    place = len(values) // 2 - int(np.count_nonzero(values < low))
    if not 1 <= place < len(between):
        return float(np.median(values))
    found = np.partition(between, [place - 1, place])
    return float(found[place] if len(values) % 2 else found[place - 1 : place + 1].mean())
