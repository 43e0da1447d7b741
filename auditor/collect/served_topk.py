"""What a subject that can only reply expects next, in the reference's token ids.

Rows of ``arrays/topk/<subject>.npy`` as a local model has them, where a server gives a text back
with log-probabilities and cuts it into the reference's tokens; rows of ``arrays/answers`` from
those that came with the first token of its replies. Its tokens are strings: each is
looked up by its bytes among those of the reference; what is found nowhere counts as tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.forcing import forced_batches
from auditor.collect.sequences import ForcedText, reference_sequences
from auditor.collect.shown import Shown, shown_replies
from auditor.collect.topk import UNLISTED, topk_dtype
from auditor.errors import SubjectError, UndefinedError
from auditor.models.echoes import EchoedToken
from auditor.models.openai_replies import Likely
from auditor.models.openai_server import OpenAIServer
from auditor.stored import planned_probes
from auditor.types import Access, Array

if TYPE_CHECKING:
    from auditor.models.vocabulary import Vocabulary


def read_served_topk(run: Collection, model: OpenAIServer, name: str) -> str | None:
    """Write the rows of a subject behind a server; return why there are none, where it is so.

    Raises:
        ServerError, BudgetError, StorageError: as `Echoes.of`; repeat the call to continue.
    """
    if run.case.array("topk", name).is_file():
        return None
    echoes = model.echoes
    reason = run.access_reason(model.ref, Access.TOPK)
    if reason or echoes is None:
        return reason or "the server gives no log-probabilities of a text that it is given (echo)"
    tokens = _reference_tokens(run)
    if tokens is None:
        return _NO_IDS
    sequences = reference_sequences(run.case, run.reference, run.longest_text)
    # In the order of local models, whose rows are compared with these one by one.
    texts = [t for batch in forced_batches(sequences, run.plan["batch_tokens"]) for t in batch]
    spelled = [_spelled(text, tokens) for text in texts]
    if None in spelled:
        return "a text of the reference is cut inside a character: it cannot be sent"
    ids = [planned_probes(run.case)[text.probe].id for text in texts]
    sent = [(probe, text) for probe, text in zip(ids, spelled, strict=True) if text is not None]
    try:
        rows = _rows(texts, list(echoes.of(sent)), tokens)
    except (UndefinedError, SubjectError) as error:
        return error.message
    _write(run, "topk", name, rows)
    return None


def read_answers(run: Collection, model: Shown, name: str) -> str | None:
    """Write what came with the first token of each probe's replies; return why nothing, if so.

    It is the same for every reply to a probe, so the first that shows it counts.

    Raises:
        CaseError: a record was changed.
        ServerError, StorageError: as `shown_replies`.
    """
    if run.case.array("answers", name).is_file():
        return None
    reason = run.access_reason(model.ref, Access.TOPK)
    tokens = None if reason else _reference_tokens(run)
    if reason or tokens is None:
        return reason or _NO_IDS
    firsts: dict[int, tuple[Likely, ...]] = {}
    for reply in shown_replies(run, model, name):
        firsts.setdefault(reply.probe, reply.positions[0].top)
    tops = [[(likely.piece, likely.logprob) for likely in top] for top in firsts.values()]
    try:
        rows = _listed_rows(list(firsts), tops, tokens)
    except UndefinedError as error:
        return error.message
    _write(run, "answers", name, rows)
    return None


_NO_IDS = "the reference is known by its replies alone: no token ids"


def _write(run: Collection, kind: str, name: str, rows: Array) -> None:
    with ArrayWriter(run.case.array(kind, name), rows.dtype, len(rows)) as writer:
        writer.resume([0])
        writer.append(rows)
        writer.finish()


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of the reference."""

    vocabulary: "Vocabulary"
    start: int | None
    """The special token that its tokenizer puts before every text, as servers do too."""

    def skipped(self, text: ForcedText) -> int:
        """Return how many ids at the start of a sequence are no part of its text: 0 or 1."""
        return int(len(text.token_ids) > 0 and int(text.token_ids[0]) == self.start)

    def pieces(self, text: ForcedText) -> list[bytes]:
        """Return the bytes of each token of a sequence; of those that are skipped none."""
        found = [self.vocabulary.pieces[int(index)] or b"" for index in text.token_ids]
        skipped = self.skipped(text)
        return [*([b""] * skipped), *found[skipped:]]


