"""Stored outputs of subjects: a statistic is defined on these, never on a model.

`POSITION` is the row of ``arrays/agreement/<suspect>.npy``: the full-vocabulary agreement of two
models at one position, both fed the same token ids (the reference's rendering and its first reply).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from auditor.errors import UndefinedError
from auditor.mapped import mapped
from auditor.panel import Control, Crossing
from auditor.texts import Replies, taken_texts
from auditor.types import Array, ModelRef, Probe, frozen_array
from auditor.withheld import Withheld

TOPK = (1, 5, 10, 50)
_BLOCK_ROWS = 1 << 12

# a is the reference, b the suspect (kernels: agreement(a, b, tokens)). Natural logarithms.
POSITION = np.dtype(
    [
        ("probe", "<i4"),  # index into the probes of the case, in their order
        ("token", "<i4"),  # id of the token that follows in the text
        *[
            (name, "<f8")
            for name in (
                "kl_ab",
                "kl_ba",
                "js",
                "tv",
                "hellinger2",
                "log_bc",
                "entropy_a",
                "entropy_b",
                "cosine",
                "pearson",
                "logp_a",
                "logp_b",
                "lse_a",
                "lse_b",
            )
        ],
        *[
            (name, "<i4")
            for name in (
                "rank_a",
                "rank_b",
                "ties_a",
                "ties_b",
                "argmax_a",
                "argmax_b",
                "rank_argmax_a_in_b",
            )
        ],
        ("topk_overlap", "<f8", (len(TOPK),)),  # share of the k likeliest tokens in common
    ]
)
"""``kl_ab`` is +inf in the kernel where b excludes a token that a allows; it is stored as NaN here
and counted as undefined by the measures, since no infinity enters a file."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutputSet:
    """What one subject produced on P probes with N repeats each."""

    subject: str
    """Name of the subject inside the case."""
    model: ModelRef
    probes: tuple[Probe, ...]
    texts: Replies | None = None
    """(P)(N) replies."""
    embeddings: Array | None = None
    """(P, N, E) float32, unit length, of the replies."""
    hidden: Array | None = None
    """(P, D) float32: final hidden state, averaged over the positions of the reference's text."""
    topk: Array | None = None
    """(T,) rows with ``probe``, ``ids`` (k), ``logprobs`` (k) and ``tail``: what the subject
    expects next at the scored positions of the reference's text."""
    answers: Array | None = None
    """(n,) rows like those of `topk`, at most one a probe: what the subject expects as the first
    token of its reply."""

    def __post_init__(self) -> None:
        for name in ("embeddings", "hidden", "topk", "answers"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, frozen_array(values))

    def take(self, rows: Sequence[int] | Array) -> "OutputSet":
        """Return the outputs on a selection of probes."""
        index = np.asarray(rows, dtype=np.int64)
        whole = _is_whole(index, len(self.probes))  # then nothing is copied

        def taken(values: Array | None) -> Array | None:
            return values if whole or values is None else _gathered(values, index)

        return replace(
            self,
            probes=self.probes if whole else tuple(self.probes[i] for i in index),
            texts=self.texts if whole else taken_texts(self.texts, index),
            embeddings=taken(self.embeddings),
            hidden=taken(self.hidden),
            topk=taken_rows(self.topk, index, len(self.probes)),
            answers=taken_rows(self.answers, index, len(self.probes)),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pair:
    """Two subjects on the same probes: the argument of every measure."""

    reference: OutputSet
    suspect: OutputSet
    positions: Array | None = None
    """(T,) of dtype POSITION, `a` = reference, `b` = suspect; None where not computable."""
    why: dict[str, str] | None = None
    """Reasons why a field is missing: {"positions": "different vocabularies", ...}."""
    pool: tuple[Control, ...] = ()
    """Controls without a link to the reference; none of the suspect's own family."""
    crossing: Crossing | None = None
    own: Array | None = None
    """(P, N) nats: log-probability that the suspect itself gives to each of its replies, at
    temperature 1; NaN where it is not known, or of other bytes than those of the crossing."""
    neurons: Array | None = None
    """(L * H,) of dtype NEURON."""
    span: Array | None = None
    """(min(D, D'),) cosines of the principal angles between the spans of the unembeddings, each
    in [0, 1], largest first; the spans live in V - 1 dimensions."""
    weight_cka: Array | None = None
    """(L, L', 2) debiased CKA of the query and key weights of each pair of layers."""
    transcripts: tuple[Array, Array] | None = None
    """(n,) TRANSCRIPT rows of the reference and of the suspect, in the committed order."""
    rederivation: Array | None = None
    """(n,) REDERIVATION rows, one a transform."""
    merge: Array | None = None
    """(n,) MIXTURE rows, one a block of weights."""
    parents: tuple[str, ...] = ()
    """Names of the parents in `merge`, the reference first."""

    def __post_init__(self) -> None:
        for name in ("positions", "own", "neurons", "span", "weight_cka", "rederivation", "merge"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, frozen_array(values))

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The P probes, in order."""
        return self.reference.probes

    @property
    def choices(self) -> Array | None:
        """(T,) rows with ``probe`` at whose positions the likeliest tokens of both are known.

        `positions`, else the suspect's lists where they are of the reference's tokens.
        """
        if self.positions is not None:
            return self.positions
        ours, theirs = self.reference, self.suspect
        if ours.topk is None or theirs.topk is None:
            return None
        same = np.array_equal(ours.topk["probe"], theirs.topk["probe"])
        # Behind a server no tokenizer is known: its lists were read in the reference's tokens.
        known = (None, ours.model.tokenizer_digest)
        return theirs.topk if same and theirs.model.tokenizer_digest in known else None

    def require(self, field: str) -> None:
        """Raise UndefinedError, with the recorded reason, where `field` is missing on a side."""
        sides = (self,) if field in OF_THE_PAIR else (self.reference, self.suspect)
        missing = any(_lacks(field, getattr(side, field)) for side in sides)
        if missing:
            reasons = self.why or {}
            why = reasons.get(_REASON_OF.get(field, field))
            raise UndefinedError(why or _UNEXPLAINED.get(field, _NONE.format(field)))
        if field == "texts" and any(map(_withholds, sides)):
            raise UndefinedError("replies are withheld")
        if not self.probes:
            raise UndefinedError("no probe was answered by both models")

    def take(self, rows: Sequence[int] | Array) -> "Pair":
        """Return the pair on a selection of distinct probes, positions re-indexed."""
        index = np.asarray(rows, dtype=np.int64)
        total = len(self.probes)
        return replace(
            self,
            reference=self.reference.take(rows),
            suspect=self.suspect.take(rows),
            positions=taken_rows(self.positions, index, total),
            pool=tuple(_taken_control(control, index, total) for control in self.pool),
            crossing=None if self.crossing is None else self.crossing.take(index),
            own=None if self.own is None else self.own[index],
        )


OF_THE_PAIR = (
    "positions",
    "choices",
    "pool",
    "crossing",
    "own",
    "neurons",
    "span",
    "weight_cka",
    "transcripts",
    "rederivation",
    "merge",
)
"""Fields of a Pair itself; every other field is one of both subjects."""
_REASON_OF = {"choices": "positions"}
"""Field -> the one whose reason is recorded."""
_NONE = "no {} were collected for both subjects"
_UNEXPLAINED = {"pool": "no control without a link to the reference was given"}


def _withholds(side: Any) -> bool:
    return any(isinstance(text, Withheld) for replies in side.texts for text in replies)


def _lacks(field: str, value: Any) -> bool:
    return value is None or (field == "pool" and not value)


def _is_whole(index: Array, count: int) -> bool:
    """Whether a selection is all there is, in its order."""
    return np.array_equal(index, np.arange(count))


def taken_rows(rows: Array | None, index: Array, probes: int) -> Array | None:
    """Return the rows of the probes `index`, renumbered and in their order; None stays None.

    Args:
        rows: (T,) with a column ``probe``.
        index: (n,) distinct probes out of `probes`.
        probes: how many there are.
    """
    if rows is None:
        return None
    if _is_whole(index, probes) and (np.diff(rows["probe"]) >= 0).all():
        return rows
    new_index = np.full(probes, -1, dtype=np.int32)
    new_index[index] = np.arange(len(index), dtype=np.int32)
    probe = new_index[rows["probe"]]
    order = np.argsort(probe, kind="stable")
    order = order[np.count_nonzero(probe < 0) :]  # those that are left out come first
    return _gathered(rows, order, probe)


def _gathered(rows: Array, order: Array, probe: Array | None = None) -> Array:
    """Return ``rows[order]``, of records with another column ``probe``, a block of rows at a time.

    See `mapped`: memory does not follow the number of probes.
    """

    def fill(values: Array) -> None:
        for start in range(0, len(order), _BLOCK_ROWS):
            block = order[start : start + _BLOCK_ROWS]
            part = values[start : start + len(block)]
            part[...] = rows[block]
            if probe is not None:
                part["probe"] = probe[block]

    return mapped((len(order), *rows.shape[1:]), rows.dtype, fill)


def _taken_control(control: Control, index: Array, probes: int) -> Control:
    return replace(
        control,
        positions=taken_rows(control.positions, index, probes),
        topk=taken_rows(control.topk, index, probes),
        answers=taken_rows(control.answers, index, probes),
        texts=control.texts if _is_whole(index, probes) else taken_texts(control.texts, index),
    )
