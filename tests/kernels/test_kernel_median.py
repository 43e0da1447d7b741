"""The median by selection among few, against numpy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.kernels.median import median


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_few_numbers(values: list[float]) -> None:
    assert median(np.array(values)) == np.median(values)


@pytest.mark.parametrize("count", [4_096, 8_192, 50_000, 50_001, 523_776])
@pytest.mark.parametrize("shape", ["normal", "ties", "equal", "sorted", "two heaps"])
def test_many_numbers_of_any_shape(count: int, shape: str) -> None:
    draw = np.random.RandomState(count)
    values = draw.standard_normal(count)
    if shape == "ties":
        values = values.round(1)
    elif shape == "equal":
        values = np.full(count, 3.0)
    elif shape == "sorted":
        values.sort()
    elif shape == "two heaps":
        values = np.where(np.arange(count) < count // 2, values, values + 100.0)
    assert median(values) == np.median(values)


def test_a_sample_that_misleads_costs_time_only() -> None:
    values = np.ones(40_960)
    values[::10] = 0.0  # every number of the sample
    assert median(values) == np.median(values) == 1.0
