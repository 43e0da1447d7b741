"""The training loop: `transformers.Trainer` with our loss, normaliser, order and records.

Why the normaliser is our own: Trainer counts the targets of an accumulation window only for
models whose forward takes loss arguments, and a custom loss must undo the averaging of gradients
over ranks itself. Here the batch plan knows the number of targets of each whole step (over
accumulation and ranks), every micro-batch carries it, and the loss is the sum over its targets
divided by that number: one division, exact, the same for every cut of the step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from auditor.distill.batches import MicroBatches
from auditor.distill.metrics import MetricsLog
from auditor.distill.on_policy import DRAWS, OnPolicy
from auditor.distill.ranks import trains_on_cpu
from auditor.distill.recipe_train import Train
from auditor.distill.rollouts import Rollouts
from auditor.distill.sharded_trainer import ShardedTrainer
from auditor.errors import UndefinedError
from auditor.progress import Task

SumOfLosses = Callable[[PreTrainedModel, dict[str, Any]], torch.Tensor]
Evaluate = Callable[[Any], dict[str, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How and how often the student is measured, besides at the start and the end."""

    measure: Evaluate | None
    """None where nothing is held out."""
    every: int | None


class StudentTrainer(ShardedTrainer):
    """Trains a student on the micro-batches of a plan, in order."""

    loss_is_scaled_for_ga = True  # compute_loss divides by the targets of the whole step

    def __init__(
        self,
        student: PreTrainedModel,
        arguments: TrainingArguments,
        *,
        sum_of_losses: SumOfLosses,
        batches: MicroBatches,
        on_policy: OnPolicy | None = None,
        record: Callable[[Rollouts, int], None] | None = None,
    ) -> None:
        super().__init__(
            model=student,
            args=arguments,
            train_dataset=batches,
            data_collator=_only_item,
        )
        self.remove_callback(PrinterCallback)
        self._sum_of_losses = sum_of_losses
        self._on_policy = on_policy
        self._record = record
        self.step_targets = 0
        """Targets of the current step, over accumulation and ranks."""
        self.step_loss = torch.zeros((), device=arguments.device)
        """Loss of the current step so far: its mean over targets, nats."""
        self._parts: list[tuple[torch.Tensor, torch.Tensor]] = []

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the micro-batch's share of the step's mean loss, a scalar."""
        with self.accelerator.autocast():
            total = _call_inside(model, self.model, self._sum_of_losses, inputs)
        # Ranks average their gradients; the sum over ranks is wanted.
        self.step_targets = int(inputs["step_targets"])
        loss = total * (self.accelerator.num_processes / self.step_targets)
        self.step_loss += loss.detach()
        self._parts.append((loss.detach(), inputs[DRAWS]))
        return loss

    def odd_sequences(self) -> list[int]:
        """Return the numbers of the step's sequences in micro-batches whose loss is no number."""
        odd = [draws for loss, draws in self._parts if not bool(torch.isfinite(loss))]
        return sorted({int(row) for draws in odd for row in draws[:, 0]})

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Any]], Any]:
        """Return the micro-batches of a step; of an on-policy step, the student's own answers.

        Drawn here, not in the data set: a loader reads ahead, with weights that are out of date.
        """
        self._parts.clear()
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._on_policy is None or not batches:
            return batches, items
        step = self.state.global_step
        batches, drawn = self._on_policy.window(
            self.accelerator.unwrap_model(self.model), batches, step, self._over_ranks
        )
        if self._record is not None and self.is_world_process_zero():
            for rollouts in drawn:
                self._record(rollouts, step + 1)
        return batches, items

    def _over_ranks(self, number: int) -> int:
        counted = torch.tensor(number, device=self.args.device)
        return int(self.accelerator.reduce(counted, "sum"))

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: counting walks over all parameters every step, for a number nobody reads."""
        return 0


class Stepping(Protocol):
    """A trainer that knows what the current step amounts to."""

    model: Any
    accelerator: Any
    step_targets: int
    step_loss: torch.Tensor

    def is_world_process_zero(self) -> bool:
        """Say whether this process writes."""
        ...

    def odd_sequences(self) -> list[int]:
        """Return the numbers of the step's sequences in micro-batches whose loss is no number."""
        ...


