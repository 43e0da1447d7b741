"""Draws that depend on (seed, probe id, repeat) alone, whatever shares the batch.

Gumbel-max: the largest of ``log p_v + g_v``, with independent Gumbel g, is a draw from p. Each
row has its own stream of noise, so a sample is the same alone, in any batch and after a restart
(rounding of the logits aside). The stream is `numpy.random.RandomState`, frozen across versions.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import canonical_json, digest
from auditor.models.forward import refuse_overflow
from auditor.types import Decoding

if TYPE_CHECKING:
    import torch


def sample_stream(seed: int, probe_id: str, repeat: int) -> np.random.RandomState:
    """Return the noise stream of one sample; its state is the SHA-256 of the three arguments."""
    hexadecimal = digest(canonical_json([str(seed), probe_id, repeat])).partition(":")[2]
    return np.random.RandomState(np.frombuffer(bytes.fromhex(hexadecimal), dtype="<u4"))


class RealVocabulary:
    """Logits processor: padded rows of the head are never chosen."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return (B, rows) scores with -inf from the real vocabulary on.

        Raises:
            SubjectError: a score is NaN.
        """
        del input_ids
        refuse_overflow(scores)
        scores[:, self._size :] = -float("inf")
        return scores


class GumbelNoise:
    """Logits processor: adds each row's own Gumbel noise, which makes the argmax a draw."""

    def __init__(
        self, streams: Sequence[np.random.RandomState], vocabulary: int, ends: frozenset[int]
    ) -> None:
        self._streams = streams
        self._vocabulary = vocabulary
        self._ends = ends
        self._finished = [False] * len(streams)
        self._begun = False

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """Return (B, rows) scores plus noise; finished rows draw nothing more."""
        import torch

        if self._begun:
            for row, token in enumerate(input_ids[:, -1].tolist()):
                self._finished[row] |= token in self._ends
        self._begun = True
        noise = np.zeros((len(self._streams), self._vocabulary))  # (B, V)
        for row, stream in enumerate(self._streams):
            if not self._finished[row]:
                noise[row] = stream.gumbel(size=self._vocabulary)
        noisy = scores[:, : self._vocabulary].double() + torch.from_numpy(noise).to(scores.device)
        # generate() takes the argmax: give it the float64 winner, which rounding could tie away.
        chosen = torch.full_like(scores, -float("inf"))
        return chosen.scatter_(1, noisy.argmax(dim=1, keepdim=True), 0.0)


def processors(
    decoding: Decoding,
    *,
    vocabulary: int,
    streams: Sequence[np.random.RandomState],
    ends: frozenset[int],
    extra: Sequence[Any] = (),
) -> list[Any]:
    """Return the logits processors for `decoding`, whose argmax is the next token.

    `extra` on the real vocabulary, then temperature, top-k and top-p, as transformers orders them;
    the greedy case (temperature 0) has no noise and ignores the other settings.
    """
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    steps: list[Any] = [RealVocabulary(vocabulary), *extra]
    if decoding.temperature == 0:
        return steps
    if decoding.temperature != 1:
        steps.append(TemperatureLogitsWarper(float(decoding.temperature)))
    if decoding.top_k:
        steps.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        steps.append(TopPLogitsWarper(decoding.top_p))
    steps.append(GumbelNoise(streams, vocabulary, ends))
    return steps
