"""What a subject that can only reply expects next, in the reference's token ids.

Rows of ``arrays/topk/<subject>.npy`` as a local model has them, where a server gives a text back
with log-probabilities and cuts it into the reference's tokens; rows of ``arrays/answers`` from
those that came with the first token of its replies. Its tokens are strings: each is
looked up by its bytes among those of the reference; what is found nowhere counts as tail.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TYPE_CHECKING

import numpy as np

from auditor.collect.collection import Collection
from auditor.collect.forcing import forced_batches
from auditor.collect.listed_rows import ListedRows
from auditor.collect.sequences import ForcedText, reference_sequences
from auditor.collect.shown import Shown, shown_replies
from auditor.errors import SubjectError, UndefinedError
from auditor.models.echoes import EchoedToken
from auditor.models.openai_server import OpenAIServer
from auditor.stored import planned_probes
from auditor.types import Access

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
    batches = forced_batches(sequences, run.plan["batch_tokens"])
    if any(_spelled(text, tokens) is None for text in chain.from_iterable(batches)):
        return "a text of the reference is cut inside a character: it cannot be sent"
    probes = planned_probes(run.case)
    # Read from the disk once more for each use: they are not held.
    sent = (
        (probes[text.probe].id, spelled)
        for text in chain.from_iterable(batches)
        if (spelled := _spelled(text, tokens)) is not None
    )
    with closing(echoes.of(sent)) as echoed:
        texts = zip(chain.from_iterable(batches), echoed, strict=True)
        found = ((text.probe, _scored(text, shown, tokens)) for text, shown in texts)
        try:
            return _written(run, "topk", name, found, tokens)
        except (UndefinedError, SubjectError) as error:
            return error.message


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
    replies = shown_replies(run, model, name)
    firsts = (next(group) for _, group in groupby(replies, key=lambda reply: reply.probe))
    found = (
        (first.probe, [[(likely.piece, likely.logprob) for likely in first.positions[0].top]])
        for first in firsts
    )
    return _written(run, "answers", name, found, tokens)


_NO_IDS = "the reference is known by its replies alone: no token ids"

Tops = Sequence[tuple[bytes, float]]
"""The likeliest tokens of a position: their bytes and log-probabilities."""


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


def _written(
    run: Collection,
    kind: str,
    name: str,
    found: Iterable[tuple[int, Sequence[Tops]]],
    tokens: _Tokens,
) -> str | None:
    """Write a row for each of the positions (probe, their tokens); return why none, if so.

    Where the server shows nothing (it cuts the text elsewhere, or shows no token of the reference)
    all is tail: such a position adds nothing to a divergence. Nothing is written where it shows
    something at less than half of the positions.

    Raises:
        CaseError, StorageError: as `ListedRows`.
    """
    ids = _unique_ids(tokens.vocabulary)
    with ListedRows(run.case.work) as rows:
        for probe, tops in found:
            known = [[(ids[word], value) for word, value in top if word in ids] for top in tops]
            rows.add(probe, known)
        if 2 * rows.shown < max(1, len(rows)):
            return (
                f"the server shows tokens of the reference at {rows.shown} of {len(rows)} "
                "positions: it cuts the reference's text into other tokens"
            )
        rows.write(run.case.array(kind, name))
    return None


def _spelled(text: ForcedText, tokens: _Tokens) -> str | None:
    try:
        return b"".join(tokens.pieces(text)).decode()
    except UnicodeDecodeError:
        return None


def _scored(text: ForcedText, shown: Sequence[EchoedToken], tokens: _Tokens) -> list[Tops]:
    """Return what the server expects at each scored position of a text; empty: not known."""
    lengths = [len(piece) for piece in tokens.pieces(text)]
    ends = np.cumsum(lengths)
    by_place = {(token.start, token.end): token.top for token in shown}
    places = [(int(end - length), int(end)) for end, length in zip(ends, lengths, strict=True)]
    tops = [by_place.get(place, ()) for place in places[text.first + 1 :]]
    return [[(word.encode(), value) for word, value in top] for top in tops]


def _unique_ids(vocabulary: "Vocabulary") -> dict[bytes, int]:
    """Return the id of each piece that one token alone has."""
    found: dict[bytes, int] = {}
    twice: set[bytes] = set()
    for index, piece in enumerate(vocabulary.pieces):
        if piece is not None and found.setdefault(piece, index) != index:
            twice.add(piece)
    return {piece: index for piece, index in found.items() if piece not in twice}
