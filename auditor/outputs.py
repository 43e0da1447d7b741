"""Stored outputs of subjects: a statistic is defined on these, never on a model.

`POSITION` is the row of ``arrays/agreement/<suspect>.npy``: the full-vocabulary agreement of two
models at one position, both fed the same token ids (the reference's rendering and its first reply).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from auditor.errors import UndefinedError
from auditor.types import Array, ModelRef, Probe, frozen_array

TOPK = (1, 5, 10, 50)

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
    texts: tuple[tuple[str, ...], ...] | None = None
    """(P)(N) replies."""
    embeddings: Array | None = None
    """(P, N, E) float32, unit length, of the replies."""
    hidden: Array | None = None
    """(P, D) float32: final hidden state, averaged over the positions of the reference's text."""

    def __post_init__(self) -> None:
        for name in ("embeddings", "hidden"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, frozen_array(values))

    def take(self, rows: Sequence[int]) -> "OutputSet":
        """Return the outputs on a selection of probes."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            probes=tuple(self.probes[i] for i in index),
            texts=None if self.texts is None else tuple(self.texts[i] for i in index),
            embeddings=None if self.embeddings is None else self.embeddings[index],
            hidden=None if self.hidden is None else self.hidden[index],
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

    def __post_init__(self) -> None:
        if self.positions is not None:
            object.__setattr__(self, "positions", frozen_array(self.positions))

    @property
    def probes(self) -> tuple[Probe, ...]:
        """The P probes, in order."""
        return self.reference.probes

    def require(self, field: str) -> None:
        """Raise UndefinedError, with the recorded reason, where `field` is missing on a side."""
        if field == "positions":
            missing = self.positions is None
        else:
            missing = any(getattr(s, field) is None for s in (self.reference, self.suspect))
        if missing:
            reasons = self.why or {}
            raise UndefinedError(reasons.get(field, f"no {field} were collected for both subjects"))
        if not self.probes:
            raise UndefinedError("no probe was answered by both models")

    def take(self, rows: Sequence[int]) -> "Pair":
        """Return the pair on a selection of distinct probes, positions re-indexed."""
        index = np.asarray(rows, dtype=np.int64)
        positions = self.positions
        if positions is not None:
            new_index = np.full(len(self.probes), -1, dtype=np.int32)
            new_index[index] = np.arange(len(index), dtype=np.int32)
            moved = positions[new_index[positions["probe"]] >= 0].copy()
            moved["probe"] = new_index[moved["probe"]]
            positions = moved[np.argsort(moved["probe"], kind="stable")]
        return replace(
            self,
            reference=self.reference.take(rows),
            suspect=self.suspect.take(rows),
            positions=positions,
        )
