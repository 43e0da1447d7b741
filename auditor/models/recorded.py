"""Outputs that somebody else collected: a subject at access TEXT.

One JSON object a line, UTF-8: ``{"probe_id" or "prompt": ..., "text": ..., "repeat": 0}``. Other
keys are ignored, so record lines of a case can be used as they are; lines whose ``outcome`` is
``error`` hold no reply. A prompt is matched with the text of a probe, or with the contents of its
messages joined by newlines. Half of a surrogate pair, which UTF-8 cannot hold, is read as U+FFFD.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never

from auditor.canon import digest, whole_json
from auditor.errors import AccessError, RecordsError
from auditor.models.replies_only import RepliesOnly, prompt_text
from auditor.types import Access, Decoding, ModelRef, Probe, Sample

_LINE_HINT = 'a line is like {"probe_id": "arith-0001", "text": "the reply", "repeat": 0}'


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedReply:
    """One reply to one probe, named by its id or by its prompt."""

    text: str
    repeat: int = 0
    probe_id: str | None = None
    prompt: str | None = None
    suite: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsFile:
    """The replies of a file, in its order, and the digest of its bytes."""

    replies: tuple[RecordedReply, ...]
    digest: str


def read_records_file(path: Path) -> RecordsFile:
    """Return the replies that a file holds. Blank lines are skipped.

    Raises:
        RecordsError: it is missing, not UTF-8 (with the byte), malformed (with the line), holds
            no reply, or two with the same probe and repeat.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RecordsError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Offsets of this codec count from after a byte-order mark.
        at = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        line = raw[:at].count(b"\n") + 1
        raise RecordsError(
            f"{path} is not UTF-8: byte {at} (line {line}) is 0x{raw[at]:02x}",
            hint="save the file as UTF-8",
        ) from error
    # Not splitlines(): texts may hold U+2028 and the like.
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    replies = [r for n, line in lines if (r := _reply(path, n, line)) is not None]
    if not replies:
        raise RecordsError(f"{path} holds no reply", hint=_LINE_HINT)
    _refuse_duplicates(path, replies)
    return RecordsFile(replies=tuple(replies), digest=digest(raw))


class RecordedModel(RepliesOnly):
    """Implements `auditor.models.base.Model` at access TEXT: it can only repeat."""

    def __init__(self, path: Path) -> None:
        file = read_records_file(path)
        self._ref = ModelRef(
            spec=f"records:{path.resolve()}", access=Access.TEXT, digest=file.digest
        )
        self._by_id = {(r.probe_id, r.repeat): r.text for r in file.replies if r.probe_id}
        self._by_prompt = {
            (r.prompt, r.repeat): r.text
            for r in file.replies
            if r.probe_id is None and r.prompt is not None
        }

    @property
    def ref(self) -> ModelRef:
        """Identity: the digest is that of the file."""
        return self._ref

    def refusal(self, what: str) -> AccessError:
        """Return the error for something that no record holds."""
        return AccessError(
            f"recorded outputs offer no {what}", hint="give a model whose weights are at hand"
        )

    def missing(self, probes: Sequence[Probe], n: int = 1) -> tuple[tuple[str, int], ...]:
        """Return the (probe id, repeat) that were asked for and not recorded, in order."""
        return tuple(
            (probe.id, repeat)
            for probe in probes
            for repeat in range(n)
            if self._text(probe, repeat) is None
        )

    def available(self, probes: Sequence[Probe], n: int = 1) -> tuple[Probe, ...]:
        """Return the probes with all of n repeats recorded, in order."""
        lacking = {probe_id for probe_id, _ in self.missing(probes, n)}
        return tuple(probe for probe in probes if probe.id not in lacking)

    def sample(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[Sample]:
        """Yield the recorded replies, in order of (probe, repeat), without token ids.

        `decoding` and `seed` are those of whoever recorded; what is given here has no effect.

        Raises:
            RecordsError: a reply was not recorded; ask `missing` or `available` first.
        """
        del decoding, seed
        absent = self.missing(probes, n)
        if absent:
            shown = ", ".join(f"{probe_id} repeat {repeat}" for probe_id, repeat in absent[:3])
            raise RecordsError(
                f"{self._ref.spec} lacks {len(absent)} of {len(probes) * n} replies: {shown}"
                f"{' ...' if len(absent) > 3 else ''}",
                hint="record them too, or ask only for recorded ones (--suite, --probes)",
            )
        for probe in probes:
            for repeat in range(n):
                yield self._sample(probe, repeat)

    def close(self) -> None:
        """Forget the replies."""
        self._by_id.clear()
        self._by_prompt.clear()

    def _text(self, probe: Probe, repeat: int) -> str | None:
        text = self._by_id.get((probe.id, repeat))
        return self._by_prompt.get((prompt_text(probe), repeat)) if text is None else text

    def _sample(self, probe: Probe, repeat: int) -> Sample:
        return Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt=self.render(probe),
            prompt_ids=(),
            token_ids=(),
            text=self._text(probe, repeat) or "",
            finish_reason="unknown",
        )


def _reply(path: Path, number: int, line: str) -> RecordedReply | None:
    try:
        entry = whole_json(json.loads(line))
    except (ValueError, RecursionError) as error:
        _malformed(path, number, f"not JSON ({error})")
    if not isinstance(entry, dict):
        _malformed(path, number, "not a JSON object")
    if entry.get("outcome") == "error":
        return None
    probe_id, prompt = _optional(path, number, entry, "probe_id"), None
    if probe_id is None:
        prompt = _optional(path, number, entry, "prompt")
    if probe_id is None and prompt is None:
        _malformed(path, number, "neither probe_id nor prompt")
    text, repeat = entry.get("text"), entry.get("repeat", 0)
    if not isinstance(text, str):
        _malformed(path, number, "no text")
    if type(repeat) is not int or repeat < 0:
        _malformed(path, number, f"repeat is {repeat!r}, not a number from 0 on")
    suite = _optional(path, number, entry, "suite")
    return RecordedReply(text=text, repeat=repeat, probe_id=probe_id, prompt=prompt, suite=suite)


def _optional(path: Path, number: int, entry: dict[str, Any], key: str) -> str | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        _malformed(path, number, f"{key} is {value!r}, not a text")
    return value


def _refuse_duplicates(path: Path, replies: Sequence[RecordedReply]) -> None:
    counts = Counter((r.probe_id, r.prompt, r.repeat) for r in replies)
    (probe_id, prompt, repeat), times = counts.most_common(1)[0]
    if times > 1:
        raise RecordsError(
            f"{path} holds {times} replies for {(probe_id or prompt)!r}, repeat {repeat}",
            hint='number the replies to one probe: "repeat": 0, 1, 2, ...',
        )


def _malformed(path: Path, number: int, why: str) -> Never:
    raise RecordsError(f"{path}, line {number}: {why}", hint=_LINE_HINT)
