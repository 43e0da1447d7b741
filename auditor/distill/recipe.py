"""The distillation recipe: what a YAML file may say, checked before any work."""

from pathlib import Path
from typing import Any, Self

from pydantic import PrivateAttr, field_validator, model_validator

from auditor.canon import json_digest
from auditor.distill.embedding_recipe import embedding_rules
from auditor.distill.recipe_alignment import alignment_rules
from auditor.distill.recipe_data import Data
from auditor.distill.recipe_errors import recipe_error
from auditor.distill.recipe_marks import Marks, marks_contradiction
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_part import Part
from auditor.distill.recipe_student import Student
from auditor.distill.recipe_train import Train
from auditor.errors import RecipeError
from auditor.models.specifier import beside


class Recipe(Part):
    """One distillation run."""

    teacher: str | None = None
    student: Student
    data: Data
    method: Method
    train: Train
    permission: str | None = None
    marks: Marks | None = None
    _folder: Path = PrivateAttr(default_factory=Path)

    @field_validator("teacher", mode="before")
    @classmethod
    def _no_teacher(cls, value: Any) -> Any:
        return None if value == "none" else value

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        problem = _contradiction(self)
        if problem:
            raise ValueError(problem)
        return self

    def path(self, name: str) -> Path:
        """Return a file named in the recipe; relative names start at the recipe's folder."""
        return self._folder / name

    def subject(self, spec: str) -> str:
        """Return a specifier of the recipe whose relative path starts at the recipe's folder."""
        return beside(spec, self._folder)

    def as_json(self) -> dict[str, Any]:
        """Return the recipe with every default filled in."""
        values = self.model_dump(mode="json", by_alias=True)
        # Keys that recipes did not have before: where they say nothing, digests stay equal.
        for key in ("cache", "on_policy", "hidden", "attention", "embedding"):
            if values["method"][key] is None:
                del values["method"][key]
        if self.train.lora is None:
            del values["train"]["lora"]
        if self.marks is None:
            del values["marks"]
        else:  # where the key's file lies is no part of what is done
            del values["marks"]["key"]
        return values

    @property
    def digest(self) -> str:
        """Digest of what the recipe says. Files it names have digests of their own."""
        return json_digest(self.as_json())


def _contradiction(recipe: Recipe) -> str | None:
    """Return what does not go together, as a sentence; None where all does."""
    kind, data, student = recipe.method.kind, recipe.data, recipe.student
    rules = {
        "method baseline has no teacher: remove the key teacher": kind == "baseline"
        and recipe.teacher is not None,
        f"method {kind} needs a teacher": kind != "baseline" and recipe.teacher is None,
        "student.shrink keeps layers of a teacher, and method baseline has none": kind == "baseline"
        and student.shrink is not None,
        "student.init.tokenizer is 'teacher' and there is no teacher: give bytes or a model": (
            recipe.teacher is None
            and student.init is not None
            and student.init.tokenizer == "teacher"
        ),
        "method sequence trains on the teacher's answers: give data.prompts": kind == "sequence"
        and data.prompts is None,
        "method baseline has nobody to answer data.prompts: give data.text or data.corpus": (
            kind == "baseline" and data.prompts is not None
        ),
        "data.max_length is longer than student.init.max_length": student.init is not None
        and data.max_length > student.init.max_length,
        **_method_rules(recipe),
        **embedding_rules(recipe),
        **_marks_rule(recipe),
    }
    return next((sentence for sentence, broken in rules.items() if broken), None)


def _method_rules(recipe: Recipe) -> dict[str, bool]:
    """Return what may not go together in `method`, as sentences, and whether it is so."""
    method, kind = recipe.method, recipe.method.kind
    cache = method.cache
    matched = method.hidden is not None or method.attention is not None
    return {
        f"method {kind} reads no logits that method.cache could hold": kind != "logits"
        and cache is not None,
        f"of {method.divergence} a part of the distribution gives no unbiased estimate: "
        "use forward-kl, or method.cache.scheme: dense": cache is not None
        and cache.scheme != "dense"
        and method.divergence != "forward-kl",
        "method on-policy answers prompts: give data.prompts": kind == "on-policy"
        and recipe.data.prompts is None,
        "method.on_policy is for method on-policy": kind != "on-policy"
        and method.on_policy is not None,
        "method hidden matches inner states: give method.hidden or method.attention": (
            kind == "hidden" and not matched
        ),
        f"method {kind} reads no inner states: method.hidden and method.attention are for "
        "logits and hidden": kind not in ("logits", "hidden") and matched,
        "a captured teacher has no inner states: remove method.cache, or method.hidden and "
        "method.attention": cache is not None and matched,
        f"method {kind} has one loss: method.alpha is for logits": kind != "logits"
        and method.alpha > 0,
        **alignment_rules(method),
    }


def _marks_rule(recipe: Recipe) -> dict[str, bool]:
    if recipe.marks is None:
        return {}
    method = recipe.method
    teacher_answers = recipe.data.prompts is not None and not method.answers_itself
    found = marks_contradiction(recipe.marks, method.kind, method.alpha, teacher_answers)
    return {} if found is None else {found: True}


def recipe_from(values: Any, folder: Path = Path()) -> Recipe:
    """Return the recipe that a mapping describes; relative paths start at `folder`.

    Raises:
        RecipeError: an unknown key, a missing or wrong value, a contradiction.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise RecipeError(
            f"a recipe is a mapping, not {type(values).__name__}",
            hint="start with the keys student, data, method, train",
        )
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise recipe_error(error, Recipe) from error
    recipe._folder = folder
    return recipe


def load_recipe(path: Path) -> Recipe:
    """Return the recipe of a YAML file.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or is not a recipe.
    """
    from auditor.distill.recipe_errors import read_yaml

    return recipe_from(read_yaml(path), Path(path).resolve().parent)
