"""`distill` runs a recipe to a student with its lineage; `forecast` says what it would do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write, locked
from auditor.distill.cost import Stopwatch, write_cost
from auditor.distill.data_record import data_record
from auditor.distill.documents import Sources, read_sources
from auditor.distill.forecast import forecast
from auditor.distill.launch import check_launch
from auditor.distill.ledger_entries import (
    record_answers,
    record_start,
    record_student,
    record_training,
)
from auditor.distill.lineage import run_environment
from auditor.distill.ranks import is_first_rank, wait_for_ranks
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder, read_lineage, refused_writes
from auditor.distill.subjects import Subjects, check_step, check_subjects
from auditor.progress import Progress, Silent

if TYPE_CHECKING:
    from auditor.distill.batches import BatchPlan
    from auditor.distill.sequences import Sequences
    from auditor.distill.student import Student

__all__ = ["distill", "forecast"]


def distill(
    recipe: Recipe,
    out: Path,
    *,
    progress: Progress | None = None,
    resume: bool = True,
    accept_unknown: str | None = None,
) -> dict[str, Any]:
    """Run `recipe` in the folder `out` and return its lineage; a finished run returns it again.

    Can be killed at any moment and called again: on a CPU the student's weights are the same bit
    for bit. Everything that can be refused is refused before anything is written.

    `accept_unknown` is a person's reason to go on where the permission's verdict is unknown.

    Raises:
        RecipeError: the recipe or its data cannot be used.
        PermissionRefusedError: the teacher may not be used; not one byte of it was read.
        VocabularyError, AccessError, SubjectError: the models do not fit the method.
        CaseError: `out` holds another run, or is in use.
        StorageError: the disk refused a write; finished work is kept.
        UndefinedError: the loss became NaN or infinite.
    """
    check_launch(recipe)
    check_step(recipe)
    folder = RunFolder(Path(out))
    sources = read_sources(recipe)
    inputs = {"recipe": recipe.digest, "data": sources.digests}
    done = folder.finished(inputs)
    if done is not None:
        return done
    subjects = check_subjects(recipe, accept_unknown)
    everything = {**inputs, **_subject_inputs(recipe, subjects)}
    folder.check(everything)
    with _owned(folder):
        if is_first_rank():
            folder.start(recipe, everything, resume=resume)
            record_start(folder, recipe, subjects, sources, run_environment())
        wait_for_ranks()
        if recipe.method.kind == "embedding":
            from auditor.distill.embedding_run import embed_run

            return embed_run(recipe, folder, sources, subjects, progress or Silent())
        return _run(recipe, folder, sources, subjects, progress or Silent())


def _subject_inputs(recipe: Recipe, subjects: Subjects) -> dict[str, Any]:
    permission, teacher, origin = subjects.permission, subjects.teacher, subjects.origin
    return {
        "permission": None if permission is None else permission.digest,
        "teacher": None if teacher is None else teacher.digest,
        "student_from": None if origin is None else origin.digest,
    }


@contextmanager
def _owned(folder: RunFolder) -> Iterator[None]:
    """Hold the folder for this process and the ranks beside it."""
    with locked(Case(folder.root)) if is_first_rank() else nullcontext():
        yield


def _run(
    recipe: Recipe, folder: RunFolder, sources: Sources, subjects: Subjects, progress: Progress
) -> dict[str, Any]:
    from auditor.distill.preparation import prepare
    from auditor.distill.training import train_student

    watch = Stopwatch(resumed=folder.checkpoints.is_dir() or folder.generations.is_file())
    ready = prepare(recipe, folder, sources, subjects, watch, progress)
    pupil, data = ready.pupil, ready.data
    if is_first_rank():
        record_answers(folder, recipe.data.sampling.samples)
        record_training(folder, recipe, sources, ready.answers, data)
    watch.lap("preparation and capture")
    plan = train_student(recipe, pupil, data, folder, progress)
    watch.lap("training")
    if is_first_rank():
        save_student(folder, pupil.student, recipe.train.save_dtype)
        trained = Trained(
            student=pupil.student,
            plan=plan,
            data=data_record(folder, data, pupil, ready.marked, ready.served),
            sequences=data.train,
            taught=None if pupil.aligned is None else pupil.aligned.taught(plan),
        )
        finish(recipe, subjects, folder, trained)
        watch.lap("records")
        write_cost(folder, watch)
    wait_for_ranks()
    return read_lineage(folder)


def save_student(folder: RunFolder, student: "Student", dtype: str) -> None:
    """Write RUN/student in one move, so that a half-written model is never taken for one."""
    import torch

    from auditor.models.quiet import quiet

    part = folder.student.with_name("student.part")
    for stale in (part, folder.student):
        if stale.exists():
            shutil.rmtree(stale)
    with refused_writes(folder.root), quiet():
        module: Any = student.module
        module.to(device="cpu", dtype=getattr(torch, dtype))
        module.save_pretrained(part)
        student.tokenizer.save_pretrained(part)
        part.replace(folder.student)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained student and what it was trained on."""

    student: "Student"
    plan: "BatchPlan"
    data: dict[str, Any]
    sequences: "Sequences"
    taught: int | None = None
    """Targets that a teacher of other tokens gave something for."""


def finish(recipe: Recipe, subjects: Subjects, folder: RunFolder, trained: Trained) -> None:
    """Write lineage.json, which declares the run finished, and drop scratch."""
    from auditor.distill import lineage as record
    from auditor.distill.metrics import MetricsLog
    from auditor.distill.transcript import transcript
    from auditor.models.specifier import identify

    metrics = MetricsLog(folder.metrics)
    # Before lineage.json, whose digests commit to it.
    content = transcript(recipe, trained.sequences, trained.student.tokenizer)
    atomic_write(folder.transcript, content)
    # The folder's own name for the student: the record stays true when the run is moved.
    student = replace(identify(f"local:{folder.student}"), spec="local:student")
    ledger = record_student(folder, student)
    outcome = record.Outcome(
        student=student,
        layer_map=trained.student.layer_map,
        dose=record.dose(trained.plan, recipe.method, metrics.tokens(), trained.taught),
        data=trained.data,
        results=record.results(metrics),
        files=record.file_digests(folder.root),
        ledger=ledger,
        environment=run_environment(),
    )
    atomic_write(folder.lineage, pretty_json(record.lineage(recipe, subjects, outcome)))
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    shutil.rmtree(folder.packed, ignore_errors=True)
