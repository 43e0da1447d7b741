"""What the trainer writes into the ledger: a record a step, and one for each checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from auditor.distill.batches import training_order
from auditor.distill.cache import sequences_digest
from auditor.distill.checkpoints import checkpoint_body, seal_checkpoint
from auditor.distill.ledger import Ledger
from auditor.distill.ranks import wait_for_ranks
from auditor.distill.recipe_train import Train
from auditor.distill.sequences import Sequences


class StepLedger(TrainerCallback):
    """Records the sequences and tokens of every step, and binds each checkpoint to the ledger.

    The record of a step does not depend on how its batch is cut over accumulation and ranks.
    """

    def __init__(
        self, path: Path, train: Train, store: Sequences, targets: Callable[[], int]
    ) -> None:
        """Write to `path`; `targets` gives the number of targets of the step that just ended."""
        self._path = path
        self._ledger: Ledger | None = None
        self._store = store
        self._targets = targets
        self._chosen = training_order(
            store.lengths, steps=train.steps, batch_tokens=train.batch_tokens, seed=train.seed
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add the step's record."""
        if state.is_world_process_zero:
            step = state.global_step
            rows = self._chosen[step - 1].tolist()
            body = {
                "step": step,
                "sequences": sequences_digest(self._store, rows),
                "tokens": self._targets(),
            }
            self._opened().append("batch", body)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Declare the checkpoint that was just written, by all ranks, complete."""
        wait_for_ranks()
        if state.is_world_process_zero:
            ledger = self._opened()
            # What a checkpoint is bound to must not be lost while the checkpoint stays.
            ledger.sync()
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            seal_checkpoint(folder, state.global_step, ledger.head)
            ledger.append("checkpoint", checkpoint_body(folder))

    def _opened(self) -> Ledger:
        if self._ledger is None:  # only the first rank opens it, and not before it writes
            self._ledger = Ledger(self._path)
        return self._ledger
