"""Cross-scoring: how likely each subject finds the text that the reference wrote."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from auditor.case import Case
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.forcing import ForcedBatch
from auditor.collect.sequences import ForcedText, ReferenceText, reference_texts
from auditor.collect.tempered import tempered_logprobs
from auditor.models.base import Encoded, Head, Model
from auditor.models.batching import plan_batches
from auditor.on_disk import Batches, OnDisk
from auditor.types import Access, Array, Score

SCORE = np.dtype(
    [
        ("probe", "<i4"),  # index into the probes of the case
        ("token", "<i4"),  # in the scoring subject's own vocabulary
        ("logprob", "<f8"),  # natural logarithm
        ("byte_end", "<i4"),  # in the reference's reply, or in text + reply of a text probe
    ]
)
"""Row of ``arrays/scores/<subject>.npy``. The first token of a reply may hold the end of the
prompt as well, where the tokenizer joins the two; its `byte_end` is then short of its length."""


def score_texts(
    run: Collection, model: Model, subject: str, texts: Sequence[ReferenceText]
) -> Iterator[int]:
    """Write what the scores of a subject still lack; yield the number of texts done, by batch.

    First the rows that `TextScores` kept, then those of the other texts.

    Raises:
        InputError: the model cannot take a text.
        StorageError: the disk is full; the batches written before are kept.
    """
    path = run.case.array("scores", subject)
    if path.is_file():
        yield len(texts)
        return
    kept = _kept(run.case, subject)
    others = _others(kept, texts)
    yield len(texts) - len(others)
    batches = _batches(model, texts, others, run.plan["batch_tokens"])
    with ArrayWriter(path, SCORE, None) as writer:
        done = _resume(writer, kept, batches)
        run.log_cut(path, writer.cut)
        for index, batch in enumerate(batches):
            if index >= done:
                scores = model.score([text.prompt + text.reply for text in batch])
                rows = [score_rows(text, score) for text, score in zip(batch, scores, strict=True)]
                writer.append(np.concatenate(rows))
            yield len(batch)
        writer.finish()


def _kept(case: Case, subject: str) -> ArrayReader | None:
    path = kept_scores(case, subject)
    return ArrayReader(path) if path.is_file() else None


def _others(kept: ArrayReader | None, texts: Sequence[ReferenceText]) -> list[int]:
    """Return the places of the texts of which no rows were kept."""
    known = set() if kept is None else set(kept.distinct("probe").tolist())
    return [place for place, text in enumerate(texts) if text.probe not in known]


def kept_scores(case: Case, subject: str) -> Path:
    """Return where the scores are kept that the pass over the sequences gave."""
    return case.work / "scores" / f"{subject}.npy"


def _batches(
    model: Model, texts: Sequence[ReferenceText], places: Sequence[int], batch_tokens: int
) -> Batches[ReferenceText]:
    """Return some of the texts by forward pass."""
    wanted = (texts[place] for place in places)
    lengths = [len(model.encode(text.prompt + text.reply).token_ids) for text in wanted]
    plan = plan_batches(lengths, batch_tokens)
    return Batches(texts, [[places[index] for index in batch] for batch in plan])


def _resume(writer: ArrayWriter, kept: ArrayReader | None, batches: Batches[ReferenceText]) -> int:
    """Cut the batch that may be incomplete; return how many batches before it are there."""
    copied = 0 if kept is None else kept.shape[0]
    if writer.rows < copied or not writer.rows:
        writer.resume([0])
        if kept is not None:
            writer.copy(kept)
        return 0
    probes = writer.column("probe")[copied:]
    if not len(probes):
        return 0
    # How many rows a batch has is known only after scoring: do the last one again.
    last = next(i for i, batch in enumerate(batches) if probes[-1] in [t.probe for t in batch])
    again = np.isin(probes, [text.probe for text in batches[last]])
    writer.resume([copied + int(np.argmax(again))])
    return last


def score_rows(text: ReferenceText, score: Score) -> Array:
    """Return (n,) of dtype SCORE: the tokens of the reply, without those of the prompt."""
    scored = score.byte_ends > text.first_byte
    rows = np.zeros(int(scored.sum()), dtype=SCORE)
    rows["probe"] = text.probe
    rows["token"] = score.token_ids[scored]
    rows["logprob"] = score.logprobs[scored]
    rows["byte_end"] = score.byte_ends[scored] - text.first_byte
    return rows


_READ = np.dtype([("place", "<i4"), ("token", "<i4"), ("byte_end", "<i4")])
"""A scored token of a text: its place in the sequence, and as in SCORE."""
_NONE = -1


class TextScores:
    """The same rows, out of the pass over sequences that hold a text token for token."""

    def __init__(
        self, case: Case, subject: str, head: Head, tokens: Sequence[Array], row_of: Array
    ) -> None:
        """Keep the scores of some texts; every other sequence of the pass has none.

        Args:
            case: of the subject.
            subject: its name.
            head: of its model.
            tokens: (n,) of dtype _READ, of each text.
            row_of: from a probe to its place in `tokens`; -1 for none.
        """
        self._head, self._tokens, self._row_of = head, tokens, row_of
        self.writer = ArrayWriter(kept_scores(case, subject), SCORE, sum(map(len, tokens)))

    def count(self, text: ForcedText) -> int:
        """Return the number of scored tokens."""
        return len(self._scored(text))

    def _scored(self, text: ForcedText) -> Array:
        row = int(self._row_of[text.probe])
        return np.zeros(0, dtype=_READ) if row == _NONE else self._tokens[row]

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) of dtype SCORE."""
        import torch

        parts, states = [], []
        for text, found in zip(batch.texts, batch.states, strict=True):
            read = self._scored(text)
            part = np.zeros(len(read), dtype=SCORE)
            part["probe"], part["token"] = text.probe, read["token"]
            part["byte_end"] = read["byte_end"]
            parts.append(part)
            states.append(
                found[torch.from_numpy(read["place"].astype(np.int64) - 1).to(found.device)]
            )
        rows = np.concatenate(parts)
        logprobs = tempered_logprobs(self._head, torch.cat(states), rows["token"], (1.0,))
        rows["logprob"] = logprobs[:, 0]
        return rows