class RunRecord(TrainerCallback):
    """Writes metrics, evaluates and shows progress as the steps go by."""

    def __init__(
        self,
        trainer: Stepping,
        metrics: MetricsLog,
        evaluation: Evaluation,
        task: Task,
    ) -> None:
        self._trainer = trainer
        self._tokens = 0
        self._metrics = metrics
        self._evaluation = evaluation
        self._task = task
        self._loss = 0.0
        self._lr = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure the untrained student, or show the steps done before a resume."""
        if state.global_step == 0:
            self._record_holdout(0)
        else:
            self._tokens = self._metrics.tokens()
            self._task.advance(state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Stop before a loss that is no number reaches the weights."""
        trainer = self._trainer
        self._loss = float(trainer.accelerator.reduce(trainer.step_loss, "mean"))
        trainer.step_loss.zero_()
        self._lr = float(given["lr_scheduler"].get_last_lr()[0])
        if not math.isfinite(self._loss):
            named = ", ".join(map(str, trainer.odd_sequences()[:8])) or "of another rank"
            raise UndefinedError(
                f"the loss of step {state.global_step + 1} is {self._loss}: a batch with the "
                f"sequences {named}",
                hint="lower train.lr, or leave the texts out; the last complete checkpoint is kept",
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the step's row and, where one is due, an evaluation."""
        step = state.global_step
        self._tokens += self._trainer.step_targets
        row = {
            "step": step,
            "loss": self._loss,
            "lr": self._lr,
            "tokens": self._tokens,
        }
        if state.is_world_process_zero:
            self._metrics.append(row)
        every = self._evaluation.every
        if step == state.max_steps or (every and step % every == 0):
            self._record_holdout(step)
        self._task.advance()

    def _record_holdout(self, step: int) -> None:
        if self._evaluation.measure is None:
            return
        trainer = self._trainer
        values = self._evaluation.measure(trainer.accelerator.unwrap_model(trainer.model))
        if trainer.is_world_process_zero():
            self._metrics.append({"step": step, "holdout": values})


def _only_item(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the micro-batch of a loader whose batches hold one."""
    return items[0]


def _call_inside(
    wrapper: torch.nn.Module,
    module: PreTrainedModel,
    compute: SumOfLosses,
    batch: dict[str, Any],
) -> torch.Tensor:
    """Return ``compute(module, batch)``, run inside the wrapper's forward where there is one.

    DDP and FSDP gather weights and hook gradients in their own forward; reading the backbone and
    the head from outside would go round them.
    """
    if wrapper is module:
        return compute(module, batch)
    forward = module.forward
    module.forward = lambda given: compute(module, given)
    try:
        return wrapper(batch)
    finally:
        module.forward = forward


def training_arguments(
    train: Train,
    folder: Path,
    *,
    save_every: int,
    kind: type[TrainingArguments] = TrainingArguments,
) -> TrainingArguments:
    """Return Trainer's arguments for a recipe: silent, one micro-batch at a time, in order."""
    return kind(
        output_dir=str(folder),
        max_steps=train.steps,
        per_device_train_batch_size=1,  # an item of the data set is a whole micro-batch
        train_sampling_strategy="sequential",
        gradient_accumulation_steps=train.accumulate,
        learning_rate=train.lr,
        lr_scheduler_type=train.schedule
        if train.schedule != "constant"
        else "constant_with_warmup",
        warmup_steps=train.warmup,
        weight_decay=train.weight_decay,
        max_grad_norm=train.clip,
        bf16=train.precision == "bf16",
        seed=train.seed,
        save_strategy="steps",
        save_steps=save_every,
        save_total_limit=2,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        use_cpu=trains_on_cpu(),
        dataloader_pin_memory=not trains_on_cpu(),
    )
