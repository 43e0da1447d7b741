"""Green lists of a keyed hash: which tokens a context favours, and the exact test for them.

A token is green after a context of w tokens where a hash of both lies below the fraction g. The
context is hashed with HMAC-SHA256 to a 64-bit seed; each token is then mixed with the seed by the
finaliser of SplitMix64 (Steele, Lea & Flood 2014), in wrapping 64-bit arithmetic, for all tokens of
a vocabulary at once. With a random key every (w+1)-gram is green with probability g, independently
of the others: the number of green ones among n different ones is Binomial(n, g) for any text that
was written without the key.

Watermark: Kirchenbauer et al. 2023 (arXiv 2301.10226). Test on a student's outputs ("open model"
radioactivity, de-duplicated): Sander et al. 2024 (arXiv 2402.14904).
"""

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.errors import InputError, UndefinedError

_BITS = 53
_SMALLEST_P = 1e-300
_CHUNK = 1 << 20


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True, kw_only=True)
class GreenTest:
    """How many (w+1)-grams were green, and how likely so many are without the key."""

    scored: int
    """n: different (w+1)-grams."""
    green: int
    """S, of those."""
    p_value: float
    """P(Binomial(n, g) >= S); 1e-300 stands for anything smaller."""


class GreenHash:
    """Green lists of one key."""

    def __init__(self, key: bytes, *, window: int, fraction: float) -> None:
        """Take the key and the shape of the lists.

        Args:
            key: of the hash of contexts; any length but 0.
            window: w, tokens of a context.
            fraction: g, share of the vocabulary that is green, to 53 bits.

        Raises:
            InputError: an empty key, a window below 1 or a fraction outside (0, 1).
        """
        if not key:
            raise InputError("green lists need a key", hint="give the key of the run's marks")
        if window < 1:
            raise InputError(f"a green list follows 1 token or more, not {window}")
        if not 0.0 < fraction < 1.0:
            raise InputError(
                f"the green fraction lies between 0 and 1, both excluded; found {fraction:g}",
                hint="0.25 or 0.5 are usual",
            )
        self._key = key
        self.window = window
        self.fraction = fraction
        self._limit = round(fraction * (1 << _BITS))

    def mask(self, contexts: Tensor, vocabulary: int) -> Tensor:
        """Return (B, V) bool: which of the first V token ids are green after each context.

        Args:
            contexts: (B, w) token ids, on any device; the mask is on the same one.
            vocabulary: V.
        """
        seeds = self.seeds(contexts.tolist()).to(contexts.device)
        tokens = torch.arange(vocabulary, dtype=torch.int64, device=contexts.device)
        return self._green(seeds[:, None], tokens[None, :])

    def green(self, grams: Sequence[Sequence[int]]) -> Tensor:
        """Return (n,) bool on the CPU: whether the last token of each (w+1)-gram is green."""
        parts = [
            self._green(
                self.seeds([gram[:-1] for gram in grams[start : start + _CHUNK]]),
                torch.tensor([gram[-1] for gram in grams[start : start + _CHUNK]]),
            )
            for start in range(0, len(grams), _CHUNK)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.bool)

    def seeds(self, contexts: Sequence[Sequence[int]]) -> Tensor:
        """Return (B,) int64 on the CPU: the seed of each context, w token ids.

        Raises:
            InputError: a context has not w tokens.
        """
        if any(len(context) != self.window for context in contexts):
            raise InputError(f"a context has {self.window} tokens")
        # Ids of a fixed width: no two contexts give the same bytes.
        messages = (np.asarray(context, dtype=">i8").tobytes() for context in contexts)
        words = b"".join(hmac.digest(self._key, message, "sha256")[:8] for message in messages)
        return torch.from_numpy(np.frombuffer(words, dtype=">i8").astype(np.int64))

    def _green(self, seeds: Tensor, tokens: Tensor) -> Tensor:
        # In place: a batch of large vocabularies is bound by memory.
        word = seeds + (tokens + 1) * _GOLDEN
        word.bitwise_xor_(_shifted(word, 30)).mul_(_FIRST)
        word.bitwise_xor_(_shifted(word, 27)).mul_(_SECOND)
        word.bitwise_xor_(_shifted(word, 31))
        return _shifted(word, 64 - _BITS) < self._limit


def green_test(
    lists: GreenHash, answers: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> GreenTest:
    """Return the test on answers of a model, as token ids of the tokenizer that was marked.

    Each different (w+1)-gram that ends in an answer counts once; one that stands in any prompt does
    not count, since a model that repeats its prompt shows nothing of what it was trained on.
    p = I_g(S, n - S + 1), the regularised incomplete beta function.

    Args:
        lists: of the key revealed.
        answers: (prompt ids, answer ids) of each answer; a context may reach into the prompt.

    Raises:
        UndefinedError: no (w+1)-gram is left to score.
    """
    from scipy.special import betainc

    size = lists.window + 1
    given = {gram for prompt, _ in answers for gram in _grams(prompt, size)}
    # Those that end in a prompt are among the given ones.
    written = {gram for prompt, answer in answers for gram in _grams([*prompt, *answer], size)}
    grams = sorted(written - given)
    if not grams:
        raise UndefinedError(f"no run of {size} tokens is left that is not in a prompt")
    green = int(lists.green(grams).sum())
    p = float(betainc(green, len(grams) - green + 1, lists.fraction)) if green else 1.0
    return GreenTest(scored=len(grams), green=green, p_value=max(p, _SMALLEST_P))


def _grams(ids: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    """Yield the runs of `size` ids."""
    for end in range(size, len(ids) + 1):
        yield tuple(ids[end - size : end])


def _shifted(word: Tensor, bits: int) -> Tensor:
    """Return a logical shift to the right: that of int64 would repeat the sign."""
    return (word >> bits).bitwise_and_((1 << (64 - bits)) - 1)
