"""What a model is to the rest of the code: a protocol, four access levels, and the unembedding.

A `Model` hides where weights or outputs come from. What it does not offer raises `AccessError`;
`ref.access` says beforehand. Nothing here imports torch at run time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from auditor.types import Array, Decoding, ModelRef, Probe, Sample, Score

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """The unembedding: ``logits = softcap * tanh(scale * (h W^T + b) / softcap)``.

    `weight` is already cut to the `vocabulary` real token ids: padded rows carry no probability.
    """

    weight: "torch.Tensor"
    """(V, D), dtype of the model."""
    bias: "torch.Tensor | None" = None
    """(V,)."""
    softcap: float | None = None
    scale: float = 1.0

    @property
    def vocabulary(self) -> int:
        """Number of real token ids, V."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A text as token ids with the UTF-8 byte span of each. T counts all tokens, specials too."""

    token_ids: tuple[int, ...]
    byte_ends: tuple[int, ...]
    """(T,): byte offset in the text where the token ends; a special token repeats the last."""


class Model(Protocol):
    """One subject. Deterministic on CPU: same arguments, same bytes."""

    @property
    def ref(self) -> ModelRef:
        """Identity and access level."""
        ...

    @property
    def longest(self) -> int | None:
        """Most tokens that it can read at once; None where nothing but memory limits them."""
        ...

    @property
    def shares_prefixes(self) -> bool:
        """Whether `hidden_after` reads a prefix once, and not with every ending."""
        ...

    def render(self, probe: Probe) -> str:
        """Return the text the model is given for `probe`, after its own chat template."""
        ...

    def encode(self, text: str) -> Encoded:
        """Return the token ids of `text`, with the start token where the model uses one."""
        ...

    def sample(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[Sample]:
        """Yield n samples for each probe, in order of (probe, repeat).

        The draw of a sample depends on (seed, probe id, repeat) alone, not on its batch.
        """
        ...

    def score(self, texts: Sequence[str]) -> Iterator[Score]:
        """Yield the teacher-forced log-probabilities of each text, in order."""
        ...

    def hidden(self, sequences: Sequence[Sequence[int]]) -> Iterator["torch.Tensor"]:
        """Yield the final hidden states (T, D) that the head reads, one per sequence, in order.

        On the model's device, in its dtype. Batches by token budget; padding changes no result
        beyond rounding.
        """
        ...

    def hidden_after(
        self, prefix: Sequence[int], endings: Sequence[Sequence[int]]
    ) -> "list[torch.Tensor]":
        """Return the (T, D) final hidden states of each ending, read after `prefix`.

        As `hidden` of the whole texts, rounding aside. An ending holds at least one token.
        """
        ...

    def head(self) -> Head:
        """Return the unembedding."""
        ...

    def tensors(self) -> Iterable[tuple[str, Array]]:
        """Yield (canonical name, array) of every weight, one at a time, sorted by name."""
        ...

    def close(self) -> None:
        """Free the memory; the model cannot be used afterwards."""
        ...
