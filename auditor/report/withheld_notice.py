"""What the report of a redacted case says first: that it is one, and what it does not show."""

from dataclasses import dataclass

from auditor.case import Case
from auditor.report import words
from auditor.withheld import INDEX, PARENT, redaction


@dataclass(frozen=True, slots=True, kw_only=True)
class WithheldNotice:
    """What a redacted case does not show."""

    short: str
    """How much, in a few words."""
    sentences: tuple[str, ...]
    rules: tuple[tuple[str, int], ...]
    """Rule, number of record lines that it names."""
    files: tuple[tuple[str, str, str], ...]
    """File left out whole, why, SHA-256 in the original."""


def withheld_notice(case: Case) -> WithheldNotice | None:
    """Return what a redacted case does not show; None of another case."""
    stated = redaction(case)
    if stated is None:
        return None
    lines, files = stated["lines"], stated["files"]
    short = (
        f"{lines['withheld']:,} of {words.counted(lines['total'], 'record line')} and "
        f"{words.counted(len(files), 'file')} are withheld"
    )
    signed = (case.data / PARENT / "signatures").is_dir()
    covered = ", which its signatures cover" if signed else "; it bears no signature"
    return WithheldNotice(
        short=short,
        sentences=(
            "This is a redacted copy of a sealed case, whose payload manifest has the SHA-256 "
            f"{case.read_json(INDEX)['parent']}.",
            f"{short}. All other lines and files, but the reports, which were rendered again, are "
            f"proved to be the original's by its Merkle roots and digests{covered}.",
            f"{words.counted(len(stated['statistics']), 'statistic')} marked \u201cnot replayable "
            "here\u201d rest on what is withheld: the numbers are the original's, and cannot be "
            "computed again from this copy.",
        ),
        rules=tuple((one["rule"], one["lines"]) for one in stated["rules"]),
        files=tuple((name, one["why"], one["sha256"]) for name, one in sorted(files.items())),
    )
