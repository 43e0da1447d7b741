"""The order of token ids: larger logit first, then lower id."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.kernels.order import first_ids


def expected_ids(row: list[float], k: int) -> list[int]:
    return sorted(range(len(row)), key=lambda i: (-row[i], i))[:k]


@given(
    st.integers(1, 400).flatmap(lambda v: st.lists(st.integers(-3, 3), min_size=v, max_size=v)),
    st.integers(1, 12),
)
@settings(max_examples=40, deadline=None)
def test_many_ties_are_ordered_by_id(row: list[int], k: int) -> None:
    table = torch.tensor([row], dtype=torch.float32)
    found = first_ids(table, k)
    assert found.ids[0].tolist() == expected_ids([float(x) for x in row], k)
    assert torch.equal(found.logits, table.gather(1, found.ids))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("vocabulary", [1, 5, 64, 3200, 4097])
def test_the_whole_row_counts_whatever_its_type(dtype: torch.dtype, vocabulary: int) -> None:
    draw = torch.Generator().manual_seed(vocabulary)
    table = (3 * torch.randn(4, vocabulary, generator=draw)).to(dtype)
    table[0, -1] = 100.0
    found = first_ids(table, 50)
    for row, ids in zip(table.double().tolist(), found.ids.tolist(), strict=True):
        assert ids == expected_ids(row, 50)


def test_negative_zero_ties_with_zero_and_infinity_comes_last() -> None:
    table = torch.tensor([[-0.0, 0.0, float("-inf"), -5.0, 0.0]])
    assert first_ids(table, 5).ids.tolist() == [[0, 1, 4, 3, 2]]
