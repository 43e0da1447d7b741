"""One distillation of an encoder: the teacher's embeddings, the training, the record of it."""

import shutil
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from auditor.canon import digest, file_digest, pretty_json
from auditor.case import atomic_write
from auditor.distill import lineage as record
from auditor.distill.batches import BatchPlan
from auditor.distill.documents import Sources
from auditor.distill.embedding_data import EncoderTexts, check_readable, encoder_texts
from auditor.distill.embedding_fidelity import EncoderHoldout, neighbours_of
from auditor.distill.embedding_folder import encoder_reference, read_folder
from auditor.distill.embedding_plan import encoder_plan
from auditor.distill.embedding_student import EncoderStudent, build_encoder
from auditor.distill.embedding_subjects import teacher_folder
from auditor.distill.embedding_targets import TeacherVectors, embedding_groups
from auditor.distill.ledger import Ledger
from auditor.distill.ledger_entries import record_student, record_training
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder, read_lineage, refused_writes
from auditor.distill.subjects import Subjects
from auditor.progress import Progress
from auditor.types import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What an encoder is to learn."""

    texts: EncoderTexts
    plan: BatchPlan
    train: Array
    """(N, E) float32: the teacher's embedding of each training text."""
    holdout: Array
    """(n, E) float32: of each held-out text."""


def embed_run(
    recipe: Recipe, folder: RunFolder, sources: Sources, subjects: Subjects, progress: Progress
) -> dict[str, Any]:
    """Run a recipe of method embedding in a folder that was started; return the lineage.

    Raises:
        RecipeError: nothing is left to train on; a text has no token; steps are too small.
        SubjectError: a model cannot be read.
        StorageError: the disk refused a write; finished work is kept.
        UndefinedError: an embedding or the loss became NaN or infinite.
    """
    from auditor.distill.embedding_training import train_encoder

    with refused_writes(folder.root):
        student = build_encoder(recipe, subjects.student_tokenizer)
    texts = encoder_texts(recipe.data, sources, subjects.student_tokenizer, student.max_tokens)
    check_readable(teacher_folder(recipe), texts)
    lesson = _lesson(recipe, folder, texts, progress)
    Ledger(folder.ledger).complete("embedding", embedding_groups(folder.embeddings))
    record_training(folder, recipe, sources, [], texts.data)
    train_encoder(recipe, student, lesson, folder, progress)
    _save(folder, student)
    _finish(recipe, subjects, folder, _Trained(student=student, lesson=lesson))
    return read_lineage(folder)


def _lesson(recipe: Recipe, folder: RunFolder, texts: EncoderTexts, progress: Progress) -> Lesson:
    """Return the teacher's embeddings of all texts; it is loaded where some are missing."""
    from auditor.distill.ranks import rank_device
    from auditor.models.encoder import open_encoder

    plan = encoder_plan(recipe, texts)
    kept = TeacherVectors(folder.embeddings, texts.all)
    if not kept.is_complete:
        source = teacher_folder(recipe)
        kept.draw(open_encoder(str(source.path), device=rank_device()), progress)
    found = kept.read()

    def rows(part: tuple[str, ...]) -> Array:
        given = [found[digest(text.encode())] for text in part]
        return np.stack(given) if given else np.zeros((0, 0), dtype=np.float32)

    return Lesson(texts=texts, plan=plan, train=rows(texts.train), holdout=rows(texts.holdout))


def holdout_of(recipe: Recipe, lesson: Lesson) -> EncoderHoldout | None:
    """Return what measures the student; None where nothing is held out."""
    choice = recipe.method.embedding
    if choice is None or not lesson.texts.holdout:
        return None
    return EncoderHoldout(lesson.texts.holdout, lesson.holdout, choice)


def _save(folder: RunFolder, student: EncoderStudent) -> None:
    """Write RUN/student in one move, so that a half-written model is never taken for one."""
    from auditor.models.quiet import quiet

    part = folder.student.with_name("student.part")
    for stale in (part, folder.student):
        if stale.exists():
            shutil.rmtree(stale)
    with refused_writes(folder.root), quiet():
        student.module.to("cpu").eval()
        student.module.save_pretrained(str(part), create_model_card=False)
        part.replace(folder.student)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trained:
    student: EncoderStudent
    lesson: Lesson


def _finish(recipe: Recipe, subjects: Subjects, folder: RunFolder, trained: _Trained) -> None:
    """Write lineage.json, which declares the run finished, and drop the checkpoints."""
    metrics = MetricsLog(folder.metrics)
    # The folder's own name for the student: the record stays true when the run is moved.
    student = replace(encoder_reference(read_folder(folder.student, "")), spec="local:student")
    ledger = record_student(folder, student)
    texts = trained.lesson.texts
    embeddings = {
        "texts": len({*texts.all}),
        "width": trained.lesson.train.shape[1],
        "digest": file_digest(folder.embeddings),
    }
    outcome = record.Outcome(
        student=student,
        layer_map=trained.student.layer_map,
        dose=record.dose(trained.lesson.plan, recipe.method, metrics.tokens()),
        data={**texts.data.record, "embeddings": embeddings},
        results=encoder_results(metrics, len(texts.holdout)),
        files=record.file_digests(folder.root),
        ledger=ledger,
        environment=record.run_environment(),
    )
    atomic_write(folder.lineage, pretty_json(record.lineage(recipe, subjects, outcome)))
    shutil.rmtree(folder.checkpoints, ignore_errors=True)


def encoder_results(metrics: MetricsLog, held_out: int) -> dict[str, Any]:
    """Return start and end of the training loss and of `fidelity` on the held-out texts.

    ``neighbours_by_chance``: what two unrelated embeddings would have. ``holdout`` is null where
    nothing was held out.
    """
    evaluations = metrics.holdout()
    losses = [row for row in metrics.rows() if "loss" in row]
    found: dict[str, Any] = {
        "steps": losses[-1]["step"],
        "loss": {"start": losses[0]["loss"], "end": losses[-1]["loss"]},
        "holdout": None,
    }
    if evaluations:
        k = neighbours_of(held_out)
        found["holdout"] = {
            "start": evaluations[0][1],
            "end": evaluations[-1][1],
            "neighbours_by_chance": k / (held_out - 1) if k else None,
        }
    return found
