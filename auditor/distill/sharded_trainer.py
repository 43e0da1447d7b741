"""`transformers.Trainer` for students that are sharded by `auditor.distill.sharding`, and others.

Its checkpoints of a sharded student hold the same files as those of a student that is whole.
"""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import Trainer

from auditor.distill.launch import whole_models
from auditor.distill.sharding import (
    ShardedStudent,
    is_sharded,
    load_whole,
    parted_optimizer,
    whole_optimizer,
    whole_state,
)

_OPTIMIZER = "optimizer.pt"
_SCHEDULER = "scheduler.pt"


class ShardedTrainer(Trainer):
    """Trains a student that is sharded already; any other as `Trainer` does."""

    model: Any
    optimizer: Any
    lr_scheduler: Any

    def create_accelerator_and_postprocess(self) -> None:
        """Let accelerate join the ranks, and leave the student to us."""
        with whole_models():
            super().create_accelerator_and_postprocess()

    def _wrap_model(self, model: Any, *given: Any, **named: Any) -> nn.Module:
        """Return the student in what runs it; accelerate prepares the others."""
        if is_sharded(model):
            return ShardedStudent(model)
        return super()._wrap_model(model, *given, **named)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the student, gathered from all ranks, by the first."""
        if not is_sharded(self.model):
            super().save_model(output_dir, _internal_call)
            return
        state = whole_state(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not is_sharded(self.model):
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = whole_optimizer(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / _OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / _SCHEDULER)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        if not is_sharded(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        state: dict[str, torch.Tensor] = {}
        for path in sorted(Path(resume_from_checkpoint).glob("*.safetensors")):
            state.update(load_file(path))
        load_whole(self.model, state)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not is_sharded(self.model):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        state = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(parted_optimizer(state, self.optimizer))
        self.lr_scheduler.load_state_dict(torch.load(folder / _SCHEDULER, weights_only=True))
