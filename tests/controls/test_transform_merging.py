import math

import pytest
import torch
from transform_models import gpt2, llama, weights

from auditor.controls.transforms_merging import Merge, merged, slerp_shares
from auditor.errors import InputError

NAME = "model.layers.0.mlp.up_proj.weight"


def with_first_row(module, values):
    """Return the module with the first weights of one matrix set by hand, all others 0."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        weights(module)[NAME][0, : len(values)] = torch.tensor(values)
    return module


def first_row(module, count):
    return weights(module)[NAME][0, :count].tolist()


@pytest.fixture(scope="module")
def parents():
    return llama(1), llama(2), llama(3)


def test_a_linear_merge_is_the_weighted_sum(parents):
    found = weights(merged(parents, Merge(weights=(0.5, 0.3, 0.2))))
    for name, value in found.items():
        a, b, c = (weights(parent)[name] for parent in parents)
        assert torch.equal(value, a * 0.5 + b * 0.3 + c * 0.2)


def test_a_spherical_merge_keeps_the_length_and_splits_the_angle():
    # Unit vectors at a right angle: a third of the way is 30 degrees, cos 30 and sin 30.
    a, b = with_first_row(llama(1), [1.0, 0.0]), with_first_row(llama(1), [0.0, 1.0])
    found = first_row(merged((a, b), Merge(method="slerp", weights=(2 / 3, 1 / 3))), 2)
    assert found == pytest.approx([math.sqrt(3) / 2, 0.5])


def test_parallel_tensors_are_merged_on_the_line_between_them():
    a, b = with_first_row(llama(1), [1.0, 1.0]), with_first_row(llama(1), [3.0, 3.0])
    found = first_row(merged((a, b), Merge(method="slerp", weights=(0.5, 0.5))), 2)
    assert found == pytest.approx([2.0, 2.0])
    assert slerp_shares(0.25, 0.0) == (0.75, 0.25)


def test_ties_trims_elects_and_averages_what_agrees():
    # Task vectors over 4 places, half of each dropped (the places beyond are 0 in both):
    #   (4, -3, .5, 0) -> (4, -3, 0, 0)    (2, 5, 0, -.1) -> (2, 5, 0, 0)
    # Signs of the sums: + +. Agreeing: place 0 both, mean 3; place 1 the second alone, 5.
    size = weights(llama(1))[NAME].numel()
    base = with_first_row(llama(1), [1.0, 1.0, 1.0, 1.0])
    a = with_first_row(llama(1), [5.0, -2.0, 1.5, 1.0])
    b = with_first_row(llama(1), [3.0, 6.0, 1.0, 0.9])
    how = Merge(method="ties", weights=(0.5, 0.5), dropped=(size - 2) / size)
    assert first_row(merged((a, b), how, base), 4) == pytest.approx([4.0, 6.0, 1.0, 1.0])


def test_ties_weighs_the_vote_and_the_mean():
    size = weights(llama(1))[NAME].numel()
    base = with_first_row(llama(1), [0.0, 0.0])
    a, b = with_first_row(llama(1), [4.0, -2.0]), with_first_row(llama(1), [2.0, 5.0])
    # 0.8 against 0.2: place 1 sums to -1.6 + 1.0 < 0, so the first wins it; place 0: 3.2 + .4.
    how = Merge(method="ties", weights=(0.8, 0.2), dropped=(size - 2) / size)
    assert first_row(merged((a, b), how, base), 2) == pytest.approx([3.6, -2.0])


def test_dare_drops_the_share_and_rescales_the_rest(parents):
    base, a, b = parents
    how = Merge(method="dare", weights=(1.0, 0.0), dropped=0.75, seed=4)
    found = weights(merged((a, b), how, base))
    kept = total = 0
    for name, value in found.items():
        start, task = weights(base)[name], weights(a)[name] - weights(base)[name]
        alive = value != start
        kept, total = kept + int(alive.sum()), total + value.numel()
        torch.testing.assert_close(value[alive], (start + 4 * task)[alive])
    # sd of the share of n > 28,000 draws is sqrt(.75 x .25 / n) < .0026.
    assert kept / total == pytest.approx(0.25, abs=0.01)


def test_the_seed_of_dare_decides_its_masks(parents):
    base, a, b = parents
    one, two, other = (
        weights(merged((a, b), Merge(method="dare", weights=(0.5, 0.5), seed=seed), base))[NAME]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_nothing_dropped_is_the_sum_of_the_task_vectors(parents):
    base, a, b = parents
    dare = merged((a, b), Merge(method="dare", weights=(0.5, 0.5), dropped=0.0), base)
    linear = merged((a, b), Merge(weights=(0.5, 0.5)))
    for name, value in weights(dare).items():
        torch.testing.assert_close(value, weights(linear)[name])


@pytest.mark.parametrize(
    ("how", "with_base", "said"),
    [
        (Merge(method="soup", weights=(0.5, 0.5)), False, "unknown merge 'soup'"),
        (Merge(weights=(1.0,)), False, "1 weights for 2 parents"),
        (Merge(method="slerp", weights=(0.5, 1.5)), False, "outside 0..1"),
        (Merge(method="ties", weights=(0.5, 0.5)), False, "ties needs a base"),
        (Merge(weights=(0.5, 0.5)), True, "linear has no use for a base"),
        (Merge(method="dare", weights=(0.5, 0.5), dropped=1.0), True, "outside 0 <= share < 1"),
    ],
)
def test_merges_that_cannot_be_are_refused(parents, how, with_base, said):
    with pytest.raises(InputError, match=said):
        merged(parents[:2], how, parents[2] if with_base else None)


def test_parents_of_other_shapes_are_named():
    with pytest.raises(InputError, match=r"lm_head.weight is \(259, 32\) and \(259, 40\)"):
        merged((llama(1), llama(2, width=40)), Merge(weights=(0.5, 0.5)))
    with pytest.raises(InputError, match="in one of them only"):
        merged((llama(1), gpt2(2)), Merge(weights=(0.5, 0.5)))
    with pytest.raises(InputError, match="3 parents for slerp"):
        merged((llama(1),) * 3, Merge(method="slerp", weights=(0.4, 0.3, 0.3)))
