"""Synthetic weights for the contract, and a float64 oracle of what is collected from two of them.

A suspect that copies a share of the reference copies that share of its neurons, unembedding
directions, weight rows and remembered texts. All axes have different sizes.
"""

from dataclasses import dataclass, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from auditor.panel import MIXTURE, NEURON, REDERIVATION, TRANSCRIPT
from auditor.types import Array

LAYERS, NEURONS, TOKENS, WIDTH, ROWS, TEXTS = 2, 36, 60, 10, 40, 150
_AXES = {"unembedding": 1, "remembered": 0}  # where the copied units lie; elsewhere axis 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """What would be read from a model's weights, or from running it on the owner's own texts."""

    gate: Array
    """(L, H, F) activations of the gate of each neuron on F inputs."""
    up: Array
    """(L, H, F)."""
    incoming: Array
    """(L, H, D)."""
    unembedding: Array
    """(V, D)."""
    query: Array
    """(L, R, D)."""
    key: Array
    """(L, R, D)."""
    remembered: Array
    """(n,) log-probability of each text that the reference was trained on, in its order."""


def weights(seed: int, *, trained_on_the_texts: bool = False) -> Weights:
    """Return independent weights; only the owner of the texts remembers the late ones better."""
    random = np.random.RandomState(seed + 7000)
    difficulty = np.random.RandomState(0).normal(-60.0, 5.0, size=TEXTS)
    memory = 12.0 * np.arange(TEXTS) / TEXTS if trained_on_the_texts else 0.0
    return Weights(
        gate=random.normal(size=(LAYERS, NEURONS, 17)),
        up=random.normal(size=(LAYERS, NEURONS, 17)),
        incoming=random.normal(size=(LAYERS, NEURONS, WIDTH)),
        unembedding=random.normal(size=(TOKENS, WIDTH)),
        query=random.normal(size=(LAYERS, ROWS, WIDTH)),
        key=random.normal(size=(LAYERS, ROWS, WIDTH)),
        remembered=difficulty + memory + random.normal(size=TEXTS),
    )


def blended_weights(reference: Weights, other: Weights, share: float) -> Weights:
    """Return `other` with a random share of each kind of unit copied from the reference."""
    mixed = {}
    for field in fields(Weights):
        ours, theirs = getattr(reference, field.name), getattr(other, field.name)
        axis = _AXES.get(field.name, 1)
        count = ours.shape[axis]
        copied = np.zeros(count, dtype=bool)
        copied[np.random.RandomState(9).permutation(count)[: round(share * count)]] = True
        along = copied.reshape([count if i == axis else 1 for i in range(ours.ndim)])
        mixed[field.name] = np.where(along, ours, theirs)
    return Weights(**mixed)


def neurons_of(reference: Weights, suspect: Weights) -> Array:
    """Return (L * H,) NEURON rows: the optimal partners of the suspect's neurons."""
    rows = np.zeros(LAYERS * NEURONS, dtype=NEURON)
    for layer in range(LAYERS):
        part = rows[layer * NEURONS : (layer + 1) * NEURONS]
        part["layer"], part["neuron"] = layer, np.arange(NEURONS)
        for column, source in (("gate", "gate"), ("up", "up"), ("weight", "incoming")):
            ours, theirs = (_unit(getattr(one, source)[layer]) for one in (reference, suspect))
            cosines = theirs @ ours.T
            _, partner = linear_sum_assignment(cosines, maximize=True)
            part[column] = partner
            part[f"{column}_cosine"] = cosines[np.arange(NEURONS), partner]
    return rows


def _unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def span_of(reference: Weights, suspect: Weights) -> Array:
    """Return (D,) cosines of the principal angles of the centred unembeddings, largest first."""
    bases = [
        np.linalg.qr(one.unembedding - one.unembedding.mean(axis=0))[0]
        for one in (reference, suspect)
    ]
    return np.clip(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False), 0.0, 1.0)


def weight_cka_of(reference: Weights, suspect: Weights) -> Array:
    """Return (L, L', 2) debiased CKA of the query and key weights."""
    return np.array(
        [
            [[_cka(getattr(reference, k)[i], getattr(suspect, k)[j]) for k in ("query", "key")]
             for j in range(LAYERS)]
            for i in range(LAYERS)
        ]
    )  # fmt: skip


def _cka(x: Array, y: Array) -> float:
    return _hsic(x, y) / np.sqrt(_hsic(x, x) * _hsic(y, y))


def _hsic(x: Array, y: Array) -> float:
    """Song et al. 2012, equation 5, without the factor that cancels in CKA."""
    n = len(x)
    k, l = (np.where(np.eye(n, dtype=bool), 0.0, rows @ rows.T) for rows in (x, y))  # noqa: E741
    between = k.sum() * l.sum() / ((n - 1) * (n - 2))
    return float((k * l).sum() + between - 2 * (k.sum(axis=0) * l.sum(axis=0)).sum() / (n - 2))


def rederivation_of(reference: Weights, suspect: Weights) -> Array:
    """Return one REDERIVATION row: the elements that are copies."""
    rows = np.zeros(1, dtype=REDERIVATION)
    same = reference.incoming == suspect.incoming
    rows["transform"], rows["partner"] = "copy", -1
    rows["elements_equal"], rows["elements"] = same.sum(), same.size
    return rows


def mixture_of(reference: Weights, suspect: Weights) -> Array:
    """Return MIXTURE rows, one a neuron as a layer of its own: r, or s r + (1 - s) p.

    s is 0.4 |r| / (|r| + |m|) where the neuron m is not a copy; p is the second parent.
    """
    ours, theirs = (one.incoming.reshape(-1, WIDTH) for one in (reference, suspect))
    rows = np.zeros(len(ours), dtype=MIXTURE)
    rows["parents"][:, 2:], rows["elements"], rows["layer"] = -1, WIDTH, np.arange(len(ours))
    for row, r, m in zip(rows, ours, theirs, strict=True):
        share = 0.4 * np.linalg.norm(r) / (np.linalg.norm(r) + np.linalg.norm(m))
        p = np.roll(r, 1) if (r == m).all() else (m - share * r) / (1 - share)
        against = np.stack([m - r, r, p - r])
        row["gram"][:3, :3] = against @ against.T
    return rows


def transcripts_of(reference: Weights, suspect: Weights) -> tuple[Array, Array]:
    """Return the (n,) TRANSCRIPT rows of both: the reference's texts as each finds them."""
    rows = np.zeros((2, TEXTS), dtype=TRANSCRIPT)
    rows["step"] = 10 * np.arange(TEXTS)
    rows["text"] = np.arange(TEXTS)
    rows["bytes"] = 40
    for side, one in zip(rows, (reference, suspect), strict=True):
        side["logprob"] = one.remembered
    return rows[0], rows[1]
