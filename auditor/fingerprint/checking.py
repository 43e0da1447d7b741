"""Make a fingerprint again from the model that it is said to be of, and compare the two."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from auditor.fingerprint.file import TOLERANCE, Fingerprint, alike, unpacked
from auditor.fingerprint.making import make_fingerprint
from auditor.fingerprint.plan import Terms, probes_of
from auditor.progress import Progress
from auditor.types import Array

_EXACT = ("subject", "tensors")


def check_fingerprint(
    given: Fingerprint,
    spec: str,
    progress: Progress,
    *,
    suites: Sequence[str] = (),
    device: str | None = None,
) -> dict[str, Any]:
    """Return whether a model gives this fingerprint, and what differs.

    Raises:
        InputError: the model, or a suite, cannot be read.
    """
    terms = Terms(content=given.content["terms"], probes=probes_of(given.content["terms"], suites))
    again = make_fingerprint(spec, given.name, terms, progress, device)
    differences = {name: "differs" for name in _EXACT if again[name] != given.content[name]}
    if again["missing"].keys() != given.content["missing"].keys():  # why is said in words
        differences["missing"] = "differs"
    differences |= _array_differences(given, again)
    return {
        "schema": "auditor/fingerprint-check/1",
        "file_digest": given.digest,
        "same": not differences,
        "differences": differences,
    }


def _array_differences(given: Fingerprint, again: dict[str, Any]) -> dict[str, str]:
    found = {}
    for name in sorted({*again["arrays"], *given.content["arrays"]}):
        ours, theirs = again["arrays"].get(name), given.content["arrays"].get(name)
        if ours == theirs:
            continue
        if ours is None or theirs is None or ours["shape"] != theirs["shape"]:
            found[name] = "has another shape"
        elif not _close(given.arrays[name], unpacked(ours), exact=name in ("probe", "byte_end")):
            found[name] = "holds other numbers"
    return found


def _close(a: Array, b: Array, *, exact: bool) -> bool:
    if exact:
        return bool(np.array_equal(a, b))
    if a.dtype == np.uint8:  # the likeliest of two equal tokens may turn
        return bool(np.mean(a != b) <= TOLERANCE)
    return alike(a, b, TOLERANCE)
