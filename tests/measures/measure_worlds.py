"""Synthetic subjects for the contract: each has its own token preferences, words and geometry.

With uniform random outputs "closer scores closer" would fail by noise: independent subjects must
really differ. All axes have different sizes.
"""

import functools
from dataclasses import dataclass, replace

import numpy as np

from auditor.outputs import POSITION, TOPK, OutputSet, Pair
from auditor.types import Access, Answer, Array, Message, ModelRef, Probe

P, N, T, V, E, D = 48, 3, 5, 60, 8, 11


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What a model produced: logits (P, T, V), replies (P)(N), vectors (P, N, E) and (P, D)."""

    name: str
    logits: Array
    texts: tuple[tuple[str, ...], ...]
    embeddings: Array
    hidden: Array


def probes(count: int = P) -> tuple[Probe, ...]:
    """Every second probe is checkable; the right answer is always 7."""
    return tuple(
        Probe(
            id=f"probe-{i:04d}",
            category="arithmetic" if i % 2 else "open",
            messages=(Message(role="user", content=f"question {i}"),),
            answer=Answer(kind="number", value="7") if i % 2 else None,
        )
        for i in range(count)
    )


@functools.cache
def subject(name: str, seed: int) -> Subject:
    """Return an independent model: it shares the probes' themes with others, nothing else."""
    themes = np.random.RandomState(0).normal(size=(P, E))
    random = np.random.RandomState(seed)
    # (P, T, V): what this model likes in general, and what each position adds
    logits = 2.0 * random.normal(size=V) + random.normal(size=(P, T, V))
    words = np.array([f"w{i}" for i in range(30)])
    taste = random.dirichlet(np.full(30, 0.3))
    answers = random.choice([7, 7, 1, 2, 3, 4, 5], size=(P, N))
    texts = tuple(
        tuple(
            " ".join(random.choice(words, size=6, p=taste)) + f" end. The answer is {answer}."
            if i % 2
            else " ".join(random.choice(words, size=9, p=taste))
            for answer in answers[i]
        )
        for i in range(P)
    )
    # A large offset would make a half-copied suspect two clusters, which geometry sees first.
    own = 0.6 * random.normal(size=E)
    vectors = themes[:, None] + own + random.normal(size=(P, N, E))
    return Subject(
        name=name,
        logits=logits,
        texts=texts,
        embeddings=vectors / np.linalg.norm(vectors, axis=2, keepdims=True),
        hidden=random.normal(size=(P, D)) + random.normal(size=D),
    )


@functools.cache
def blend(reference: Subject, other: Subject, share: float) -> Subject:
    """Return `other` with a random share of the probes copied from the reference."""
    copied = np.zeros(P, dtype=bool)
    copied[np.random.RandomState(9).permutation(P)[: round(share * P)]] = True
    return Subject(
        name=f"{other.name}-{share:.0%}",
        logits=np.where(copied[:, None, None], reference.logits, other.logits),
        texts=tuple(
            reference.texts[i] if copied[i] else other.texts[i] for i in range(len(copied))
        ),
        embeddings=np.where(copied[:, None, None], reference.embeddings, other.embeddings),
        hidden=np.where(copied[:, None], reference.hidden, other.hidden),
    )


def outputs(one: Subject, repeats: int = N) -> OutputSet:
    """Return the stored outputs of a subject, with its first repeats."""
    return OutputSet(
        subject=one.name,
        model=ModelRef(spec=f"tiny:{one.name}", access=Access.WEIGHTS),
        probes=probes(),
        texts=tuple(replies[:repeats] for replies in one.texts),
        embeddings=one.embeddings[:, :repeats].astype(np.float32),
        hidden=one.hidden.astype(np.float32),
    )


@functools.cache
def pair_of(a: Subject, b: Subject, repeats: int = N) -> Pair:
    """Return the pair of reference `a` and suspect `b`; `repeats` are the suspect's."""
    return Pair(
        reference=outputs(a),
        suspect=outputs(b, repeats),
        positions=positions_of(a.logits, b.logits),
    )


def reordered(pair: Pair, order: Array) -> Pair:
    """Return the pair with its probes in another order."""
    return pair.take(order.tolist())


def with_weights(pair: Pair, weights: Array) -> Pair:
    """Return the pair with other probe weights."""
    changed = tuple(
        replace(probe, weight=float(weight))
        for probe, weight in zip(pair.probes, weights, strict=True)
    )
    return replace(
        pair,
        reference=replace(pair.reference, probes=changed),
        suspect=replace(pair.suspect, probes=changed),
    )


def positions_of(a: Array, b: Array) -> Array:
    """Return the position rows of two (P, T, V) logit tables: a float64 oracle, formula by formula.

    Probabilities of 0 are given as -inf; an infinite divergence is stored as NaN.
    """
    count, length, _ = a.shape
    rows = np.zeros(count * length, dtype=POSITION)
    rows["probe"] = np.repeat(np.arange(count), length)
    for row, x, y in zip(rows, a.reshape(len(rows), -1), b.reshape(len(rows), -1), strict=True):
        _fill(row, x, y)
    return rows


def _fill(row: np.void, x: Array, y: Array) -> None:
    p, q = (np.exp(z - z.max()) / np.exp(z - z.max()).sum() for z in (x, y))
    m = (p + q) / 2
    row["kl_ab"], row["kl_ba"] = _kl(p, q), _kl(q, p)
    row["js"] = (_kl(p, m) + _kl(q, m)) / 2
    row["tv"] = np.abs(p - q).sum() / 2
    row["hellinger2"] = np.square(np.sqrt(p) - np.sqrt(q)).sum() / 2
    row["argmax_a"], row["argmax_b"] = np.argmax(x), np.argmax(y)
    row["rank_argmax_a_in_b"] = 1 + (y > y[np.argmax(x)]).sum()
    first_x, first_y = (np.argsort(-z, kind="stable") for z in (x, y))
    for column, k in enumerate(min(k, len(x)) for k in TOPK):
        row["topk_overlap"][column] = len({*first_x[:k]} & {*first_y[:k]}) / k


def _kl(p: Array, q: Array) -> float:
    if (q[p > 0] == 0).any():
        return float("nan")
    return float(max(0.0, (p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum()))


def logits(*rows: list[float]) -> Array:
    """Return (P, 1, V) logits of probabilities, one row a probe."""
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float64))[:, None, :]


def small_pair(
    *,
    positions: Array | None = None,
    texts: tuple[list[list[str]], list[list[str]]] | None = None,
    embeddings: tuple[Array, Array] | None = None,
    hidden: tuple[Array, Array] | None = None,
    asked: tuple[Probe, ...] | None = None,
) -> Pair:
    """Return a pair that holds what a hand-worked example needs."""
    given = [x[0] for x in (texts, embeddings, hidden) if x is not None]
    count = len(given[0]) if given else int(positions["probe"].max()) + 1
    asked = asked or probes(count)
    sides = [
        OutputSet(
            subject=name,
            model=ModelRef(spec=f"tiny:{name}", access=Access.WEIGHTS),
            probes=asked,
            texts=None if texts is None else tuple(tuple(replies) for replies in texts[side]),
            embeddings=None if embeddings is None else embeddings[side],
            hidden=None if hidden is None else hidden[side],
        )
        for side, name in enumerate(("reference", "suspect"))
    ]
    return Pair(reference=sides[0], suspect=sides[1], positions=positions)
