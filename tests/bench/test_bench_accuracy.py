"""Errors against float64, by hand."""

import pytest
import torch

from auditor.bench.accuracy import accuracy, error
from auditor.bench.experiment import Experiment

INF, NAN = float("inf"), float("nan")


def experiment(**options) -> Experiment:
    return Experiment(title="", shape={}, candidates=(), truth=dict, **options)


def test_an_error_is_relative_to_the_largest_value():
    assert error(torch.tensor([1.0, 3.9]), torch.tensor([1.5, 4.0])) == pytest.approx(0.5 / 4)


def test_an_elementwise_error_is_relative_to_each_value():
    found, truth = torch.tensor([1.0, 3.9]), torch.tensor([1.5, 4.0])
    assert error(found, truth, elementwise=True) == pytest.approx(0.5 / 1.5)


def test_where_the_truth_is_zero_the_error_is_absolute():
    assert error(torch.tensor([0.0, -2e-7]), torch.zeros(2)) == pytest.approx(2e-7)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [([NAN, 1.0], [NAN, 1.0], 0.0), ([INF], [INF], 0.0), ([NAN], [1.0], INF), ([INF], [1.0], INF)],
)
def test_infinities_and_nan_agree_only_with_themselves(found, truth, expected):
    assert error(torch.tensor(found), torch.tensor(truth)) == expected


def test_no_value_is_no_error():
    assert error(torch.zeros(0), torch.zeros(0)) == 0.0


def test_only_shared_outputs_at_the_rows_of_the_truth_are_compared():
    found = {"kl_ab": torch.tensor([-1.0, 2.0, 3.0]), "argmax_a": torch.tensor([5, 6, 7])}
    truth = {
        "kl_ab": torch.tensor([2.0, 4.0]),
        "argmax_a": torch.tensor([6, 8]),
        "js": torch.ones(2),
    }
    result = accuracy(experiment(rows=torch.tensor([1, 2])), found, truth)
    assert result.errors == {"kl_ab": 0.25}
    assert result.mismatches == {"argmax_a": 1}
    assert result.negative == 1  # counted over all rows