def text_scores(
    run: Collection, model: Model, subject: str, forced: Sequence[ForcedText]
) -> TextScores | None:
    """Return what scores texts in the pass over `forced`; None where nothing is left to score.

    A reply that is no text (cut inside a character) is read as other tokens than it was written.
    """
    done = (run.case.array("scores", subject), kept_scores(run.case, subject))
    if run.access_reason(model.ref, Access.LOGITS) or any(path.is_file() for path in done):
        return None
    probes: list[int] = []
    tokens = OnDisk(run.case.work, _read_alike(run, model, forced, probes), _bytes_of, _read_from)
    if not probes:
        return None
    row_of = np.full(max(text.probe for text in forced) + 1, _NONE, dtype=np.int64)
    row_of[probes] = np.arange(len(probes))
    return TextScores(run.case, subject, model.head(), tokens, row_of)


def _read_alike(
    run: Collection, model: Model, forced: Sequence[ForcedText], probes: list[int]
) -> Iterator[Array]:
    """Yield the scored tokens of each text that is read as the sequence says; tell its probe."""
    sequences = iter(forced)
    sequence = next(sequences, None)
    for text in reference_texts(model, run.case, run.reference):
        # Both come by rising probe, and both lack some.
        while sequence is not None and sequence.probe < text.probe:
            sequence = next(sequences, None)
        if sequence is None or sequence.probe != text.probe:
            continue
        encoded = model.encode(text.prompt + text.reply)
        if sequence.token_ids.tolist() == list(encoded.token_ids):
            probes.append(text.probe)
            yield _scored(text, encoded)


def _scored(text: ReferenceText, encoded: Encoded) -> Array:
    """Return (n,) of dtype _READ; the very first of all tokens is predicted by nothing."""
    ends = np.array(encoded.byte_ends, dtype=np.int64)
    own = np.flatnonzero(ends > text.first_byte)
    places = own[own > 0]
    rows = np.zeros(len(places), dtype=_READ)
    rows["place"] = places
    rows["token"] = np.array(encoded.token_ids)[places]
    rows["byte_end"] = ends[places] - text.first_byte
    return rows


def _bytes_of(rows: Array) -> bytes:
    return rows.tobytes()


def _read_from(content: bytes) -> Array:
    return np.frombuffer(content, dtype=_READ)
