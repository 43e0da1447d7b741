"""The mergeable single-pass state."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import InputError
from auditor.kernels import agreement
from auditor.kernels.state import State, vocabulary_state

INF = float("inf")


def tables(vocabulary: int, impossible: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(vocabulary)
    a = (4 * torch.randn(5, vocabulary, generator=draw)).round(decimals=1) - 40
    b = (4 * torch.randn(5, vocabulary, generator=draw)).round(decimals=1) + 3
    if impossible:
        a[:, ::3], b[:, ::4] = -INF, -INF
        a[0, : vocabulary // 2] = -INF  # a part without any possible token
    return a, b


def state_of(
    a: torch.Tensor, b: torch.Tensor, tokens: torch.Tensor, start: int, stop: int
) -> State:
    own_a, own_b = a.gather(1, tokens[:, None])[:, 0], b.gather(1, tokens[:, None])[:, 0]
    return vocabulary_state(a[:, start:stop], b[:, start:stop], own_a, own_b, first_id=start)


def assert_same_fields(found: State, expected: State) -> None:
    ours, theirs = found.fields(), expected.fields()
    for name, values in theirs.items():
        torch.testing.assert_close(
            ours[name],
            values,
            rtol=2e-12,
            atol=1e-12,
            equal_nan=True,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("impossible", [False, True])
@given(cuts=st.lists(st.integers(1, 199), min_size=1, max_size=5), turn=st.booleans())
@settings(max_examples=15, deadline=None)
def test_merging_any_split_gives_the_whole(impossible: bool, cuts: list[int], turn: bool) -> None:
    a, b = tables(200, impossible)
    tokens = torch.tensor([197, 199, 190, 182, 191])
    edges = [0, *sorted(set(cuts)), 200]
    parts = [state_of(a, b, tokens, i, j) for i, j in pairwise(edges)]
    if turn:  # order does not matter
        parts.reverse()
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert_same_fields(merged, state_of(a, b, tokens, 0, 200))


def test_grouping_does_not_matter() -> None:
    a, b = tables(90)
    tokens = torch.zeros(5, dtype=torch.int64)
    x, y, z = (state_of(a, b, tokens, i, i + 30) for i in (0, 30, 60))
    assert_same_fields(x.merge(y).merge(z), x.merge(y.merge(z)))


@pytest.mark.parametrize("impossible", [False, True])
def test_the_state_agrees_with_the_two_pass_reference(impossible: bool) -> None:
    a, b = tables(300, impossible)
    tokens = torch.tensor([298, 299, 295, 293, 298])
    exact = agreement(a, b, tokens, tier="lite", implementation="reference")
    for name, values in state_of(a, b, tokens, 0, 300).fields().items():
        torch.testing.assert_close(
            values,
            getattr(exact, name),
            rtol=1e-10,
            atol=1e-10,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def test_equal_largest_logits_merge_to_the_lowest_id() -> None:
    a = torch.tensor([[0.0, 3.0, 3.0, 3.0]])
    tokens = torch.tensor([0])
    left, right = state_of(a, a, tokens, 0, 2), state_of(a, a, tokens, 2, 4)
    assert right.merge(left).choice_a.id.item() == 1


def test_states_with_other_references_are_refused() -> None:
    a, b = tables(20)
    x = state_of(a, b, torch.zeros(5, dtype=torch.int64), 0, 10)
    y = state_of(a, b, torch.ones(5, dtype=torch.int64), 10, 20)
    with pytest.raises(InputError, match="same references"):
        x.merge(y)
