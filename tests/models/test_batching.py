import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InputError
from auditor.models.batching import is_small, plan_batches, roomy_budget


def test_longest_first_and_equal_lengths_in_order():
    # Budget 6: [4] alone (2 x 4 > 6); then 3 + 3 fits (2 x 3 = 6); then 1.
    assert plan_batches([3, 1, 4, 3], 6) == [[2], [0, 3], [1]]


def test_a_sequence_beyond_the_budget_goes_alone():
    assert plan_batches([1, 100, 1], 10) == [[1], [0, 2]]


def test_no_sequences_make_no_batches():
    assert plan_batches([], 8) == []


def test_empty_sequences_cost_one_token_each():
    assert plan_batches([0, 0, 0], 2) == [[0, 1], [2]]


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))
def test_every_index_once_and_within_the_budget(lengths, budget):
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget
    assert [plan_batches([lengths[i] for i in b], budget) for b in batches] == [
        [list(range(len(b)))] for b in batches
    ]  # a planned batch, planned again, is one batch in the same order


@pytest.mark.parametrize(("lengths", "budget"), [([1], 0), ([-1], 5)])
def test_impossible_requests_are_refused(lengths, budget):
    with pytest.raises(InputError):
        plan_batches(lengths, budget)


@pytest.mark.parametrize(
    ("parameters", "factor"),
    # Whole multiples of 8 million; none and huge ones keep the budget.
    [
        (None, 1),
        (0, 8),
        (400_000, 8),
        (1_000_000, 8),
        (3_000_000, 2),
        (8_000_001, 1),
        (7 * 10**9, 1),
    ],
)
def test_small_models_get_a_larger_budget_up_to_a_bound(parameters, factor):
    assert roomy_budget(2048, parameters) == 2048 * factor


def test_model_of_unknown_size_is_not_small():
    assert [is_small(n) for n in (None, 0, 7_999_999, 8_000_000)] == [False, True, True, False]