def _reference_tokens(run: Collection) -> _Tokens | None:
    from auditor.models.loading import load_tokenizer
    from auditor.models.source import locate
    from auditor.models.specifier import parse
    from auditor.models.vocabulary import vocabulary_of

    specifier = parse(run.plan["subjects"][0]["spec"])
    if specifier.scheme in ("records", "openai"):
        return None
    source = locate(specifier)
    tokenizer = load_tokenizer(source)
    vocabulary = vocabulary_of(tokenizer, source.rows)
    first = tokenizer("x")["input_ids"][0]
    return _Tokens(vocabulary, first if first in vocabulary.special else None)


def _spelled(text: ForcedText, tokens: _Tokens) -> str | None:
    try:
        return b"".join(tokens.pieces(text)).decode()
    except UnicodeDecodeError:
        return None


def _rows(
    texts: Sequence[ForcedText], echoed: Sequence[Sequence[EchoedToken]], tokens: _Tokens
) -> Array:
    """Return the rows at the scored positions of all texts.

    Where the server shows nothing (it cuts the text elsewhere, or shows no token of the reference)
    all is tail: such a position adds nothing to a divergence.

    Raises:
        UndefinedError: it shows something at less than half of the positions.
    """
    probes: list[int] = []
    tops: list[list[tuple[bytes, float]]] = []
    for text, shown in zip(texts, echoed, strict=True):
        for top in _scored(text, shown, tokens):
            probes.append(text.probe)
            tops.append([(word.encode(), value) for word, value in top])
    return _listed_rows(probes, tops, tokens)


def _listed_rows(
    probes: Sequence[int], tops: Sequence[Sequence[tuple[bytes, float]]], tokens: _Tokens
) -> Array:
    """Return a row for each list of (bytes of a token, log-probability) of a probe.

    Raises:
        UndefinedError: less than half of the lists hold a token of the reference.
    """
    ids = _unique_ids(tokens.vocabulary)
    found = [[(ids[word], value) for word, value in top if word in ids] for top in tops]
    known = sum(map(bool, found))
    if 2 * known < max(1, len(found)):
        raise UndefinedError(
            f"the server shows tokens of the reference at {known} of {len(found)} positions: it "
            "cuts the reference's text into other tokens"
        )
    k = max(map(len, found))
    rows = np.zeros(len(found), dtype=topk_dtype(k))
    rows["probe"] = probes
    rows["ids"] = [[*(i for i, _ in row), *range(-1, len(row) - k - 1, -1)] for row in found]
    rows["logprobs"] = [[*(v for _, v in row), *[UNLISTED] * (k - len(row))] for row in found]
    listed = np.exp(rows["logprobs"].astype(np.float64)).sum(axis=1)
    rows["tail"] = np.clip(1.0 - listed, 0.0, 1.0)
    return rows


def _scored(
    text: ForcedText, shown: Sequence[EchoedToken], tokens: _Tokens
) -> list[tuple[tuple[str, float], ...]]:
    """Return what the server expects at each scored position of a text; empty: not known."""
    lengths = [len(piece) for piece in tokens.pieces(text)]
    ends = np.cumsum(lengths)
    by_place = {(token.start, token.end): token.top for token in shown}
    places = [(int(end - length), int(end)) for end, length in zip(ends, lengths, strict=True)]
    return [by_place.get(place, ()) for place in places[text.first + 1 :]]


def _unique_ids(vocabulary: "Vocabulary") -> dict[bytes, int]:
    """Return the id of each piece that one token alone has."""
    found: dict[bytes, int] = {}
    twice: set[bytes] = set()
    for index, piece in enumerate(vocabulary.pieces):
        if piece is not None and found.setdefault(piece, index) != index:
            twice.add(piece)
    return {piece: index for piece, index in found.items() if piece not in twice}
