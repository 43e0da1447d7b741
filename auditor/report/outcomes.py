"""How many replies of each outcome a subject gave."""

from collections import Counter
from pathlib import Path

import msgspec

from auditor.canon import parsed_line
from auditor.case import Case
from auditor.errors import CaseError
from auditor.stored import planned_suites


class _Outcome(msgspec.Struct):
    outcome: str = "withheld"


_decoded = msgspec.json.Decoder(_Outcome).decode_lines
_BLOCK_BYTES = 1 << 16


def record_outcomes(case: Case, subject: str) -> dict[str, int]:
    """Return {outcome: number of records of a subject}, sorted; nothing else of a line is read.

    Raises:
        CaseError: a file is missing, or a line of it is not that of a record.
    """
    found: Counter[str] = Counter()
    for suite in planned_suites(case):
        path = case.records(subject, suite.id)
        if not path.is_file():
            raise CaseError(f"{path} is missing", hint="collect the case first")
        with path.open("rb") as stream:
            while lines := stream.readlines(_BLOCK_BYTES):
                found.update(_outcomes(path, lines))
    return dict(sorted(found.items()))


def _outcomes(path: Path, lines: list[bytes]) -> list[str]:
    try:
        return [row.outcome for row in _decoded(b"".join(lines))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # a half of a surrogate pair, perhaps
    try:
        return [parsed_line(line).get("outcome", "withheld") for line in lines]
    except (ValueError, AttributeError) as error:
        raise CaseError(
            f"{path} holds a line that is no record: {error}", hint="restore the file from a copy"
        ) from error
