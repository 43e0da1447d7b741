"""Small models run on one core, large ones on all."""

import pytest
import torch

from auditor.models.threads import idle_cores, suited_threads


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("parameters", "threads"), [(100_000, 1), (10**9, 2), (None, 2)])
def test_threads_inside_suit_the_size_and_come_back(two_threads, parameters, threads):
    with suited_threads(parameters):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_threads_come_back_after_a_failure(two_threads):
    with pytest.raises(ValueError, match="stop"), suited_threads(1):
        raise ValueError("stop")
    assert torch.get_num_threads() == 2


def test_one_small_model_a_core(two_threads):
    assert idle_cores("cpu") == 2
