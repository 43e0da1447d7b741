"""Hand-worked values of the measures on embeddings."""

import math

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply

X, Y = [1.0, 0.0], [0.0, 1.0]


def pair_of_replies(ours, theirs):
    """(P, N, E) each."""
    return small_pair(embeddings=(np.array(ours), np.array(theirs)))


def test_cosine_of_equal_orthogonal_opposite_and_slanted_replies():
    slanted = [0.6, 0.8]
    pair = pair_of_replies([[X], [X], [X], [X]], [[X], [Y], [[-1.0, 0.0]], [slanted]])
    assert get("embedding-cosine")(pair) == pytest.approx([1, 0, -1, 0.6])


def test_cosine_averages_matching_repeats_and_drops_the_extra_one():
    for ours, theirs in (([[X, X, Y]], [[X, Y]]), ([[X, Y]], [[X, X, Y]])):
        assert get("embedding-cosine")(pair_of_replies(ours, theirs)) == pytest.approx([0.5])


def test_a_missing_embedding_takes_its_probe_out():
    # NaN and zeros are no embeddings; the two whole probes have cosine 1 and 0.
    pair = pair_of_replies([[X], [X], [[np.nan, 0.0]], [X]], [[X], [Y], [X], [[0.0, 0.0]]])
    found = apply(get("embedding-cosine"), pair, seed=0)
    assert found.value == pytest.approx(0.5)
    assert found.probes == 2


def test_mmd_of_two_separated_clouds():
    # All replies of one are X, of the other Y: every H_ij = 1 + 1 - 2 exp(-1).
    pair = pair_of_replies([[X], [X], [X]], [[Y], [Y], [Y]])
    assert get("embedding-mmd")(pair) == pytest.approx(2 - 2 * math.exp(-1))


def test_mmd_of_two_probes_with_swapped_replies_is_negative():
    # H_12 = k(X,Y) + k(Y,X) - k(X,X) - k(Y,Y) = 2 exp(-1) - 2: the estimate is noise around 0.
    pair = pair_of_replies([[X], [Y]], [[Y], [X]])
    assert get("embedding-mmd")(pair) == pytest.approx(2 * math.exp(-1) - 2)


def test_mmd_averages_over_all_repeats():
    # Reference X always; suspect X and Y once each. Between probes: k(x,x') = 1,
    # k(y,y') = (2 + 2/e)/4, k(x,y') = (1 + 1/e)/2.  H = 1 + (1+1/e)/2 - (1+1/e) = (1 - 1/e)/2
    pair = pair_of_replies([[X], [X], [X]], [[X, Y], [X, Y], [X, Y]])
    assert get("embedding-mmd")(pair) == pytest.approx((1 - math.exp(-1)) / 2)


def test_mmd_of_equal_replies_is_exactly_0():
    # A shape where the product of an array with itself rounds otherwise than with its copy.
    x = np.random.RandomState(0).normal(size=(101, 1, 1000))
    assert get("embedding-mmd")(pair_of_replies(x, x.copy())) == 0.0


def test_mmd_does_not_depend_on_the_block_size(monkeypatch):
    import auditor.measures.embedding_mmd as module

    random = np.random.RandomState(0)
    pair = pair_of_replies(random.normal(size=(9, 2, 4)), random.normal(size=(9, 3, 4)))
    whole = get("embedding-mmd")(pair)
    monkeypatch.setattr(module, "_BLOCK", 2 * 9 * 9)
    assert get("embedding-mmd")(pair) == pytest.approx(whole, rel=1e-12)


def test_mmd_of_one_probe_is_undefined():
    with pytest.raises(UndefinedError, match="compares at least 2"):
        get("embedding-mmd")(pair_of_replies([[X]], [[Y]]))
