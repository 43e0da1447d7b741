"""How many cores a model's arithmetic is spread over."""

import contextlib
from collections.abc import Iterator

from auditor.models.batching import is_small


def idle_cores(device: str | None) -> int:
    """Return how many small models can run side by side: one a core, and one alone on a GPU."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return 1
    return torch.get_num_threads()


@contextlib.contextmanager
def suited_threads(parameters: int | None) -> Iterator[None]:
    """Run the operations of a small model on one core inside the block.

    They are too short to be divided: threads that wait for each other cost more than they save,
    and many times more on a machine that has other work. The number of cores then does not show
    in the last digits either.
    """
    import torch

    before = torch.get_num_threads()
    if is_small(parameters):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
