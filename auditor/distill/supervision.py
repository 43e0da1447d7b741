"""From a recipe's method to what a step minimises, and to whose answers it trains on."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from auditor.distill.attention import AttentionMatch
from auditor.distill.hidden import HiddenMatch, attached
from auditor.distill.matching import MatchedObjective, Term
from auditor.distill.objective import Objective, Teacher
from auditor.distill.on_policy import OnPolicy
from auditor.distill.policy_gradient import PolicyGradient
from auditor.distill.recipe import Recipe
from auditor.distill.rollouts import OLD, Sampler
from auditor.distill.student import Student
from auditor.errors import RecipeError
from auditor.models.base import Head
from auditor.models.generation import end_tokens
from auditor.types import Decoding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SumOfLosses = Callable[["PreTrainedModel", dict[str, Any]], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Supervision:
    """What the trainer asks for at every step."""

    sum_of_losses: SumOfLosses
    on_policy: OnPolicy | None
    """Replaces the batches of its steps by the student's own answers."""


@contextlib.contextmanager
def supervision(
    recipe: Recipe,
    student: Student,
    form: Head,
    teacher: Teacher | None,
    aligned: SumOfLosses | None = None,
) -> Iterator[Supervision]:
    """Yield the supervision of a recipe; inside the block the student carries its projections.

    `aligned` is the loss where the teacher has other tokens.

    Raises:
        RecipeError: the policy gradient or a match needs a teacher that is loaded.
    """
    method = recipe.method
    loss: SumOfLosses = Objective(method, form, teacher) if aligned is None else aligned
    on_policy = None
    with contextlib.ExitStack() as stack:
        if method.on_policy is not None:
            on_policy = OnPolicy(_sampler(recipe, student, form), method.on_policy.share)
            if method.on_policy.loss == "policy-gradient":
                loss = _Switched(_policy_gradient(recipe, form, teacher), loss)
        terms = _terms(recipe, student, teacher, stack)
        if terms and teacher is not None:
            loss = MatchedObjective(loss, teacher, terms)
        yield Supervision(sum_of_losses=loss, on_policy=on_policy)


class _Switched:
    """The policy gradient on the student's own answers, another loss on given text."""

    def __init__(self, own: SumOfLosses, given: SumOfLosses) -> None:
        self._own, self._given = own, given

    def __call__(self, module: "PreTrainedModel", batch: dict[str, Any]) -> Tensor:
        return (self._own if OLD in batch else self._given)(module, batch)


def _sampler(recipe: Recipe, student: Student, form: Head) -> Sampler:
    choice = recipe.method.on_policy
    if choice is None:
        raise RecipeError("method.on_policy is missing")
    decoding = Decoding(
        temperature=choice.temperature, top_p=choice.top_p, max_new_tokens=choice.max_new_tokens
    )
    ends = end_tokens(student.module, student.tokenizer)
    return Sampler(form, decoding, ends=ends, seed=recipe.train.seed)


def _policy_gradient(recipe: Recipe, form: Head, teacher: Teacher | None) -> PolicyGradient:
    choice = recipe.method.on_policy
    if choice is None or teacher is None:
        raise RecipeError("the policy gradient needs a teacher that is loaded")
    return PolicyGradient(
        form, teacher, clip=choice.clip, clamp=choice.clamp, discount=choice.discount
    )


def _terms(
    recipe: Recipe, student: Student, teacher: Teacher | None, stack: contextlib.ExitStack
) -> list[Term]:
    """Return the matches of a recipe; `stack` takes the projections off again."""
    hidden, attention = recipe.method.hidden, recipe.method.attention
    if hidden is None and attention is None:
        return []
    if teacher is None or teacher.module is None:
        raise RecipeError("matching inner states needs a teacher that is loaded")
    terms = []
    if hidden is not None:
        match = HiddenMatch(
            student.module,
            teacher.module,
            pairs=hidden.pairs,
            distance=hidden.distance,
            seed=recipe.train.seed,
        )
        stack.enter_context(attached(student.module, match))
        terms.append(Term(match=match, weight=hidden.weight))
    if attention is not None:
        if attention.attention:
            # The fused kernels do not hand out their weights.
            for module in (student.module, teacher.module):
                module.set_attn_implementation("eager")
        found = AttentionMatch(
            student.module,
            teacher.module,
            attention=attention.attention,
            relations=attention.relations,
            heads=attention.heads,
        )
        terms.append(Term(match=found, weight=attention.weight))
    return terms
