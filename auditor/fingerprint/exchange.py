"""What keeps a reading from two files: that one may have been made out of the other.

A file shows the digests and sums of its model's tensors, so whoever has the other party's file can
copy them and let an honest model look like a copy. Digests of the files that are exchanged before
the files exclude that.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from auditor.errors import InputError
from auditor.fingerprint.file import Fingerprint
from auditor.fingerprint.pairs import Comparison
from auditor.fingerprint.weights import all_equal, contradiction

NO_DIGESTS = (
    "no digests that were exchanged before the files were given (--digest), so either file may "
    "hold what was copied from the other"
)
ONE_FILE = (
    "both are one and the same file, which whoever received it can send back: each party makes its "
    "own under a --name of its own"
)
APART = 1e-3
"""Jensen-Shannon divergence in nats, far above what another machine's rounding gives."""
ERRORS = 4
"""Standard errors of the projections that a divergence may be off by."""


def check_digests(files: Sequence[Fingerprint], digests: Sequence[str]) -> None:
    """Refuse files whose digest is not among those that were exchanged before; none: no check.

    Raises:
        InputError: one has another digest.
    """
    for file in files:
        if digests and file.digest not in digests:
            raise InputError(
                f"{file.path} has the digest {file.digest}, which is none of those given",
                hint="--digest, once for each of the two files, as `auditor fingerprint make` "
                "printed it and its maker sent it before the file; ask for the file of that digest",
            )


def doubts(
    case: Comparison, rows: Sequence[Mapping[str, Any]], digests: Sequence[str]
) -> Iterator[str]:
    """Yield why equal tensors in these files do not show that one model is a copy.

    Args:
        case: the comparison.
        rows: measured on the suspect, with the errors of the projections.
        digests: of the files, exchanged before them.
    """
    reference, suspect = case.reference, case.suspect
    if not digests:
        yield NO_DIGESTS
    if reference.file.digest == suspect.file.digest:
        yield ONE_FILE
    name = contradiction(reference, suspect)
    if name is not None:
        yield f"{name} has equal digests and unequal sums: a file is not as its maker's model gives"
    if all_equal(reference, suspect):
        yield from _unlike(rows)


def _unlike(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield that distributions are apart although all tensors are equal, where they are."""
    row = next(row for row in rows if row["measure"].startswith("logit-js@"))
    value, error = row["value"], row["projection_error"] or 0.0
    if value is not None and value > APART + ERRORS * error:
        yield (
            f"all tensors are equal, and yet the distributions are apart (logit-js {value:.2g}, "
            f"error of the projections {error:.2g})"
        )
