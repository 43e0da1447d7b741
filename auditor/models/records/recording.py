"""What a reader of a file of recorded outputs gives: who wrote it, and its replies in turn."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from auditor.models.records.reply import RecordedReply, Unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """An opened file."""

    tool: str | None = None
    """Name and version of the tool that wrote it, where the file says so."""
    entries: Iterator[RecordedReply | Unusable]
    notes: tuple[str, ...] = field(default_factory=tuple)
    """What else of the file limits what can be concluded, as sentences."""
