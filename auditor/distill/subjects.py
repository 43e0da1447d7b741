"""The models of a recipe, checked before any of their weights is loaded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.distill.batches import check_budget
from auditor.distill.permission import Permission, check_digest, require_permission
from auditor.distill.ranks import rank_count
from auditor.distill.recipe import Recipe
from auditor.distill.served import check_served, is_served, served_logits
from auditor.errors import AccessError, VocabularyError
from auditor.types import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from auditor.distill.spans import SpanReader
    from auditor.models.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subjects:
    """Who teaches whom, under which permission."""

    permission: Permission | None
    teacher: ModelRef | None
    origin: ModelRef | None
    """The checkpoint that the student starts from, with ``student.from``."""
    student_tokenizer: "PreTrainedTokenizerFast"
    relation: str | None
    """How the two vocabularies relate; None where the teacher is absent or shows text only."""
    vocabulary: int
    """V: the student's real token ids; with a method on logits, those both models have."""
    same_prompts: bool
    """Teacher and student write chats with the same ids."""
    shares_tokens: bool
    """Ids mean the same to both."""
    served_logits: bool
    """The teacher is behind a server that shows the likeliest tokens of its answers."""
    alignment: str | None = None
    """How they are compared where they have different tokens, after ``auto`` was decided."""
    reader: "SpanReader | None" = None
    """Both tokenizers, with an alignment."""

    def vocabulary_json(self) -> dict[str, Any]:
        """Return how the two vocabularies relate, and by which alignment they meet."""
        met = {} if self.alignment is None else {"alignment": self.alignment}
        return {"relation": self.relation, "ids": self.vocabulary, **met}


_SAME_TOKENS = (
    "give the student the teacher's tokenizer (student.init.tokenizer: teacher), or use method "
    "sequence"
)
_OTHER_TOKENS = (
    "set method.alignment: matched-vocabulary, or give the student the teacher's tokenizer "
    "(student.init.tokenizer: teacher), or bytes with method.cache {scheme: topk, k: 64}, or use "
    "method sequence"
)


def step_parts(recipe: Recipe) -> int:
    """Return how many micro-batches a step is cut into, over accumulation and ranks."""
    return recipe.train.accumulate * rank_count()


def check_step(recipe: Recipe) -> None:
    """Refuse a step that is too small for its parts, before anything is read.

    Raises:
        RecipeError: ``train.batch_tokens`` cannot give each part a sequence of ``data.max_length``.
    """
    check_budget(
        recipe.data.max_length, batch_tokens=recipe.train.batch_tokens, parts=step_parts(recipe)
    )


def check_subjects(recipe: Recipe, accept_unknown: str | None = None) -> Subjects:
    """Return the subjects of a recipe; a teacher is touched only after its permission.

    `accept_unknown` as in `require_permission`.

    Raises:
        PermissionRefusedError: no permission, or one for other weights.
        AccessError: the teacher does not offer what the method needs.
        RecipeError: a teacher behind a server cannot be used as the recipe says.
        VocabularyError: the method needs one vocabulary, and there are two.
        SubjectError: a model cannot be read.
    """
    from auditor.distill.student import student_tokenizer
    from auditor.models.specifier import identify
    from auditor.models.vocabulary import vocabulary_of

    if recipe.method.kind == "embedding":
        from auditor.distill.embedding_subjects import check_encoders

        return check_encoders(recipe, accept_unknown)
    permission = require_permission(recipe, accept_unknown=accept_unknown)
    _refuse_text_only(recipe)
    teacher, of_teacher = _teacher(recipe)
    if teacher is not None and permission is not None:
        check_digest(permission, teacher.digest)
    origin = identify(recipe.subject(recipe.student.from_)) if recipe.student.from_ else None
    tokenizer = student_tokenizer(recipe, of_teacher)
    relation, vocabulary = None, vocabulary_of(tokenizer).size
    met = None
    if of_teacher is not None:
        relation, vocabulary = _fit(recipe, of_teacher, tokenizer)
        met = _alignment(recipe, of_teacher, tokenizer)
    return Subjects(
        permission=permission,
        teacher=teacher,
        origin=origin,
        student_tokenizer=tokenizer,
        relation=relation,
        vocabulary=vocabulary,
        shares_tokens=relation in ("identical", "padded"),
        served_logits=served_logits(recipe),
        same_prompts=relation in ("identical", "padded")
        and of_teacher is not None
        and of_teacher.chat_template == tokenizer.chat_template,
        alignment=None if met is None else met[0],
        reader=None if met is None else met[1],
    )


def _refuse_text_only(recipe: Recipe) -> None:
    from auditor.models.specifier import parse

    if is_served(recipe):
        check_served(recipe)
    if recipe.teacher is None or parse(recipe.subject(recipe.teacher)).scheme != "records":
        return
    if recipe.method.reads_teacher or recipe.student.shrink is not None:
        raise AccessError(
            f"{recipe.teacher} holds recorded text: no logits to learn from and no layers to keep",
            hint="use method sequence with student.init or student.from, or name the model itself",
        )


def _teacher(recipe: Recipe) -> "tuple[ModelRef | None, PreTrainedTokenizerFast | None]":
    """Return who the teacher is and, unless only its text is known, its tokenizer, read once."""
    from auditor.models.digest import reference
    from auditor.models.loading import load_tokenizer
    from auditor.models.source import locate
    from auditor.models.specifier import parse

    if recipe.teacher is None:
        return None, None
    specifier = parse(recipe.subject(recipe.teacher))
    if specifier.scheme in ("records", "openai"):
        return reference(specifier), None
    source = locate(specifier)
    tokenizer = load_tokenizer(source)
    return reference(specifier, source=source, tokenizer=tokenizer), tokenizer


def _fit(
    recipe: Recipe, of_teacher: "PreTrainedTokenizerFast", of_student: "PreTrainedTokenizerFast"
) -> tuple[str, int]:
    from auditor.models.vocabulary import relation_of, vocabulary_of

    teacher, student = vocabulary_of(of_teacher), vocabulary_of(of_student)
    relation = relation_of(teacher, student)
    if not recipe.method.reads_teacher:
        return relation, student.size
    if relation not in ("identical", "padded") and (
        recipe.method.alignment is not None or _reads_bytes(recipe, student)
    ):
        return relation, student.size
    if relation not in ("identical", "padded"):
        raise VocabularyError(
            f"method {recipe.method.kind} compares two models token by token, and the vocabularies "
            f"of teacher ({teacher.size} ids) and student ({student.size} ids) are {relation}",
            hint=_OTHER_TOKENS if recipe.method.kind == "logits" else _SAME_TOKENS,
        )
    return relation, min(teacher.size, student.size)


def _alignment(
    recipe: Recipe, of_teacher: "PreTrainedTokenizerFast", of_student: "PreTrainedTokenizerFast"
) -> "tuple[str, SpanReader] | None":
    """Return the alignment to use and the reader of both tokenizers; None without one."""
    if recipe.method.alignment is None:
        return None
    from auditor.distill.aligning import chosen_alignment

    return chosen_alignment(recipe, of_teacher, of_student)


def _reads_bytes(recipe: Recipe, student: "Vocabulary") -> bool:
    """Say whether the student can learn the teacher's next-byte distributions, from a cache."""
    from auditor.distill.byte_capture import byte_ids

    cache = recipe.method.cache
    return cache is not None and cache.scheme != "dense" and byte_ids(student) is not None
