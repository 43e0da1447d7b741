"""Synthetic subjects for the contract: each has its own token preferences, words and geometry.

A pair has all that can be collected, and a pool of controls beside it. With uniform random outputs
"closer scores closer" would fail by noise: independent subjects must really differ. All axes have
different sizes.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from measure_positions import positions_of, topk_of
from measure_weights import (
    Weights,
    blended_weights,
    mixture_of,
    neurons_of,
    rederivation_of,
    span_of,
    transcripts_of,
    weight_cka_of,
    weights,
)

from auditor.outputs import OutputSet, Pair
from auditor.panel import TEMPERATURES, Control, Crossing
from auditor.types import Access, Answer, Array, Message, ModelRef, Probe

P, N, T, V, E, D = 48, 3, 5, 60, 8, 11
WORDS = tuple(f"w{i}" for i in range(30))
POOL = 6
CATEGORIES = ("open", "arithmetic", "ood", "reasoning")


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What a model produced: logits (P, T, V), replies (P)(N), vectors (P, N, E) and (P, D)."""

    name: str
    logits: Array
    texts: tuple[tuple[str, ...], ...]
    embeddings: Array
    hidden: Array
    taste: Array
    """(P, W) probability of each word in its replies to a probe."""
    weights: Weights


def probes(count: int = P) -> tuple[Probe, ...]:
    """Every second probe is checkable; the right answer is always 7."""
    return tuple(
        Probe(
            id=f"probe-{i:04d}",
            category=CATEGORIES[i % len(CATEGORIES)],
            # of no language: the tag of out-of-distribution probes
            language="zxx" if CATEGORIES[i % len(CATEGORIES)] == "ood" else "en",
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
    words = np.array(WORDS)
    taste = random.dirichlet(np.full(len(WORDS), 0.3))
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
        taste=np.tile(taste, (P, 1)),
        weights=weights(seed, trained_on_the_texts=name == "alpha"),
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
        taste=np.where(copied[:, None], reference.taste, other.taste),
        weights=blended_weights(reference.weights, other.weights, share),
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
        topk=topk_of(one.logits),
        answers=topk_of(one.logits[:, :1]),
    )


@functools.cache
def pool_subjects() -> tuple[Subject, ...]:
    """Return the controls: models that have no link to any other subject."""
    return tuple(subject(f"control-{i}", 100 + i) for i in range(POOL))


@functools.cache
def pool(reference: Subject) -> tuple[Control, ...]:
    """Return the controls as a pair with that reference holds them."""
    return tuple(
        Control(
            name=one.name,
            role="sibling" if i == 0 else "independent",
            family=one.name,
            architecture="gpt2" if i % 3 == 2 else "llama",
            positions=positions_of(reference.logits, one.logits),
            topk=topk_of(one.logits),
            answers=topk_of(one.logits[:, :1]),
            texts=one.texts,
        )
        for i, one in enumerate(pool_subjects())
    )


def crossing_of(a: Subject, b: Subject, repeats: int = N) -> Crossing:
    """Return who finds whose replies likely, each scorer being a unigram model of its own taste.

    No control scores what it wrote itself; the suspect has its first `repeats` replies only.
    """
    scorers, authors = (a, *pool_subjects()), (b, a, *pool_subjects())
    taste = _smoothed(np.stack([one.taste[0] for one in scorers]))  # (S, W)
    scaled = taste[:, :, None] / np.array(TEMPERATURES)
    scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    counts = np.stack([_word_counts(one.texts) for one in authors])  # (A, P, N, W)
    logprob = np.einsum("apnw,swg->sapng", counts, scaled)
    length = np.array(
        [[[len(text.encode()) for text in row] for row in one.texts] for one in authors],
        dtype=np.float64,
    )
    logprob[:, 0, :, repeats:], length[0, :, repeats:] = np.nan, 0.0
    for scorer in range(1, len(scorers)):
        logprob[scorer, scorer + 1] = np.nan
    return Crossing(
        scorers=tuple(one.name for one in scorers),
        authors=tuple(one.name for one in authors),
        logprob=logprob,
        bytes=length,
    )


def own_of(one: Subject, repeats: int = N) -> Array:
    """Return (P, N) nats of the replies of a model under its own taste; NaN beyond `repeats`."""
    own = np.einsum("pnw,pw->pn", _word_counts(one.texts), _smoothed(one.taste))
    own[:, repeats:] = np.nan
    return own


def _smoothed(taste: Array) -> Array:
    """Return log-probabilities: a word that a model never uses is unlikely, not impossible."""
    return np.log(0.9 * taste + 0.1 / len(WORDS))


def _word_counts(texts: tuple[tuple[str, ...], ...]) -> Array:
    return np.array(
        [[[text.split().count(word) for word in WORDS] for text in row] for row in texts],
        dtype=np.float64,
    )


@functools.cache
def pair_of(a: Subject, b: Subject, repeats: int = N) -> Pair:
    """Return the pair of reference `a` and suspect `b`; `repeats` are the suspect's."""
    return Pair(
        reference=outputs(a),
        suspect=outputs(b, repeats),
        positions=positions_of(a.logits, b.logits),
        pool=pool(a),
        crossing=crossing_of(a, b, repeats),
        own=own_of(b, repeats),
        neurons=neurons_of(a.weights, b.weights),
        span=span_of(a.weights, b.weights),
        weight_cka=weight_cka_of(a.weights, b.weights),
        transcripts=transcripts_of(a.weights, b.weights),
        rederivation=rederivation_of(a.weights, b.weights),
        merge=mixture_of(a.weights, b.weights),
        parents=(a.name, "another"),
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
    **fields: Any,
) -> Pair:
    """Return a pair that holds what a hand-worked example needs; `fields` are of the pair."""
    given = [x[0] for x in (texts, embeddings, hidden) if x is not None]
    count = len(asked) if asked else len(given[0]) if given else int(positions["probe"].max()) + 1
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
    return Pair(reference=sides[0], suspect=sides[1], positions=positions, **fields)
