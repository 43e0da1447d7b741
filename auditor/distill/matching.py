"""A loss plus terms on the inner states of student and teacher, from the same forward passes."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from auditor.distill.objective import Teacher, teacher_states
from auditor.errors import AccessError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Outputs = Mapping[str, Any]
"""What submodules returned in a forward pass, by the name of the tap."""


class Match(Protocol):
    """A distance between inner states of two models at the scored positions of a batch."""

    @property
    def student_taps(self) -> Mapping[str, nn.Module]:
        """Submodules of the student whose outputs are needed."""
        ...

    @property
    def teacher_taps(self) -> Mapping[str, nn.Module]:
        """Those of the teacher."""
        ...

    def total(self, student: Outputs, teacher: Outputs, batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch's targets, a scalar."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """A match and its weight in the loss."""

    match: Match
    weight: float


class MatchedObjective:
    """Callable ``(student, batch) -> base loss + weighted matches``, summed over targets.

    Hooks read the inner states while the base loss runs its models; a teacher that the base loss
    does not ask is run once for the matches.
    """

    def __init__(
        self,
        base: Callable[["PreTrainedModel", dict[str, Any]], Tensor],
        teacher: Teacher,
        terms: Sequence[Term],
    ) -> None:
        """Add the terms to a base loss.

        Raises:
            AccessError: the teacher was captured: nobody kept its inner states.
        """
        if teacher.module is None:
            raise AccessError(
                "a captured teacher has no inner states to match",
                hint="remove method.cache, so that the teacher is loaded",
            )
        self._base = base
        self._teacher = teacher
        self._terms = tuple(terms)

    def __call__(self, module: "PreTrainedModel", batch: dict[str, Any]) -> Tensor:
        """Return the sum over the batch's targets, in nats and the matches' own units."""
        with contextlib.ExitStack() as stack:
            taken = [
                (
                    term,
                    stack.enter_context(tapped(term.match.student_taps)),
                    stack.enter_context(tapped(term.match.teacher_taps)),
                )
                for term in self._terms
            ]
            total = self._base(module, batch)
            if not all(of_teacher for _, _, of_teacher in taken):
                teacher_states(self._teacher, batch)
        for term, of_student, of_teacher in taken:
            total = total + term.match.total(of_student, of_teacher, batch) * term.weight
        return total


@contextlib.contextmanager
def tapped(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Yield a mapping that fills with what the modules return, inside the block; the last wins."""
    outputs: dict[str, Any] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs[name] = output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def layers_of(module: "PreTrainedModel") -> nn.ModuleList:
    """Return the layers of a model, first to last.

    Raises:
        AccessError: they are not one list, as long as the configuration says.
    """
    count = module.config.get_text_config().num_hidden_layers
    for part in module.base_model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return part
    raise AccessError(
        f"the {count} layers of {type(module).__name__} are not a plain list",
        hint="use method logits, which reads the final hidden states alone",
    )
