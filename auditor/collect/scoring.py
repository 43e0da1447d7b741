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
    kept, others = _kept(run.case, subject, texts)
    yield len(texts) - len(others)
    batches = _batches(model, others, run.plan["batch_tokens"])
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


def _kept(
    case: Case, subject: str, texts: Sequence[ReferenceText]
) -> tuple[Array, list[ReferenceText]]:
    """Return the rows that were kept of a subject, and the texts that have none."""
    if not kept_scores(case, subject).is_file():
        return np.zeros(0, dtype=SCORE), list(texts)
    source = ArrayReader(kept_scores(case, subject))
    rows = source.read(0, source.shape[0])
    known = set(rows["probe"].tolist())
    return rows, [text for text in texts if text.probe not in known]


def kept_scores(case: Case, subject: str) -> Path:
    """Return where the scores are kept that the pass over the sequences gave."""
    return case.work / "scores" / f"{subject}.npy"


def _batches(
    model: Model, texts: Sequence[ReferenceText], batch_tokens: int
) -> list[list[ReferenceText]]:
    """Return the texts by forward pass, so that no more than one pass is in memory."""
    lengths = [len(model.encode(text.prompt + text.reply).token_ids) for text in texts]
    return [[texts[index] for index in batch] for batch in plan_batches(lengths, batch_tokens)]


def _resume(writer: ArrayWriter, kept: Array, batches: Sequence[Sequence[ReferenceText]]) -> int:
    """Cut the batch that may be incomplete; return how many batches before it are there."""
    probes = writer.column("probe")
    if len(probes) < len(kept) or not len(probes):
        writer.resume([0])
        writer.append(kept)
        return 0
    probes = probes[len(kept) :]
    if not len(probes):
        return 0
    # How many rows a batch has is known only after scoring: do the last one again.
    batch_of = {text.probe: index for index, batch in enumerate(batches) for text in batch}
    last = batch_of[int(probes[-1])]
    again = np.isin(probes, [text.probe for text in batches[last]])
    writer.resume([len(kept) + int(np.argmax(again))])
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


class TextScores:
    """The same rows, out of the pass over sequences that hold a text token for token."""

    def __init__(self, case: Case, subject: str, head: Head, texts: "_Encoded") -> None:
        """Keep the scores of `texts`; every other sequence of the pass has none."""
        self._head = head
        self._texts = {probe: (*pair, _scored(*pair)) for probe, pair in texts.items()}
        rows = sum(len(tokens) for _, _, tokens in self._texts.values())
        self.writer = ArrayWriter(kept_scores(case, subject), SCORE, rows)

    def count(self, text: ForcedText) -> int:
        """Return the number of scored tokens."""
        return len(self._texts[text.probe][2]) if text.probe in self._texts else 0

    def rows(self, batch: ForcedBatch, start: int) -> Array:
        """Return (n,) of dtype SCORE."""
        import torch

        parts, states = [np.zeros(0, dtype=SCORE)], [batch.states[0][:0]]
        for forced, found in zip(batch.texts, batch.states, strict=True):
            if forced.probe in self._texts:
                text, encoded, tokens = self._texts[forced.probe]
                part = np.zeros(len(tokens), dtype=SCORE)
                part["probe"] = text.probe
                part["token"] = np.array(encoded.token_ids)[tokens]
                part["byte_end"] = np.array(encoded.byte_ends)[tokens] - text.first_byte
                parts.append(part)
                states.append(found[torch.from_numpy(tokens - 1).to(found.device)])
        rows = np.concatenate(parts)
        logprobs = tempered_logprobs(self._head, torch.cat(states), rows["token"], (1.0,))
        rows["logprob"] = logprobs[:, 0]
        return rows


_Encoded = dict[int, tuple[ReferenceText, Encoded]]


def text_scores(
    run: Collection, model: Model, subject: str, forced: Sequence[ForcedText]
) -> TextScores | None:
    """Return what scores texts in the pass over `forced`; None where nothing is left to score.

    A reply that is no text (cut inside a character) is read as other tokens than it was written.
    """
    done = (run.case.array("scores", subject), kept_scores(run.case, subject))
    if run.access_reason(model.ref, Access.LOGITS) or any(path.is_file() for path in done):
        return None
    read = {text.probe: tuple(text.token_ids.tolist()) for text in forced}
    texts: _Encoded = {}
    for text in reference_texts(model, run.case, run.reference):
        encoded = model.encode(text.prompt + text.reply)
        if read.get(text.probe) == encoded.token_ids:
            texts[text.probe] = text, encoded
    return TextScores(run.case, subject, model.head(), texts) if texts else None


def _scored(text: ReferenceText, encoded: Encoded) -> Array:
    """Return the indices of the scored tokens; the very first of all is predicted by nothing."""
    own = np.flatnonzero(np.array(encoded.byte_ends, dtype=np.int64) > text.first_byte)
    return own[own > 0]
