"""From a recipe to a teacher of other tokens: which alignment, and how much lines up."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.aligned import AlignedRows
from auditor.distill.aligned_objective import Alignment
from auditor.distill.batches import BatchPlan, training_order
from auditor.distill.data import TrainingData
from auditor.distill.documents import Sources
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_alignment import DEFAULT
from auditor.distill.sequences import document_rows, sequences
from auditor.distill.spans import SpanReader
from auditor.distill.subjects import Subjects
from auditor.distill.vocabulary_match import match_tokens
from auditor.errors import RecipeError, VocabularyError
from auditor.models.vocabulary import Vocabulary, relation_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_PROBE = "The Café costs 3 € more.\n  Two spaces\tand a tab."
"""What a tokenizer that changes texts would change."""
_LOOKED_AT = 64
"""Documents that a dry run reads with both tokenizers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aligned:
    """A teacher of other tokens beside the student, and what both spell of the data."""

    alignment: Alignment
    train: AlignedRows
    holdout: AlignedRows | None
    record: dict[str, Any]
    """What a lineage says about the alignment."""

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence that the teacher reads."""
        parts = (self.train, self.holdout)
        return max(part.longest for part in parts if part is not None)

    def check_length(self, module: "PreTrainedModel", max_length: int) -> None:
        """Refuse sequences that the teacher writes with more tokens than it reads.

        Raises:
            RecipeError: they are too long; the hint says to which `max_length` to go down.
        """
        limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
        if limit is None or self.longest <= limit:
            return
        raise RecipeError(
            f"a sequence of the student is {self.longest} tokens of the teacher, who reads {limit}",
            hint=f"set data.max_length to {max_length * limit // self.longest} or less",
        )

    def taught(self, plan: BatchPlan) -> int:
        """Return the targets over all steps that the teacher said something about."""
        whole = self.alignment.name == "span-kl"
        count = self.train.covered if whole else self.train.starts
        return sum(count(int(row)) for members in plan.members for row in members)


def chosen_alignment(
    recipe: Recipe, of_teacher: "PreTrainedTokenizerFast", of_student: "PreTrainedTokenizerFast"
) -> tuple[str, SpanReader] | None:
    """Return the alignment of a recipe, with ``auto`` decided, and the reader of both tokenizers.

    None where the tokens are the same and need none.

    Raises:
        VocabularyError: the tokens are the same, but an alignment of different ones is named; the
            vocabularies cannot be matched; the teacher's tokenizer changes texts; or prompts would
            be shown in another form.
    """
    wanted = recipe.method.alignment
    if wanted is None:
        return None
    reader = SpanReader(student=of_student, teacher=of_teacher)
    relation = relation_of(reader.teacher_vocabulary, reader.student_vocabulary)
    if relation in ("identical", "padded"):
        if wanted == "auto":
            return None
        raise VocabularyError(
            f"the vocabularies of teacher and student are {relation}: token by token they can be "
            f"compared exactly, and by {wanted} only in part",
            hint="remove method.alignment, or set it to auto",
        )
    if recipe.data.prompts is not None and of_teacher.chat_template != of_student.chat_template:
        raise VocabularyError(
            "the student writes prompts by another chat template than the teacher, who would read "
            "them in a form that it does not know",
            hint="use data.text with method.alignment, or method sequence for prompts",
        )
    # Before any work: a teacher that writes in lower case, say, cannot read the data either.
    reader.read(of_student(_PROBE, add_special_tokens=False)["input_ids"], 1)
    name = DEFAULT if wanted == "auto" else wanted
    alignment_of(name, reader)
    return name, reader


def alignment_of(name: str, reader: SpanReader) -> Alignment:
    """Return an alignment by its name.

    Raises:
        VocabularyError: nothing is matched, or all of one side alone.
    """
    if name != "matched-vocabulary":
        return Alignment(name=name, categories=None)
    own, other = reader.student_vocabulary, reader.teacher_vocabulary
    return Alignment(name=name, categories=match_tokens(own, other, paired=reader.counterparts))


def aligned_teacher(recipe: Recipe, subjects: Subjects, data: TrainingData) -> Aligned | None:
    """Return what the recipe's data and the teacher's tokens have in common; None if not asked for.

    Raises:
        VocabularyError: the teacher's tokenizer changes a text.
    """
    if subjects.alignment is None or subjects.reader is None:
        return None
    train = recipe.train
    used = training_order(
        data.train.lengths, steps=train.steps, batch_tokens=train.batch_tokens, seed=train.seed
    )
    rows = np.unique(np.concatenate(used)).tolist()
    read = AlignedRows(subjects.reader, data.train, rows)
    held = None
    if data.holdout is not None:
        held = AlignedRows(subjects.reader, data.holdout, range(len(data.holdout)))
    return Aligned(
        alignment=alignment_of(subjects.alignment, subjects.reader),
        train=read,
        holdout=held,
        record={
            **vocabularies_met(subjects),
            "train": read.coverage(),
            "holdout": None if held is None else held.coverage(),
        },
    )


def alignment_forecast(
    recipe: Recipe, subjects: Subjects, sources: Sources
) -> dict[str, Any] | None:
    """Return which alignment a run would use, and how much lines up in the first documents.

    None without an alignment; ``sample`` is None where no document is given.
    """
    if subjects.reader is None:
        return None
    rows = document_rows(
        sources.documents[:_LOOKED_AT],
        subjects.student_tokenizer,
        recipe.data.max_length,
        packing=recipe.data.packing,
    )
    store = sequences(rows) if rows else None
    sample = None
    if store is not None:
        sample = AlignedRows(subjects.reader, store, range(len(store))).coverage()
    return {**vocabularies_met(subjects), "sample": sample}


def vocabularies_met(subjects: Subjects) -> dict[str, Any]:
    """Return the alignment's name and how many text tokens of each side the other has too."""
    if subjects.reader is None:
        raise RuntimeError("no alignment was asked for")
    own, other = subjects.reader.student_vocabulary, subjects.reader.teacher_vocabulary
    mine, yours = _texts(own), _texts(other)
    return {
        "name": subjects.alignment,
        "tokens_of_both": len(mine & yours),
        "student_tokens": len(mine),
        "teacher_tokens": len(yours),
        "special_pairs": [list(pair) for pair in subjects.reader.counterparts],
        "special_without_counterpart": len(own.special) - len(subjects.reader.counterparts),
    }


def _texts(vocabulary: Vocabulary) -> set[bytes]:
    return {
        piece
        for index, piece in enumerate(vocabulary.pieces)
        if piece and index not in vocabulary.special
    }
