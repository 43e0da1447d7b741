"""Several processes training one student (`accelerate launch`): who writes, who waits."""

from typing import Any


def rank_count() -> int:
    """Return the number of processes that train together; 1 without a launcher."""
    return int(_state().num_processes)


def is_first_rank() -> bool:
    """Say whether this process writes the files of the run."""
    return bool(_state().is_main_process)


def wait_for_ranks() -> None:
    """Return when every process has come here; at once where there is one."""
    _state().wait_for_everyone()


def trains_on_cpu() -> bool:
    """Say whether the student is trained on the CPU: where there is no CUDA device."""
    import torch

    return not torch.cuda.is_available()


def rank_device() -> str:
    """Return the device of this process: ``cpu``, ``cuda:0``, ``cuda:1``, ..."""
    return str(_state().device)


def _state() -> Any:
    from accelerate import PartialState

    # Without a GPU, accelerate sees the other ranks only when told that the CPU is meant.
    return PartialState(cpu=trains_on_cpu())
