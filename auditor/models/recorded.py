"""Outputs that somebody else collected: a subject that can only repeat.

The file holds record lines (`auditor.models.records.reply`), or what other tools wrote:
`auditor.models.records.opening` finds out. A reply is matched with a probe by its id, else by what
was asked; under the id it must be one to what the probe asks. Access is TEXT, and TOPK where every
reply comes with its likeliest tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.canon import file_digest, tree_digest
from auditor.errors import AccessError, RecordsError
from auditor.models.records.facts import RecordedFacts, Tally
from auditor.models.records.index import ReplyIndex
from auditor.models.records.opening import Opened, open_recording
from auditor.models.records.reply import BESIDE, LINE_HINT, RecordedReply, Unusable, reply_as_json
from auditor.models.replies_only import RepliesOnly
from auditor.models.specifier import Specifier
from auditor.types import Access, Decoding, ModelRef, Probe, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsFile:
    """The replies of a file, in its order, and the digest of its bytes."""

    replies: tuple[RecordedReply, ...]
    digest: str


def read_records_file(path: Path) -> RecordsFile:
    """Return the replies that a file holds, all in memory.

    Raises:
        RecordsError: as `open_recorded`.
    """
    model = RecordedModel(Specifier(scheme="records", rest=str(path)))
    try:
        return RecordsFile(replies=tuple(model.replies()), digest=model.digest)
    finally:
        model.close()


def open_recorded(specifier: Specifier) -> "RecordedModel":
    """Return the subject of a ``records:`` specifier.

    Raises:
        RecordsError: the file is missing, of no known format, not UTF-8 (with the byte), malformed
            (with the line), holds no reply, or two with the same probe and repeat.
        MissingExtraError: its format needs the extra ``records``.
    """
    return RecordedModel(specifier)


class RecordedModel(RepliesOnly):
    """Implements `auditor.models.base.Model` at access TEXT or TOPK: it can only repeat."""

    def __init__(self, specifier: Specifier) -> None:
        path = specifier.path
        opened = open_recording(path, specifier.options)
        self._index = ReplyIndex()
        try:
            self.facts = _read(path, opened, self._index)
            self.digest = _digest(path, specifier.options)
        except BaseException:
            self._index.close()
            raise
        access = Access.TOPK if self.facts.has_topk else Access.TEXT
        self._ref = ModelRef(spec=specifier.canonical, access=access, digest=self.digest)

    @property
    def ref(self) -> ModelRef:
        """Identity: the digest is that of the file, or of a batch's output and input together."""
        return self._ref

    def refusal(self, what: str) -> AccessError:
        """Return the error for something that no record holds."""
        return AccessError(
            f"recorded outputs offer no {what}", hint="give a model whose weights are at hand"
        )

    def replies(self) -> Iterator[RecordedReply]:
        """Yield all replies in the order of the file; those to one prompt are numbered."""
        return self._index.replies()

    def missing(self, probes: Sequence[Probe], n: int = 1) -> tuple[tuple[str, int], ...]:
        """Return the (probe id, repeat) that were asked for and not recorded, in order."""
        return tuple(
            (probe.id, repeat)
            for probe in probes
            for repeat in range(n)
            if not self._index.has(probe, repeat)
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
            RecordsError: a reply was not recorded (ask `missing` or `available` first), or was
                given to another prompt than the probe's.
        """
        del decoding, seed
        absent = self.missing(probes, n)
        if absent:
            raise self._lacking(probes, n, absent)
        for probe in probes:
            for repeat in range(n):
                reply = self._index.find(probe, repeat)
                if reply is not None:
                    yield self._sample(probe, repeat, reply)

    def close(self) -> None:
        """Forget the replies."""
        self._index.close()

    def _lacking(
        self, probes: Sequence[Probe], n: int, absent: Sequence[tuple[str, int]]
    ) -> RecordsError:
        shown = ", ".join(f"{probe_id} repeat {repeat}" for probe_id, repeat in absent[:3])
        reasons = [why for probe in probes if (why := self._index.failure(probe)) is not None]
        said = f"; recorded is: {reasons[0]}" if reasons else ""
        return RecordsError(
            f"{self._ref.spec} lacks {len(absent)} of {len(probes) * n} replies: {shown}"
            f"{' ...' if len(absent) > 3 else ''}{said}",
            hint="record them too, or ask only for recorded ones (--suite, --probes); a suite of "
            "what was asked makes: auditor probes import FILE --out DIR",
        )

    def _sample(self, probe: Probe, repeat: int, reply: RecordedReply) -> Sample:
        line = reply_as_json(reply)
        return Sample(
            probe_id=probe.id,
            repeat=repeat,
            prompt=self.render(probe),
            prompt_ids=(),
            token_ids=(),
            text=reply.text,
            finish_reason=reply.finish_reason,
            recorded={key: line[key] for key in BESIDE if key in line},
        )


def _read(path: Path, opened: Opened, index: ReplyIndex) -> RecordedFacts:
    """Put the replies of a file into the index, and return what it holds."""
    tally = Tally()
    for entry in opened.recording.entries:
        if isinstance(entry, Unusable):
            tally.unusable[entry.reason] += 1
        elif entry.error is not None:
            tally.failures += 1
            index.fail(entry)
        else:
            index.add(entry)
            tally.add(entry)
    if not tally.replies:
        why = "; ".join(f"{n} entries: {reason}" for reason, n in tally.unusable.items())
        failed = f"{tally.failures} requests failed" if tally.failures else ""
        said = ", ".join(part for part in (why, failed) if part)
        hint = LINE_HINT if opened.format == "records" else "give a file with generated replies"
        raise RecordsError(f"{path} holds no reply{f' ({said})' if said else ''}", hint=hint)
    prompts, least, most = index.repeats()
    return RecordedFacts(
        format=opened.format,
        told=opened.told,
        tool=opened.recording.tool,
        replies=tally.replies,
        failures=tally.failures,
        unusable=tuple(sorted(tally.unusable.items())),
        prompts=prompts,
        repeats=(least, most),
        scored=tally.scored,
        top=tally.top,
        models=tuple(tally.models),
        decodings=tuple(tally.decodings.values()),
        undecoded=tally.undecoded,
        times=None if tally.first is None else (tally.first, tally.last or tally.first),
        notes=opened.recording.notes,
    )


def _digest(path: Path, options: Mapping[str, str]) -> str:
    prompts = options.get("prompts")
    if prompts is None:
        return file_digest(path)
    return tree_digest({"output": file_digest(path), "prompts": file_digest(Path(prompts))})
