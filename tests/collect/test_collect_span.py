"""Spaces of logits: from weights against QR, from logits against weights, by hand where small."""

import numpy as np
import pytest
import torch
from weights_world import LENGTH, VOCABULARY, WIDTH, gained, llama, logits

from auditor.collect.span import LogitSource, WeightSource, factor_of, span_cosines, uncapped
from auditor.errors import UndefinedError
from auditor.models.base import Head


def by_weights(weight):
    source = WeightSource(Head(weight=torch.as_tensor(weight)))
    return source, factor_of(source)


def by_logits(rows, softcap=None):
    source = LogitSource(lambda first, last: rows[:, first:last], rows.shape, softcap=softcap)
    return source, factor_of(source)


def by_qr(a, b):
    """Return the cosines by the definition, in float64."""
    bases = [np.linalg.qr(np.float64(w) - np.float64(w).mean(axis=0))[0] for w in (a, b)]
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)


def random(seed, *shape):
    return np.random.RandomState(seed).normal(size=shape)


def test_planes_that_share_one_direction():
    # Three contrasts of 4 tokens, orthogonal to each other and to the constant.
    c1, c2, c3 = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]], dtype=np.float64)
    a = np.stack([c1, c1 + 3 * c2 + 7], axis=1)
    b = np.stack([2 * c3, c1 - c3], axis=1)
    np.testing.assert_allclose(span_cosines(by_weights(a), by_weights(b)), [1, 0], atol=1e-12)


def test_cosines_are_those_of_the_definition(monkeypatch):
    monkeypatch.setattr("auditor.collect.span._TOKENS", 32)  # several blocks, the last one short
    a, b = random(0, 90, 12) + 2.0, random(1, 90, 7)
    found = span_cosines(by_weights(a), by_weights(b))
    np.testing.assert_allclose(found, by_qr(a, b), atol=1e-12)
    # A few columns 10^8 times as long change nothing but the rounding.
    scaled = a * np.where(np.arange(12) < 3, 1e8, 1.0)
    np.testing.assert_allclose(span_cosines(by_weights(scaled), by_weights(b)), found, atol=1e-9)


def test_space_does_not_change_with_the_basis_of_the_residual_stream():
    a = random(2, 60, 8)
    mixed = a @ random(3, 8, 8) + 5.0
    np.testing.assert_allclose(span_cosines(by_weights(a), by_weights(mixed)), 1.0, atol=1e-9)


def test_basis_of_nearly_parallel_columns_is_orthonormal():
    a = random(8, 60, 8)
    a[:, 7] = a[:, 0] + 1e-5 * a[:, 7]
    source, factor = by_weights(a)
    basis = np.concatenate([block @ factor for block in source.blocks()])
    np.testing.assert_allclose(basis.T @ basis, np.eye(8), atol=1e-9)


def test_dead_and_repeated_columns_are_no_directions():
    a = random(4, 60, 8)
    fewer = np.concatenate([a[:, :5], np.zeros((60, 2)), a[:, :1] - a[:, 1:2]], axis=1)
    assert by_weights(fewer)[1].shape == (8, 5)
    assert len(span_cosines(by_weights(fewer), by_weights(a))) == 5


@pytest.fixture(scope="module")
def models():
    return gained(llama(0)), llama(1)


@pytest.mark.parametrize("form", ["logits", "log-probabilities", "biased", "capped"])
def test_logits_of_a_real_model_give_the_space_of_its_weights(models, form):
    rows = []
    for number, module in enumerate(models):
        found = logits(module).flatten(0, 1)  # (N, V) float32, as the model computed them
        if form == "log-probabilities":
            found = found.log_softmax(dim=1)
        elif form == "biased":
            found = found + torch.from_numpy(random(5 + number, VOCABULARY)).float()
        elif form == "capped":
            found = 30.0 * torch.tanh(found.double() / 30.0)
        rows.append(found.double().numpy())
    weights = [module.lm_head.weight.detach() for module in models]
    expected = span_cosines(*(by_weights(weight) for weight in weights))
    cap = 30.0 if form == "capped" else None
    sides = [by_logits(one, cap) for one in rows]
    assert [factor.shape[1] for _, factor in sides] == [WIDTH, WIDTH]
    np.testing.assert_allclose(span_cosines(*sides), expected, atol=1e-4)
    np.testing.assert_allclose(span_cosines(sides[0], by_weights(weights[0])), 1.0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 20, WIDTH])
def test_too_few_rows_of_logits_are_undefined(models, count):
    # Some of these rows are equal: sequences that start with the same token.
    rows = logits(models[0]).flatten(0, 1).double().numpy()
    with pytest.raises(UndefinedError, match=f"{count} rows of logits do not show"):
        by_logits(rows[:: len(rows) // count][:count])


def test_coarse_logits_are_undefined(models):
    rows = logits(models[0]).flatten(0, 1)
    assert len(rows) == 16 * LENGTH
    with pytest.raises(UndefinedError, match="too few, or too coarse"):
        by_logits(rows.bfloat16().double().numpy())


def test_cap_is_inverted_and_a_capped_logit_refused():
    x = np.linspace(-40, 40, 9)
    np.testing.assert_allclose(uncapped(30 * np.tanh(x / 30), 30.0), x, rtol=1e-10)
    with pytest.raises(UndefinedError, match=r"reached the cap of 30\.0"):
        uncapped(np.array([0.0, 30.0]), 30.0)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (np.where(np.arange(120).reshape(40, 3) == 7, np.nan, 1.0), "NaN"),
        (np.ones((40, 3)), "no directions"),
        (random(6, 10, 12), "all 9 dimensions"),
        (random(6, 10, 9), "all 9 dimensions"),
    ],
    ids=["nan", "constant", "more dimensions than tokens", "as many"],
)
def test_weights_without_a_space_are_undefined(weight, reason):
    with pytest.raises(UndefinedError, match=reason):
        by_weights(weight)
