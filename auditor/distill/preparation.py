"""From a recipe to a student that can be trained: its data, and whoever teaches it."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.distill.aligning import aligned_teacher
from auditor.distill.capturing import Models, captured_teacher
from auditor.distill.cost import Stopwatch
from auditor.distill.data import AnswerFormat, TrainingData, own_prompts, training_data
from auditor.distill.documents import Sources
from auditor.distill.generate import BATCH_TOKENS, Generations
from auditor.distill.marking import MarkedRun, inserted, marked_run
from auditor.distill.packed import packer
from auditor.distill.ranks import is_first_rank, rank_device, wait_for_ranks
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder
from auditor.distill.served import is_served
from auditor.distill.served_lesson import Lesson, lesson, open_teacher
from auditor.distill.student import Student, build_student
from auditor.distill.subjects import Subjects
from auditor.distill.training import Pupil, check_length, frozen
from auditor.distill.unanswered import Unanswered
from auditor.models.loading import Loaded, load_transformers
from auditor.models.specifier import open_model
from auditor.progress import Progress
from auditor.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from auditor.distill.objective import Teacher
    from auditor.models.base import Model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """What a training starts with."""

    pupil: Pupil
    data: TrainingData
    answers: Sequence[Sample]
    """Of the teacher, or room for those of the student."""
    marked: MarkedRun | None
    served: Lesson | None
    """Answers with log-probabilities, of a teacher behind a server."""


def prepare(
    recipe: Recipe,
    folder: RunFolder,
    sources: Sources,
    subjects: Subjects,
    watch: Stopwatch,
    progress: Progress,
) -> Prepared:
    """Ask the teacher what is not on record yet, build the student, pack the data.

    Raises:
        RecipeError: what a model reads or writes does not fit the recipe.
        StorageError: the disk is full.
    """
    marked = marked_run(recipe, folder, subjects)
    answers = _answers(recipe, subjects, folder, sources, marked, progress)
    watch.lap("answers")
    teacher = _loaded_teacher(recipe)
    student = build_student(recipe, teacher, subjects.student_tokenizer)
    served = None
    if recipe.method.answers_itself:
        answers = Unanswered(recipe, sources, student)
    elif subjects.served_logits:
        served = lesson(recipe, folder, sources.prompts, answers, student)
        answers = served.answers
    more = inserted(marked)
    pack = packer(folder, student.tokenizer, more)
    form = _format(recipe, subjects, student)
    data = training_data(recipe.data, sources, answers, form, more, pack)
    pupil = _pupil(recipe, subjects, folder, data, (student, teacher, served), progress)
    return Prepared(pupil=pupil, data=data, answers=answers, marked=marked, served=served)


def _format(recipe: Recipe, subjects: Subjects, student: Student) -> AnswerFormat:
    as_they_are = recipe.method.answers_itself or subjects.same_prompts or subjects.served_logits
    return AnswerFormat(
        tokenizer=student.tokenizer, prompt_ids=None if as_they_are else own_prompts(student)
    )


def _pupil(
    recipe: Recipe,
    subjects: Subjects,
    folder: RunFolder,
    data: TrainingData,
    models: tuple[Student, Loaded | None, Lesson | None],
    progress: Progress,
) -> Pupil:
    """Return the student with whoever teaches it: a loaded model, a captured one, or nobody."""
    student, loaded, served = models
    captured, teacher = None, None
    longest = int(data.train.lengths.max())
    check_length("student", student.module, longest)

    def load() -> "tuple[Teacher, PreTrainedTokenizerFast]":
        opened = loaded or _load(recipe)
        if subjects.shares_tokens:
            check_length("teacher", opened.module, longest)
        vocabulary = subjects.vocabulary if subjects.shares_tokens else None
        return frozen(opened, vocabulary), opened.tokenizer

    if recipe.method.cache is not None:
        read = None if served is None else served.reader()
        found = Models(student=student, load=load, read=read)
        captured = captured_teacher(recipe, subjects, folder, data, found, progress)
        teacher = captured.teacher
    elif recipe.method.reads_teacher:
        teacher = load()[0]
    aligned = aligned_teacher(recipe, subjects, data)
    if aligned is not None and teacher is not None and teacher.module is not None:
        aligned.check_length(teacher.module, recipe.data.max_length)
    return Pupil(
        student=student,
        teacher=teacher,
        captured=captured,
        aligned=aligned,
        vocabulary=subjects.vocabulary,
    )


def _answers(
    recipe: Recipe,
    subjects: Subjects,
    folder: RunFolder,
    sources: Sources,
    marked: MarkedRun | None,
    progress: Progress,
) -> Sequence[Sample]:
    """Return the teacher's answers to the prompts, drawing by the first rank what is missing."""
    if not sources.prompts or recipe.teacher is None or recipe.method.answers_itself:
        return []
    answers = Generations(folder.generations, sources.prompts, recipe.data.sampling)
    if is_first_rank() and not answers.is_complete:
        teacher: Model
        if is_served(recipe):
            teacher = open_teacher(recipe, folder, subjects.vocabulary)
        else:
            teacher = open_model(recipe.subject(recipe.teacher), batch_tokens=BATCH_TOKENS)
        try:
            if marked is not None:
                marked.watermark(teacher)
            answers.draw(teacher, progress)
        finally:
            teacher.close()
            gc.collect()
    wait_for_ranks()
    return answers.read()


def _loaded_teacher(recipe: Recipe) -> Loaded | None:
    """Return the teacher's weights where logits or layers are needed; None elsewhere.

    With a cache they are loaded only if it lacks something.
    """
    asked = recipe.method.reads_teacher and recipe.method.cache is None
    return _load(recipe) if asked or recipe.student.shrink is not None else None


def _load(recipe: Recipe) -> Loaded:
    return load_transformers(recipe.subject(recipe.teacher or ""), device=rank_device())
