"""The part `marks` of a recipe, and the spec that is committed to before training."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from auditor.distill.recipe_part import Count, Part
from auditor.errors import InputError


class CanaryChoice(Part):
    """Sequences of which one is trained on and the others stay sealed."""

    sets: Count = 20
    """How many; `canaries: 20` is short for it."""
    siblings: Annotated[int, Field(ge=1, le=100_000)] = 99
    """m, sealed sequences of each set."""
    repetitions: Count = 8
    """How often each inserted sequence stands in the training part."""
    form: Literal["words", "digits"] = "words"
    """Of the random part."""
    length: Annotated[int, Field(ge=1, le=64)] = 8
    """Words or digits of the random part."""


class GreenListChoice(Part):
    """A watermark in the answers of a local teacher."""

    fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    """g, share of the vocabulary that is green after a context."""
    bias: Annotated[float, Field(gt=0.0, le=100.0)] = 2.0
    """d in nats, added to the logits of green tokens."""
    window: Annotated[int, Field(ge=1, le=16)] = 2
    """w, tokens of a context."""


class Marks(Part):
    """What is put into the training data, so that its use can be tested with exact p-values."""

    canaries: CanaryChoice | None = None
    green_list: GreenListChoice | None = None
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.001
    """Level of each of the two tests, fixed before training."""
    key: str | None = None
    """File of 32 bytes; one is generated if absent. Used for one run only."""

    @field_validator("canaries", mode="before")
    @classmethod
    def _number_of_sets(cls, value: Any) -> Any:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return {"sets": value} if whole else value

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.canaries is None and self.green_list is None:
            raise ValueError("give at least one of: canaries, green_list")
        if self.canaries is not None:
            _require_reach(self.canaries, self.alpha)
        return self


def marks_spec(marks: Marks, tokenizer_digest: str | None) -> dict[str, Any]:
    """Return what is committed to: all that is drawn from the key, and the test with its level.

    Args:
        marks: of the recipe; the name of the key's file is no part of it.
        tokenizer_digest: of the teacher, whose token ids the green lists are made of; None where
            there is no green list.

    Raises:
        ValueError: green lists without a tokenizer.
    """
    from auditor.distill.marks import SPEC_SCHEMA

    if marks.green_list is not None and tokenizer_digest is None:
        raise ValueError("green lists are made of the token ids of a tokenizer: give its digest")
    values = marks.model_dump(mode="json", exclude={"key"})
    if marks.canaries is not None:
        values["canaries"]["test"] = "rank-sum of losses, exact"
    if marks.green_list is not None:
        values["green_list"]["test"] = "binomial of different (w+1)-grams, exact"
        values["green_list"]["tokenizer_digest"] = tokenizer_digest
    return {"schema": SPEC_SCHEMA, **values}


def marks_contradiction(marks: Marks, kind: str, alpha: float, teacher_answers: bool) -> str | None:
    """Return which mark the method of a recipe would not pass on, as a sentence; None if none.

    Args:
        marks: of the recipe.
        kind: of the method.
        alpha: weight of the method's cross-entropy on the tokens themselves.
        teacher_answers: whether the teacher answers prompts, and not the student itself.
    """
    if marks.canaries is not None and not (kind in ("baseline", "sequence") or alpha > 0):
        return (
            f"marks.canaries are learnt by cross-entropy, of which method {kind} has none: "
            "set method.alpha above 0, or leave them out"
        )
    if marks.green_list is not None and not teacher_answers:
        return (
            "marks.green_list marks the teacher's answers, and there are none: give data.prompts "
            "or leave it out"
        )
    return None


def _require_reach(canaries: CanaryChoice, alpha: float) -> None:
    from auditor.distill.canaries import require_reach

    try:
        require_reach(canaries.sets, canaries.siblings, alpha)
    except InputError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error
