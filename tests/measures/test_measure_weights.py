"""Values of the span and of the weight CKA worked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.errors import UndefinedError
from auditor.measures import get


def pair_with(**fields):
    pair = small_pair(embeddings=(np.ones((1, 1, 2)), np.ones((1, 1, 2))))
    return replace(pair, **fields)


def test_planes_that_share_one_direction_overlap_by_half():
    # Principal angles 0 and 90 degrees: (1 + 0) / 2.
    assert get("unembedding-span")(pair_with(span=np.array([1.0, 0.0]))) == 0.5
    assert get("unembedding-span")(pair_with(span=np.ones(3))) == 1.0
    # 60 degrees: cos^2 = 1 / 4.
    assert get("unembedding-span")(pair_with(span=np.array([0.5]))) == 0.25


def test_layers_are_paired_for_the_largest_mean():
    # The greedy pairing takes .9 and is left with .0; the best is (.8 + .7) / 2.
    best = np.array([[0.9, 0.8], [0.7, 0.0]])
    table = np.stack([best + 0.1, best - 0.1], axis=2)  # (L, L', 2): their mean is `best`
    assert get("weight-cka")(pair_with(weight_cka=table)) == pytest.approx(0.75)


def test_fewer_layers_are_paired_with_some_of_the_others():
    table = np.array([[0.2, 0.9, 0.1]])[:, :, None].repeat(2, axis=2)  # (1, 3, 2)
    assert get("weight-cka")(pair_with(weight_cka=table)) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("unembedding-span", {"span": np.zeros(0)}, "no directions"),
        ("weight-cka", {"weight_cka": np.zeros((0, 2, 2))}, "no layer"),
        ("unembedding-span", {"why": {"span": "other words"}}, "other words"),
        ("weight-cka", {"why": {"weight_cka": "no attention"}}, "no attention"),
    ],
)
def test_nothing_is_undefined_with_its_reason(name, fields, reason):
    with pytest.raises(UndefinedError, match=reason):
        get(name)(pair_with(**fields))
