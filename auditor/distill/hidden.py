"""Hidden-state matching: a student's layers learn to predict layers of the teacher."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.distill.matching import Outputs, layers_of
from auditor.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTACHED = "distillation_projections"
"""Name of the projections among the student's submodules."""


class HiddenMatch:
    """Distance between projected student states and teacher states, layer by layer.

    ``cosine``: 1 - cos(W h_s, LN(h_t)), in [0, 2]. ``mse``: mean over the Dt dimensions of
    (LN(W h_s) - LN(h_t))^2. LN is the layer norm of each position without learned factors: teacher
    layers differ in scale by orders of magnitude, and only their directions are to be learned.
    The mean over the pairs of layers, summed over targets.

    W (Dt, Ds) is trained for each pair: wide teachers are not squeezed, narrow students predict
    them. Romero et al. 2014 (arXiv 1412.6550), equation 3, for a projection of the student.
    """

    def __init__(
        self,
        student: "PreTrainedModel",
        teacher: "PreTrainedModel",
        *,
        pairs: Sequence[tuple[int, int]] | None = None,
        distance: Literal["cosine", "mse"] = "cosine",
        seed: int = 0,
    ) -> None:
        """Match layers; equal widths start from the identity, others from seeded random rows.

        Args:
            student: in training; see `attached` for its projections.
            teacher: frozen, of the same tokenizer.
            pairs: (student layer, teacher layer), counted from 1; `uniform_pairs` if None. What a
                layer returns is matched, before the last norm of the model.
            distance: one of the two.
            seed: of the random projections.

        Raises:
            InputError: no pairs, a layer that a model does not have, or an unknown distance.
            AccessError: the layers of a model cannot be found.
        """
        if distance not in ("cosine", "mse"):
            raise InputError(f"unknown distance {distance!r}", hint="choose cosine or mse")
        mine, theirs = layers_of(student), layers_of(teacher)
        self.pairs = _checked(pairs, len(mine), len(theirs))
        """(student layer, teacher layer), counted from 1."""
        self._distance = distance
        self._student = {str(i): mine[i - 1] for i, _ in self.pairs}
        self._teacher = {str(j): theirs[j - 1] for _, j in self.pairs}
        generator = torch.Generator().manual_seed(seed)
        widths = (_width(student), _width(teacher))
        self.projections = nn.ModuleList(_projection(*widths, generator) for _ in self.pairs)
        self.projections.to(device=student.device, dtype=student.dtype)

    @property
    def student_taps(self) -> Mapping[str, nn.Module]:
        """The student's layers of the pairs."""
        return self._student

    @property
    def teacher_taps(self) -> Mapping[str, nn.Module]:
        """The teacher's layers of the pairs."""
        return self._teacher

    def total(self, student: Outputs, teacher: Outputs, batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch's targets of the mean distance of the pairs, a scalar."""
        scored = batch["scored"]
        sums = []
        for (i, j), projection in zip(self.pairs, self.projections, strict=True):
            weight: Tensor = projection.get_parameter("weight")
            mine = _states(student[str(i)])[scored]  # (N, Ds)
            theirs = _states(teacher[str(j)]).to(mine.device)[scored]  # (N, Dt)
            wide = torch.promote_types(mine.dtype, torch.float32)
            with torch.autocast(mine.device.type, enabled=False):
                predicted = functional.linear(mine.to(wide), weight.to(wide))
                sums.append(self._distances(predicted, theirs.detach().to(wide)).sum())
        return torch.stack(sums).mean()

    def _distances(self, predicted: Tensor, wanted: Tensor) -> Tensor:
        """Return (N,) distances of (N, Dt) states."""
        target = functional.layer_norm(wanted, wanted.shape[-1:])
        if self._distance == "cosine":
            return 1 - functional.cosine_similarity(predicted, target, dim=-1)
        return (functional.layer_norm(predicted, predicted.shape[-1:]) - target).square().mean(-1)


@contextlib.contextmanager
def attached(student: "PreTrainedModel", match: HiddenMatch) -> Iterator[None]:
    """Make the projections a part of the student inside the block.

    The optimizer, data parallel wrappers and checkpoints then treat them as its other parameters:
    a resumed run finds them in the checkpoint. Afterwards the student is what it was, so that the
    saved model holds nothing that its class does not know.
    """
    student.add_module(ATTACHED, match.projections)
    try:
        yield
    finally:
        delattr(student, ATTACHED)


def uniform_pairs(student: int, teacher: int) -> tuple[tuple[int, int], ...]:
    """Return each student layer with the teacher layer at the same share of the depth, from 1.

    The last meets the last. A half rounds up.
    """
    return tuple(
        (layer, max(1, (2 * layer * teacher + student) // (2 * student)))
        for layer in range(1, student + 1)
    )


def _checked(
    pairs: Sequence[tuple[int, int]] | None, student: int, teacher: int
) -> tuple[tuple[int, int], ...]:
    if pairs is None:
        return uniform_pairs(student, teacher)
    if not pairs:
        raise InputError("no layers to match", hint="name pairs of layers, or none for all")
    for i, j in pairs:
        if not (1 <= i <= student and 1 <= j <= teacher):
            raise InputError(
                f"there is no pair of layers ({i}, {j})",
                hint=f"the student has layers 1 to {student}, the teacher 1 to {teacher}",
            )
    return tuple((int(i), int(j)) for i, j in pairs)


def _width(module: "PreTrainedModel") -> int:
    return int(module.config.get_text_config().hidden_size)


def _projection(student: int, teacher: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.Linear(student, teacher, bias=False)
    with torch.no_grad():
        if student == teacher:
            nn.init.eye_(layer.weight)
        else:
            layer.weight.normal_(std=student**-0.5, generator=generator)
    return layer


def _states(output: Any) -> Tensor:
    """Return (B, L, D) of what a layer returned, alone or first of several."""
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states
