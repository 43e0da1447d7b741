"""What a timed step of training needs besides its models."""

import atexit
import tempfile
from pathlib import Path

import torch


def adamw(module: torch.nn.Module) -> torch.optim.Optimizer:
    """Return Trainer's optimizer with a learning rate of 0; its state and all gradients exist.

    So a first step needs no more memory than the next.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.0, fused=True)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return optimizer


def scratch() -> Path:
    """Return a new folder that is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="auditor-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
