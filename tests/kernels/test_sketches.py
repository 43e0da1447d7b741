"""Sketches keep what they are said to keep: expected values from closed forms."""

import math

import numpy as np
import pytest
import torch

from auditor.kernels.sketches import (
    DistributionSketcher,
    frequencies,
    gaussian,
    hellinger2,
    jensen_shannon,
    tensor_sketch,
)


def distributions(rows: int, vocabulary: int, scale: float):
    random = np.random.RandomState(5)
    logits = random.standard_normal((rows, vocabulary)) * 3
    other = logits + scale * random.standard_normal((rows, vocabulary))
    return [torch.log_softmax(torch.from_numpy(one), dim=1) for one in (logits, other)]


def exact(a, b):
    p, q = a.exp().numpy(), b.exp().numpy()
    m = (p + q) / 2
    js = (p * np.log(p / m) + q * np.log(q / m)).sum(axis=1) / 2
    return js, np.square(np.sqrt(p) - np.sqrt(q)).sum(axis=1) / 2


@pytest.mark.parametrize("scale", [0.05, 0.5, 3.0])
def test_estimates_scatter_about_the_divergences_by_the_stated_error(scale):
    a, b = distributions(7, 301, scale)
    js, hellinger = exact(a, b)
    k, found = 256, []
    for seed in range(24):
        sketcher = DistributionSketcher(301, k, seed)
        found.append(
            [
                jensen_shannon(sketcher.js(a).numpy(), sketcher.js(b).numpy()) / js,
                hellinger2(sketcher.hellinger(a).numpy(), sketcher.hellinger(b).numpy())
                / hellinger,
            ]
        )
    ratios = np.array(found)  # (seeds, 2, T)
    assert ratios.mean(axis=(0, 2)) == pytest.approx([1.0, 1.0], abs=0.02)
    # A sum of k squares of normal numbers: sqrt(2 / k); two of them in the phased one: not more.
    spread = ratios.std(axis=0).mean(axis=1)
    assert spread[1] == pytest.approx(math.sqrt(2 / k), rel=0.25)
    assert 0.5 * math.sqrt(2 / k) < spread[0] < 1.25 * math.sqrt(2 / k)


def test_distributions_without_a_token_in_common_have_ln_2_and_1():
    logp = torch.full((2, 300), -math.inf, dtype=torch.float64)
    logp[0, :150] = logp[1, 150:] = -math.log(150)
    sketcher = DistributionSketcher(300, 8192, 3)
    js, roots = sketcher.js(logp).numpy(), sketcher.hellinger(logp).numpy()
    assert jensen_shannon(js[:1], js[1:])[0] == pytest.approx(math.log(2), rel=0.06)
    assert hellinger2(roots[:1], roots[1:])[0] == pytest.approx(1.0, rel=0.06)


def test_equal_distributions_have_exactly_0():
    a, _ = distributions(3, 301, 1.0)
    sketcher = DistributionSketcher(301, 256, 1)
    assert (jensen_shannon(sketcher.js(a).numpy(), sketcher.js(a.clone()).numpy()) == 0).all()


def test_frequencies_integrate_the_density():
    # The mean of w^2 under 2 / ln 4 sech(pi w) / (1 + 4 w^2) is that of the divergence of like
    # distributions: JS = (1/8) sum (dp)^2 / p there, H^2 = the same, and the roots give 1/4 of it.
    # So (ln 2 / 2) (1/4 + E w^2) (dp)^2 / p = (1/8) (dp)^2 / p: E w^2 = 1 / (4 ln 2) - 1/4.
    expected = 1 / (4 * math.log(2)) - 1 / 4
    assert np.mean(frequencies() ** 2) == pytest.approx(expected, rel=1e-3)


def test_a_row_of_the_projection_does_not_depend_on_how_many_there_are():
    short, long = gaussian(10, 32, 7, "x"), gaussian(5000, 32, 7, "x")
    assert torch.equal(short, long[:10])
    assert not torch.equal(short, gaussian(10, 32, 8, "x"))


def test_sketches_of_tensors_keep_inner_products():
    random = np.random.RandomState(2)
    x, y = random.standard_normal((2, 4000))
    y += 0.5 * x
    found = [
        tensor_sketch(x, 64, ["t", seed]) @ tensor_sketch(y, 64, ["t", seed]) for seed in range(200)
    ]
    stated = math.sqrt((x @ x * (y @ y) + (x @ y) ** 2) / 64)
    assert np.mean(found) == pytest.approx(x @ y, abs=4 * stated / math.sqrt(200))
    assert np.std(found) == pytest.approx(stated, rel=0.2)
