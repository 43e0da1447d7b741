"""What a step minimises: the method's loss summed over targets, from hidden states and heads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from auditor.distill.captured import STATES, targets_of
from auditor.distill.recipe_method import Method
from auditor.kernels import distillation_loss
from auditor.models.base import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from auditor.kernels.losses import DistillationLoss

_BETA = {"jsd": 0.5, "skew-kl": 0.1, "skew-rkl": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """A frozen teacher: its module in evaluation mode and its head, cut to the real vocabulary."""

    module: "PreTrainedModel | None"
    """None where its hidden states were captured: batches carry them."""
    head: Head


def mixing_weight(method: Method) -> float:
    """Return beta of a method's divergence."""
    return _BETA.get(method.divergence, 0.5) if method.beta is None else method.beta


def scored_states(module: "PreTrainedModel", batch: dict[str, Any]) -> torch.Tensor:
    """Return (N, D) final hidden states at the N scored positions of a batch."""
    states = module.base_model(
        input_ids=batch["input_ids"],
        attention_mask=batch.get("attention_mask"),
        use_cache=False,
    ).last_hidden_state  # (B, L, D)
    return states[batch["scored"]]


def teacher_states(teacher: Teacher, batch: dict[str, Any]) -> torch.Tensor:
    """Return (N, Dt) states of the teacher at the scored positions, no gradient.

    Those that the batch carries, or else computed, on the teacher's device.
    """
    if STATES in batch:
        captured: torch.Tensor = batch[STATES]
        return captured
    if teacher.module is None:
        raise RuntimeError("neither a teacher nor what was captured of it")
    device = teacher.module.device
    moved = {
        name: value.to(device) for name, value in batch.items() if isinstance(value, torch.Tensor)
    }
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        return scored_states(teacher.module, moved)


def cross_entropy(
    module: "PreTrainedModel", states: torch.Tensor, labels: torch.Tensor, form: Head
) -> "DistillationLoss":
    """Return the cross-entropy of a student's states (N, D) on labels (N,), by its live head."""
    weight, bias = trained_head(module, form.vocabulary)
    return distillation_loss(
        states,
        weight,
        divergence="cross-entropy",
        labels=labels,
        bias=(bias, None),
        softcap=(form.softcap, None),
        scale=(form.scale, 1.0),
        chunk=chunk_of(states.device),
        once=True,
    )


class Objective:
    """Callable ``(student, batch) -> sum of losses``; gradients reach backbone and head.

    Both heads are read at the real token ids only: padded rows carry no probability and get no
    gradient. `form` says how the student's head turns states into logits; its weight and bias are
    read from the live module at every call, so that a tied embedding gets both its gradients.
    """

    def __init__(self, method: Method, form: Head, teacher: Teacher | None = None) -> None:
        self._method = method
        self._form = form
        self._teacher = teacher

    def __call__(self, module: "PreTrainedModel", batch: dict[str, Any]) -> torch.Tensor:
        """Return the sum over the batch's targets, in nats, a scalar."""
        states = scored_states(module, batch)  # (N, Ds)
        labels = batch["targets"][batch["scored"]]  # (N,)
        # Losses are computed in float32 whatever the precision of the forward pass.
        with torch.autocast(states.device.type, enabled=False):
            if self._method.kind not in ("logits", "on-policy"):
                return cross_entropy(module, states, labels, self._form).total
            alpha = self._method.alpha
            total = self._divergence(module, states, batch) * (1.0 - alpha)
            if alpha > 0:
                total = total + cross_entropy(module, states, labels, self._form).total * alpha
            return total

    def _divergence(
        self, module: "PreTrainedModel", states: torch.Tensor, batch: dict[str, Any]
    ) -> torch.Tensor:
        weight, bias = trained_head(module, self._form.vocabulary)
        method = self._method
        targets = targets_of(batch, method.temperature)
        if targets is None:
            total = self._dense(states, (weight, bias), batch)
        else:
            total = distillation_loss(
                states,
                weight,
                divergence=method.divergence,
                temperature=method.temperature,
                targets=targets,
                bias=(bias, None),
                softcap=(self._form.softcap, None),
                scale=(self._form.scale, 1.0),
                chunk=chunk_of(states.device),
                once=True,
            ).total
        return total * method.temperature**2 if method.t_squared else total

    def _dense(
        self,
        states: torch.Tensor,
        own: tuple[torch.Tensor, torch.Tensor | None],
        batch: dict[str, Any],
    ) -> torch.Tensor:
        """Return the sum of divergences from the teacher's whole distribution."""
        if self._teacher is None:
            raise RuntimeError("a divergence needs a teacher")
        head, method, device = self._teacher.head, self._method, states.device
        return distillation_loss(
            states,
            own[0],
            teacher_states(self._teacher, batch).to(device),
            head.weight.to(device),
            divergence=method.divergence,
            beta=mixing_weight(method),
            temperature=method.temperature,
            normalise=method.normalise,
            bias=(own[1], head.bias if head.bias is None else head.bias.to(device)),
            softcap=(self._form.softcap, head.softcap),
            scale=(self._form.scale, head.scale),
            chunk=chunk_of(device),
            once=True,
        ).total


def chunk_of(device: torch.device) -> int:
    """Return how many positions have logits at once: few spare memory, a GPU needs many."""
    return 2048 if device.type == "cuda" else 128


def trained_head(
    module: "PreTrainedModel", vocabulary: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return `live_head` for a loss that is differentiated in training.

    autograd keeps the gradient of a tied head until that of the table of embeddings, which comes
    last, is there too: twice the largest tensor of a small model. Here it goes into ``grad`` at
    once. Not among several ranks, whose gradients are exchanged when autograd has summed them.
    """
    opened: Any = module
    weight = opened.get_output_embeddings().weight
    tied = weight is opened.get_input_embeddings().weight
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    if not (tied and alone and weight.requires_grad and weight.is_leaf):
        return live_head(module, vocabulary)
    leaf = weight.detach().requires_grad_()
    leaf.register_post_accumulate_grad_hook(_into(weight))
    bias = live_head(module, vocabulary)[1]
    return (leaf if leaf.shape[0] == vocabulary else leaf[:vocabulary]), bias


def _into(weight: torch.Tensor) -> Callable[[torch.Tensor], None]:
    """Return a hook that moves the gradient of another view of a weight to the weight itself."""

    def move(leaf: torch.Tensor) -> None:
        found, leaf.grad = leaf.grad, None
        weight.grad = found if weight.grad is None or found is None else weight.grad.add_(found)

    return move


def live_head(
    module: "PreTrainedModel", vocabulary: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (V, D) weight and (V,) bias of the unembedding, cut to V rows, with gradients."""
    opened: Any = module
    layer = opened.get_output_embeddings()
    weight, bias = layer.weight, getattr(layer, "bias", None)
    if weight.shape[0] == vocabulary:  # a slice would cost a copy of the gradient
        return weight, bias
    return weight[:vocabulary], None if bias is None else bias[:vocabulary]
