"""The encoders of a recipe, checked before any of their weights is loaded."""

import importlib.util
from typing import TYPE_CHECKING

from auditor.distill.embedding_folder import (
    EncoderFolder,
    encoder_folder,
    encoder_reference,
    encoder_tokenizer,
)
from auditor.distill.permission import check_digest, require_permission
from auditor.distill.ranks import rank_count
from auditor.distill.recipe import Recipe
from auditor.distill.subjects import Subjects
from auditor.errors import MissingExtraError, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def check_encoders(recipe: Recipe, accept_unknown: str | None = None) -> Subjects:
    """Return the subjects of a recipe of method embedding; its permission is asked first.

    Raises:
        PermissionRefusedError: no permission, or one for other weights.
        SubjectError: a model cannot be read, or the teacher is no encoder.
        RecipeError: the student's width is not the teacher's and may not be changed; there are
            several processes; more layers are kept than the teacher has.
        MissingExtraError: a package that training needs is not installed.
    """
    from auditor.models.vocabulary import relation_of, vocabulary_of

    permission = require_permission(recipe, accept_unknown=accept_unknown)
    _refuse_setting()
    folder = teacher_folder(recipe)
    of_teacher = encoder_tokenizer(folder)
    teacher = encoder_reference(folder, of_teacher)
    if permission is not None:
        check_digest(permission, teacher.digest)
    origin = None
    if recipe.student.from_ is not None:
        origin = encoder_reference(encoder_folder(recipe, recipe.student.from_, plain=True))
    tokenizer = _student_tokenizer(recipe, of_teacher)
    _check_student(recipe, folder)
    vocabulary = vocabulary_of(tokenizer)
    return Subjects(
        permission=permission,
        teacher=teacher,
        origin=origin,
        student_tokenizer=tokenizer,
        relation=relation_of(vocabulary_of(of_teacher), vocabulary),
        vocabulary=vocabulary.size,
        # Both read texts, each with its own tokens.
        shares_tokens=False,
        same_prompts=False,
        served_logits=False,
    )


def teacher_folder(recipe: Recipe) -> EncoderFolder:
    """Return the teacher's folder. Its permission must have been asked.

    Raises:
        SubjectError: it is no encoder.
    """
    return encoder_folder(recipe, recipe.teacher or "")


def student_width(recipe: Recipe, teacher: EncoderFolder) -> int:
    """Return the width of the student's embedding before a projection.

    Raises:
        SubjectError: the model named by ``from`` is no encoder.
    """
    if recipe.student.init is not None:
        return recipe.student.init.hidden
    if recipe.student.from_ is not None:
        return encoder_folder(recipe, recipe.student.from_, plain=True).width
    return teacher.width


def needs_projection(recipe: Recipe, teacher: EncoderFolder) -> bool:
    """Say whether the student gets a linear layer to the teacher's width."""
    choice = recipe.method.embedding
    wide = choice is not None and choice.needs_width
    return wide and student_width(recipe, teacher) != teacher.width


def _refuse_setting() -> None:
    if importlib.util.find_spec("datasets") is None:
        raise MissingExtraError(
            "sentence-transformers trains with the package datasets, which is not installed",
            hint="pip install 'sentence-transformers[train]'",
        )
    if rank_count() > 1:
        raise RecipeError(
            f"method embedding trains in one process, and there are {rank_count()}",
            hint="start it without a launcher",
        )


def _check_student(recipe: Recipe, teacher: EncoderFolder) -> None:
    from auditor.distill.student import kept_layers

    if recipe.student.shrink is not None:
        kept_layers(teacher.layers, recipe.student.shrink.layers)
    choice = recipe.method.embedding
    if choice is not None and not choice.projection and needs_projection(recipe, teacher):
        raise RecipeError(
            f"the student's embeddings have {student_width(recipe, teacher)} numbers, the "
            f"teacher's {teacher.width}, and method.embedding.projection is false",
            hint=f"allow the projection, give the student a width of {teacher.width}, or use "
            "method.embedding.loss similarity",
        )


def _student_tokenizer(
    recipe: Recipe, of_teacher: "PreTrainedTokenizerFast"
) -> "PreTrainedTokenizerFast":
    from auditor.distill.student import student_tokenizer

    if recipe.student.from_ is not None:
        return encoder_tokenizer(encoder_folder(recipe, recipe.student.from_, plain=True))
    return student_tokenizer(recipe, of_teacher)
