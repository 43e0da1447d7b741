"""The published statistics on values that were worked out by hand."""

import math

import numpy as np
import pytest

from auditor.controls.comparison.published import biased_cka, embedding_gram, std_profile
from auditor.errors import UndefinedError


def test_the_std_profile_is_the_mean_of_four_correlations_moved_to_0_and_1():
    a = np.array([[1.0, 2.0, 3.0]] * 4)
    # r of (1,2,3) with itself 1, with (3,2,1) -1, with (1,2,1) 0, with (2,4,6) 1: (1-1+0+1+4)/8.
    b = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 1.0], [2.0, 4.0, 6.0]])
    assert std_profile(a, b) == pytest.approx(5 / 8, abs=1e-12)


def test_two_layers_give_only_the_ends_of_the_scale():
    # The known fault: a line through two points always fits.
    random = np.random.default_rng(0)
    for _ in range(20):
        found = std_profile(random.random((4, 2)), random.random((4, 2)))
        assert (8 * found) % 2 == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (np.ones((4, 3)), np.ones((4, 2)), "equal depths"),
        (np.ones((4, 1)), np.ones((4, 1)), "at least 2 layers"),
        (np.ones((4, 3)), np.arange(12.0).reshape(4, 3), "does not vary"),
        (np.full((4, 3), np.nan), np.arange(12.0).reshape(4, 3), "NaN"),
    ],
)
def test_a_std_profile_without_a_value_says_why(a, b, why):
    with pytest.raises(UndefinedError, match=why):
        std_profile(a, b)


def test_cka_of_a_line_and_a_bent_line():
    x = np.array([[0.0], [1.0], [2.0]])
    y = np.array([[0.0], [1.0], [0.0]])
    # Centred x = (-1,0,1), y = (-1/3,2/3,-1/3): y'x = 0.
    assert biased_cka(x, y) == pytest.approx(0.0, abs=1e-15)
    z = np.array([[0.0], [0.0], [1.0]])
    # Centred z = (-1,-1,2)/3: (z'x)^2 = 1, |x|^2 = 2, |z|^2 = 6/9: 1 / (2 * 2/3) = 3/4.
    assert biased_cka(x, z) == pytest.approx(0.75, abs=1e-12)


def test_cka_does_not_see_rotation_scale_and_shift():
    random = np.random.default_rng(1)
    x = random.normal(size=(9, 4))
    rotation = np.linalg.qr(random.normal(size=(4, 4)))[0]
    assert biased_cka(x, 3.0 * x @ rotation + 5.0) == pytest.approx(1.0, abs=1e-12)


def test_biased_cka_of_independent_gaussians_is_far_from_0():
    # E tr(K L) / sqrt(E |K|^2 E |L|^2) for centred Wishart Gram matrices of n = 50, D = 450:
    # about D / (D + n) = 0.9. This bias is why it is compared with and not used.
    random = np.random.default_rng(2)
    found = [
        biased_cka(random.normal(size=(50, 450)), random.normal(size=(50, 450))) for _ in range(5)
    ]
    assert np.mean(found) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "same rows"),
        (np.ones((1, 2)), np.ones((1, 2)), "same rows"),
        (np.ones((3, 2)), np.arange(6.0).reshape(3, 2), "does not vary"),
    ],
)
def test_cka_without_a_value_says_why(x, y, why):
    with pytest.raises(UndefinedError, match=why):
        biased_cka(x, y)


def test_the_embedding_gram_correlates_cosines_of_the_same_tokens():
    # Eight directions in the plane, the second set with all angles doubled.
    angles = np.arange(8) * 0.2
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    doubled = np.stack([np.cos(2 * angles), np.sin(2 * angles)], axis=1)
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)]
    one = [math.cos(0.2 * (j - i)) for i, j in pairs]
    two = [math.cos(0.4 * (j - i)) for i, j in pairs]
    r = np.corrcoef(one, two)[0, 1]
    assert embedding_gram(rows, doubled) == pytest.approx((r + 1) / 2, abs=1e-12)


def test_the_embedding_gram_does_not_see_rotation_and_length():
    random = np.random.default_rng(3)
    rows = random.normal(size=(12, 5))
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    lengths = random.uniform(0.5, 2.0, size=(12, 1))
    assert embedding_gram(rows, lengths * (rows @ rotation)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        (np.ones((7, 3)), np.ones((7, 3)), "8 tokens"),
        (np.ones((9, 3)), np.ones((8, 3)), "8 tokens"),
        (np.zeros((8, 3)), np.ones((8, 3)), "length 0"),
        (np.ones((8, 3)), np.eye(8), "does not vary"),
    ],
)
def test_an_embedding_gram_without_a_value_says_why(a, b, why):
    with pytest.raises(UndefinedError, match=why):
        embedding_gram(a, b)
