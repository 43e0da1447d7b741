"""Which steps train on the student's own answers, and the micro-batches of such a step."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from auditor.distill.rollouts import Rollouts, Sampler
from auditor.errors import InputError
from auditor.models.sampling import sample_stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DRAWS = "draws"
"""Key of (B, 2) in a batch: what `batches.draw_numbers` gives."""


class OnPolicy:
    """Replaces the micro-batches of some steps by answers of the student to their prompts.

    Which steps those are is drawn from the seed, each by itself with probability `share` (lambda
    of GKD, Agarwal et al. 2023, arXiv 2306.13649, Algorithm 1): neither a resume nor the number of
    steps changes it.
    """

    def __init__(self, sampler: Sampler, share: float) -> None:
        """Let a share in [0, 1] of the steps be on-policy.

        Raises:
            InputError: `share` is outside.
        """
        if not 0 <= share <= 1:
            raise InputError(f"the share of on-policy steps is {share}", hint="give 0 to 1")
        self._sampler = sampler
        self._share = share

    def takes(self, step: int) -> bool:
        """Say whether the student answers in the step that follows `step` finished ones."""
        uniform = sample_stream(self._sampler.seed, "on-policy", step).random_sample()
        return bool(uniform < self._share)

    def window(
        self,
        module: "PreTrainedModel",
        batches: Sequence[dict[str, Any]],
        step: int,
        over_ranks: Callable[[int], int],
    ) -> tuple[list[dict[str, Any]], list[Rollouts]]:
        """Return the micro-batches to train on in one step, and the answers among them.

        All of a step is drawn before any of it is trained on, with the weights that the step
        starts from; only then is known by how many targets the step's loss is divided.

        Args:
            module: the student.
            batches: this rank's micro-batches of the step, each with ``draws``.
            step: steps finished.
            over_ranks: the sum of a number over all ranks.
        """
        if not self.takes(step):
            return list(batches), []
        drawn = [
            self._sampler.draw(module, prompts_in(batch), batch[DRAWS].tolist(), step)
            for batch in batches
        ]
        total = over_ranks(sum(rollouts.targets for rollouts in drawn))
        moved = [
            {name: values.to(module.device) for name, values in rollouts.batch.items()}
            for rollouts in drawn
        ]
        named = [batch[DRAWS] for batch in batches]
        return [
            {**batch, DRAWS: draws, "step_targets": total}
            for batch, draws in zip(moved, named, strict=True)
        ], drawn


def prompts_in(batch: dict[str, Any]) -> list[list[int]]:
    """Return (B) token ids before the first target of each row of a batch."""
    first = batch["scored"].int().argmax(dim=1).tolist()
    pairs = zip(batch["input_ids"].tolist(), first, strict=True)
    return [row[: position + 1] for row, position in pairs]
