"""The training loop of encoders: `SentenceTransformerTrainer` with our order and records."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from torch.utils.data import Sampler
from transformers.trainer_callback import PrinterCallback

from auditor.distill.batches import BatchPlan
from auditor.distill.embedding_loss import EmbeddingLoss
from auditor.distill.embedding_plan import step_texts
from auditor.errors import UndefinedError

if TYPE_CHECKING:
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainingArguments,
    )


class PlannedBatches(Sampler[list[int]]):
    """The micro-batches of a plan, in order."""

    batch_size = None
    drop_last = False

    def __init__(self, plan: BatchPlan) -> None:
        self._members = plan.members

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[list[int]]:
        return (members.tolist() for members in self._members)


class EncoderTrainer(SentenceTransformerTrainer):
    """Trains an encoder on the micro-batches of a plan, in order."""

    loss_is_scaled_for_ga = True  # compute_loss weighs a micro-batch by its share of the step

    def __init__(
        self,
        student: "SentenceTransformer",
        arguments: "SentenceTransformerTrainingArguments",
        *,
        texts: Sequence[str],
        plan: BatchPlan,
        loss: EmbeddingLoss,
    ) -> None:
        from datasets import Dataset

        self._plan = plan
        # The label of a text is its number: the loss holds the teacher's vectors.
        rows = {"text": list(texts), "label": list(range(len(texts)))}
        super().__init__(
            model=student, args=arguments, train_dataset=Dataset.from_dict(rows), loss=loss
        )
        self.remove_callback(PrinterCallback)
        self.step_targets = 0
        """Tokens of the current step."""
        self.step_loss = torch.zeros((), device=arguments.device)
        """Loss of the current step so far: its mean over texts."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Return the micro-batch's share of the step's mean loss, a scalar.

        Raises:
            UndefinedError: it is NaN or infinite; no weight was changed by it.
        """
        numbers = inputs["label"].tolist()
        mean: Any = super().compute_loss(model, inputs)
        step = self.state.global_step
        if not bool(torch.isfinite(mean)):
            raise UndefinedError(
                f"the loss of step {step + 1} is {mean.item()}: a batch of {len(numbers)} texts, "
                f"numbers {', '.join(map(str, sorted(numbers)[:8]))} of sequences.jsonl",
                hint="lower train.lr, or leave the texts out; the last complete checkpoint is kept",
            )
        self.step_targets = int(self._plan.step_targets[step])
        loss: torch.Tensor = mean * (len(numbers) / step_texts(self._plan, step))
        self.step_loss += loss.detach()
        return loss

    def odd_sequences(self) -> list[int]:
        """Return none: `compute_loss` names them itself, before the step ends."""
        return []

    def get_batch_sampler(self, *_: Any, **__: Any) -> Any:
        """Return the plan in place of the library's own shuffling."""
        return PlannedBatches(self._plan)

    def add_model_card_callback(self, *_: Any) -> None:
        """Write no model card: the run's own records say more, and the same at every run."""

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: counting walks over all parameters every step, for a number nobody reads."""
        return 0

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        self.model.save_pretrained(str(folder), create_model_card=False)
