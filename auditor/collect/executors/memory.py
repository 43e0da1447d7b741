"""What a job needs of a device's memory, and what the devices of this machine have."""

from dataclasses import dataclass
from math import prod

from auditor.collect.shelf import main_memory
from auditor.errors import AuditorError
from auditor.models.specifier import parse

_SHARE = 0.8
"""Of a device's memory that jobs may be given together."""
_BESIDES = 1.2
"""Memory of a model in use over that of its weights: the states and logits of a batch."""
_PROCESS = 600_000_000
"""Bytes of main memory of a worker without a model: torch and transformers, loaded."""
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(slots=True, eq=False)
class Device:
    """A GPU, or the main memory of the machine."""

    memory: int
    """Bytes that jobs may be given."""
    number: int | None = None
    """Of a GPU to which a worker is bound; None where it sees them all, or none."""
    taken: int = 0
    jobs: int = 0

    @property
    def left(self) -> int:
        """Bytes that no job has."""
        return self.memory - self.taken


def machine_devices(device: str | None) -> list[Device]:
    """Return the devices that models can be opened on, as a plan names them.

    A worker is bound to one GPU where the plan leaves the choice; ``auto`` spreads a model over
    all of them, which then count as one.
    """
    import torch

    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    sizes = [int(_SHARE * torch.cuda.get_device_properties(i).total_memory) for i in range(gpus)]
    if not sizes:
        return [Device(int(_SHARE * main_memory()))]
    if device in (None, "cuda"):
        return [Device(size, number=i) for i, size in enumerate(sizes)]
    if device == "auto":
        return [Device(sum(sizes))]
    return [Device(sizes[torch.device(device or 0).index or 0])]


def uses_gpu(device: str | None) -> bool:
    """Whether models are opened on GPUs, as far as this machine tells."""
    import torch

    return device != "cpu" and (device is not None or torch.cuda.is_available())


def model_memory(spec: str, dtype: str | None, device: str | None) -> int:
    """Return the bytes that a model takes in use, from the headers of its files."""
    from auditor.models.weight_files import open_weights

    gpu = uses_gpu(device)
    besides = 0 if gpu else _PROCESS
    if parse(spec).scheme in ("records", "openai"):
        return besides
    try:
        weights = open_weights(spec)
    except AuditorError:  # a format without headers; loading it says what is wrong
        return besides
    width = _BYTES.get(dtype or ("bfloat16" if gpu else "float32"), 4)
    parameters = sum(prod(shape) for shape in weights.shapes.values())
    return besides + int(_BESIDES * (parameters * width + weights.packed))
