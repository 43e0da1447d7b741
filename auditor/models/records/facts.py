"""What a file of recorded outputs holds and lacks: in numbers, and as sentences for the report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from auditor.canon import canonical_json
from auditor.models.records.reply import RecordedReply

_MOST_LISTED = 10
TITLES = {
    "records": "record lines",
    "inspect": "an inspect_ai log",
    "lm-eval": "samples of the lm-evaluation-harness",
    "openai-batch": "output of OpenAI's Batch API",
    "parquet": "a parquet file",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFacts:
    """The facts of one file."""

    format: str
    told: bool
    """Whether the format was named, not recognised by content."""
    tool: str | None
    replies: int
    failures: int
    unusable: tuple[tuple[str, int], ...]
    """(reason, entries) of what is no reply to one prompt."""
    prompts: int
    repeats: tuple[int, int]
    """Fewest and most replies to one prompt."""
    scored: int
    """Replies with log-probabilities."""
    top: int | None
    """Fewest likeliest tokens listed at a position of those; None without any."""
    models: tuple[str, ...]
    decodings: tuple[dict[str, Any], ...]
    undecoded: int
    """Replies without decoding settings."""
    times: tuple[str, str] | None
    notes: tuple[str, ...]

    @property
    def has_topk(self) -> bool:
        """Whether every reply comes with the likeliest tokens of each of its positions."""
        return bool(self.replies) and self.scored == self.replies and bool(self.top)

    def as_json(self) -> dict[str, Any]:
        """Return the object ``recorded`` of a subject in subjects.json."""
        return {
            "format": self.format,
            "format_told": self.told,
            "tool": self.tool,
            "replies": self.replies,
            "failures": self.failures,
            "unusable": dict(self.unusable),
            "prompts": self.prompts,
            "repeats": list(self.repeats),
            "log_probabilities": {"replies": self.scored, "top": self.top},
            "models": list(self.models),
            "decodings": list(self.decodings),
            "without_decoding": self.undecoded,
            "times": None if self.times is None else list(self.times),
            "limits": list(self.limits),
        }

    @property
    def limits(self) -> tuple[str, ...]:
        """What the file limits, as sentences."""
        said = (self._source(), self._model(), self._repeats(), self._failed(), self._decoding())
        template = "Its chat template and system prompt beyond the recorded prompts are unknown."
        found = (*said, template, self._times(), self._logprobs(), *self.notes)
        return tuple(sentence for sentence in found if sentence)

    def _source(self) -> str:
        how = "as told" if self.told else "recognised by content"
        by = f"{self.tool}, " if self.tool else ""
        return (
            f"Its replies were collected by somebody else: {TITLES[self.format]} ({by}{how}); that "
            "they are unaltered replies of one model cannot be checked here."
        )

    def _model(self) -> str:
        if not self.models:
            return "The file names no model."
        listed = ", ".join(self.models)
        more = "one model" if len(self.models) == 1 else f"{len(self.models)} different models"
        return f"The file names {more}, unchecked: {listed}."

    def _repeats(self) -> str:
        low, high = self.repeats
        each = f"{low}" if low == high else f"{low} to {high}"
        replies = _counted(self.replies, "reply", "replies")
        return f"It holds {replies} to {_counted(self.prompts, 'prompt')}, {each} to each."

    def _failed(self) -> str:
        failed = _counted(self.failures, "failed request")
        parts = [f"{failed} without a reply"] if self.failures else []
        parts += [
            f"{_counted(count, 'entry', 'entries')} left out ({reason})"
            for reason, count in self.unusable
        ]
        return f"The file also holds {'; '.join(parts)}." if parts else ""

    def _decoding(self) -> str:
        if not self.decodings:
            return "Decoding settings were not recorded; those of the plan did not apply to it."
        shown = "; ".join(
            ", ".join(f"{name} {value}" for name, value in sorted(one.items()))
            for one in self.decodings
        )
        without = _counted(self.undecoded, "reply", "replies")
        rest = f" (none for {without})" if self.undecoded else ""
        return (
            f"It was sampled with settings of its own, as the file has them: {shown}{rest}. What "
            "is not listed is unknown; those of the plan hold for the other models alone."
        )

    def _times(self) -> str:
        if self.times is None:
            return "When the replies were given was not recorded."
        first, last = self.times
        return f"The file dates its replies {first}" + (f" to {last}." if last != first else ".")

    def _logprobs(self) -> str:
        if not self.scored:
            return "No log-probabilities were recorded."
        return (
            f"Log-probabilities of {_counted(self.scored, 'reply', 'replies')} of its own were "
            "recorded and are kept; "
            "measures of the token distribution read the reference's text and stay undefined."
        )


def _counted(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


@dataclass(slots=True)
class Tally:
    """Facts while a file is read; memory does not grow with it."""

    replies: int = 0
    failures: int = 0
    scored: int = 0
    undecoded: int = 0
    top: int | None = None
    unusable: Counter[str] = field(default_factory=Counter)
    models: dict[str, None] = field(default_factory=dict)
    decodings: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    first: str | None = None
    last: str | None = None

    def add(self, reply: RecordedReply) -> None:
        """Count one reply."""
        self.replies += 1
        if reply.model is not None and len(self.models) < _MOST_LISTED:
            self.models.setdefault(reply.model)
        if reply.decoding is None:
            self.undecoded += 1
        elif len(self.decodings) < _MOST_LISTED:
            self.decodings.setdefault(canonical_json(dict(reply.decoding)), dict(reply.decoding))
        if reply.time is not None:
            self.first = min(self.first or reply.time, reply.time)
            self.last = max(self.last or reply.time, reply.time)
        if reply.logprobs is not None:
            self.scored += 1
            listed = [len(at["top_logprobs"]) for at in reply.logprobs or ()]
            if listed:
                self.top = min(listed) if self.top is None else min(self.top, *listed)
