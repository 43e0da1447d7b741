"""Random projections that keep distances of next-token distributions, and sketches of tensors.

Of a distribution p the vector sqrt(p) has squared distance 2 H^2 (H: Hellinger). With a phase it
carries the Jensen-Shannon divergence as well (Vedaldi & Zisserman 2012, "Efficient additive kernels
via explicit feature maps", table 1)::

    JS(p, q) = (ln 2 / 2) E_w sum_t |phi_w(p_t) - phi_w(q_t)|^2,  phi_w(x) = sqrt(x) exp(-i w ln x)

w of density 2 / ln 4 / cosh(pi w) / (1 + 4 w^2). A Gaussian projection keeps squared distances on
average, with a relative standard deviation of sqrt(2 / k) for k numbers (Johnson & Lindenstrauss
1984, in the form of Dasgupta & Gupta 2003). All draws are of `RandomState`, from a text: two
parties who agree on a seed have the same ones.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from auditor.canon import canonical_json
from auditor.types import Array

FREQUENCIES = 16
"""Different w of one sketch; the number of projections is a multiple of it."""
_ROWS = 4096
_LEAST_LOGP = -1e4  # exp of half of it is 0
_WIDEST = 12.0  # the density is below 1e-18 beyond
_STEPS = 1 << 16
_INSIDE = 256


def generator(*label: object) -> np.random.RandomState:
    """Return the random numbers of a label: the same label, the same numbers, on any machine."""
    words = hashlib.sha256(canonical_json(list(label))).digest()
    return np.random.RandomState(np.frombuffer(words, dtype="<u4"))


def gaussian(rows: int, columns: int, *label: object) -> Tensor:
    """Return (rows, columns) float32 standard normal numbers of a label.

    Row r is the same however many rows are asked for: two heads of other heights agree.
    """
    blocks = [
        generator(*label, first).standard_normal((min(_ROWS, rows - first), columns))
        for first in range(0, rows, _ROWS)
    ]
    return torch.from_numpy(np.concatenate(blocks).astype(np.float32))


@cache
def frequencies() -> Array:
    """Return (FREQUENCIES,) w, one for each of as many equally likely parts of their density.

    Each is the root mean square of its part, which is exact for like distributions; others differ
    from the integral by 0.6 % of the divergence at most, of those measured.
    """
    grid, cumulated = _density()
    uniform = (np.arange(FREQUENCIES * _INSIDE) + 0.5) / (FREQUENCIES * _INSIDE)
    inside = np.interp(uniform, cumulated, grid).reshape(FREQUENCIES, _INSIDE)
    return np.asarray(np.sqrt(np.square(inside).mean(axis=1)))


@cache
def _density() -> tuple[Array, Array]:
    """Return w >= 0 and the share of the density below: -w and w give the same distance."""
    grid = np.linspace(0.0, _WIDEST, _STEPS)
    density = 1.0 / np.cosh(math.pi * grid) / (1.0 + 4.0 * grid**2)
    cumulated = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return grid, cumulated / cumulated[-1]


class DistributionSketcher:
    """Projects next-token distributions over one vocabulary."""

    def __init__(self, vocabulary: int, projections: int, seed: int) -> None:
        """Draw the projections: `projections` is a multiple of FREQUENCIES."""
        self._roots = gaussian(vocabulary, projections, seed, "hellinger")
        self._phased = gaussian(vocabulary, projections, seed, "js")
        self._w = frequencies().tolist()

    def hellinger(self, logp: Tensor) -> Tensor:
        """Return (T, k) float32 projections of sqrt(p), from (T, V) log-probabilities."""
        return _root(logp).float() @ self._roots

    def js(self, logp: Tensor) -> Tensor:
        """Return (T, 2, k) float32 projections of the phased roots: real, imaginary part.

        Projection c has the frequency number c modulo FREQUENCIES.
        """
        logp = logp.clamp(min=_LEAST_LOGP)
        root = _root(logp)
        found = torch.empty((len(logp), 2, self._phased.shape[1]), dtype=torch.float32)
        for number, w in enumerate(self._w):
            columns = self._phased[:, number :: len(self._w)]
            phase = w * logp
            found[:, 0, number :: len(self._w)] = (root * torch.cos(phase)).float() @ columns
            found[:, 1, number :: len(self._w)] = (root * torch.sin(phase)).float() @ columns
        return found


def _root(logp: Tensor) -> Tensor:
    return torch.exp(0.5 * logp.clamp(min=_LEAST_LOGP))


def hellinger2(a: Array, b: Array) -> Array:
    """Return (T,) estimates of H^2 from two (T, k) sketches, in [0, inf): unbiased, not cut."""
    return np.asarray(0.5 * np.mean(np.square(a.astype(np.float64) - b), axis=1))


def jensen_shannon(a: Array, b: Array) -> Array:
    """Return (T,) estimates in nats from two (T, 2, k) sketches; unbiased, not cut to ln 2."""
    squares = np.square(a.astype(np.float64) - b).sum(axis=1)
    return np.asarray(0.5 * math.log(2) * squares.mean(axis=1))


def tensor_sketch(values: Array, size: int, label: Sequence[object]) -> Array:
    """Return (size,) float32: a count sketch, which keeps inner products on average.

    Every element goes with a random sign into a random one of `size` sums (Charikar et al. 2002).
    The inner product of two sketches has the variance (|x|^2 |y|^2 + <x, y>^2) / size at most.
    """
    draws = generator(*label).randint(0, 2 * size, size=values.size)
    signed = np.where(draws < size, 1.0, -1.0) * values.ravel()
    return np.bincount(draws % size, weights=signed, minlength=size).astype(np.float32)
