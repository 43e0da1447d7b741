"""One training from student to student: objective, evaluation, checkpoints, resume."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from auditor.distill.aligned_fidelity import AlignedHoldout
from auditor.distill.aligned_objective import AlignedObjective
from auditor.distill.batches import BatchPlan, MicroBatches, plan_steps
from auditor.distill.checkpoints import discard_others, newest_complete
from auditor.distill.data import TrainingData
from auditor.distill.fidelity import Holdout
from auditor.distill.ledger_entries import resume_ledger
from auditor.distill.ledger_steps import StepLedger
from auditor.distill.lineage import run_environment
from auditor.distill.lora import adapted
from auditor.distill.metrics import MetricsLog
from auditor.distill.objective import Teacher
from auditor.distill.ranks import is_first_rank, wait_for_ranks
from auditor.distill.recipe import Recipe
from auditor.distill.rollouts import Rollouts
from auditor.distill.run_folder import RunFolder, refused_writes
from auditor.distill.scored_run import keep_untouched, record_scores
from auditor.distill.sharding import in_training, own_copy, shard
from auditor.distill.student import Student
from auditor.distill.subjects import step_parts
from auditor.distill.supervision import supervision
from auditor.distill.trainer import Evaluation, RunRecord, StudentTrainer, training_arguments
from auditor.errors import RecipeError
from auditor.models.base import Head
from auditor.models.quiet import quiet
from auditor.models.unembedding import head_of
from auditor.models.vocabulary import vocabulary_of
from auditor.progress import Progress, Silent

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from auditor.distill.aligned import AlignedRows
    from auditor.distill.aligning import Aligned
    from auditor.distill.captured import CapturedTeacher
    from auditor.distill.capturing import Captured
    from auditor.models.loading import Loaded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pupil:
    """Who is trained, and by whom; without a teacher the data says it all."""

    student: Student
    teacher: Teacher | None
    """Without a module where it was captured."""
    captured: "Captured | None"
    aligned: "Aligned | None" = None
    """What student and teacher both spell, where they have other tokens."""
    vocabulary: int
    """Real token ids that both heads are cut to."""


def train_student(
    recipe: Recipe, pupil: Pupil, data: TrainingData, folder: RunFolder, progress: Progress
) -> BatchPlan:
    """Train ``pupil.student`` in place to the last step; continues from a complete checkpoint.

    Raises:
        RecipeError: batches are too small for the sequences.
        UndefinedError: the loss became NaN or infinite; checkpoints are kept.
        StorageError: the disk is full; complete checkpoints are kept.
    """
    train = recipe.train
    plan = _planned(recipe, data)
    student, metrics = pupil.student, MetricsLog(folder.metrics)
    form = head_of(student.module.train(False), pupil.vocabulary)
    aligned = _aligned_objective(recipe, pupil, form)
    holdout = _holdout(pupil, data, form, train.batch_tokens, aligned)
    resume_from = prepare_resume(folder, metrics)
    shown = progress if is_first_rank() else Silent()
    with (
        refused_writes(folder.root),
        quiet(),
        adapted(student.module, train.lora, train.seed),
        in_training(student.module) as module,
        supervision(recipe, replace(student, module=module), form, pupil.teacher, aligned) as asked,
        shown.task("train student", train.steps) as task,
    ):
        trainer = StudentTrainer(
            shard(module),
            training_arguments(train, folder.checkpoints, save_every=save_every(recipe)),
            sum_of_losses=asked.sum_of_losses,
            batches=MicroBatches(data.train, plan, _rows_of(pupil)),
            on_policy=asked.on_policy,
            record=_rollout_log(folder, student),
        )
        evaluation = Evaluation(
            measure=None if holdout is None else holdout.measure, every=train.eval_every
        )
        trainer.add_callback(RunRecord(trainer, metrics, evaluation, task))
        trainer.add_callback(
            StepLedger(folder.ledger, train, data.train, lambda: trainer.step_targets)
        )
        if resume_from is None:
            keep_untouched(holdout, module, folder)
        trainer.train(resume_from_checkpoint=resume_from)
    # Trainer switches it off for training, and the student's folder would keep that.
    student.module.config.use_cache = True
    record_scores(holdout, shard(own_copy(student.module)), data.categories, folder)
    return plan


def _planned(recipe: Recipe, data: TrainingData) -> BatchPlan:
    train = recipe.train
    return plan_steps(
        data.train,
        steps=train.steps,
        batch_tokens=train.batch_tokens,
        parts=step_parts(recipe),
        seed=train.seed,
    )


def _rollout_log(folder: RunFolder, student: Student) -> Callable[[Rollouts, int], None]:
    """Return what keeps the student's own answers of a step."""
    log = MetricsLog(folder.rollouts)

    def record(drawn: Rollouts, step: int) -> None:
        for row in drawn.rows(student.tokenizer, step):
            log.append(row)

    return record


def save_every(recipe: Recipe) -> int:
    """Return the steps between checkpoints."""
    return recipe.train.save_every or max(10, -(-recipe.train.steps // 10))


def prepare_resume(folder: RunFolder, metrics: MetricsLog) -> str | None:
    """Return the checkpoint to continue from; drop what was written after it."""
    found = newest_complete(folder.checkpoints)
    wait_for_ranks()
    if is_first_rank():
        discard_others(folder.checkpoints, None if found is None else found[0])
        with refused_writes(folder.root):
            for log in (metrics, MetricsLog(folder.rollouts)):
                log.keep_until(-1 if found is None else found[1])
            resume_ledger(folder, found, run_environment())
    wait_for_ranks()
    return None if found is None else str(found[0])


def frozen(loaded: "Loaded", vocabulary: int | None) -> Teacher:
    """Return a loaded teacher without gradients, its head cut to `vocabulary` ids.

    To its own real ones if None.
    """
    module = loaded.module.train(False)
    module.requires_grad_(False)
    size = vocabulary_of(loaded.tokenizer).size if vocabulary is None else vocabulary
    return Teacher(module=module, head=head_of(module, size))


def _rows_of(pupil: Pupil) -> "CapturedTeacher | AlignedRows | None":
    if pupil.aligned is not None:
        return pupil.aligned.train
    return None if pupil.captured is None else pupil.captured.train


def _aligned_objective(recipe: Recipe, pupil: Pupil, form: Head) -> AlignedObjective | None:
    if pupil.aligned is None:
        return None
    if pupil.teacher is None:
        raise RuntimeError("an alignment needs a teacher")
    return AlignedObjective(recipe.method, form, pupil.teacher, pupil.aligned.alignment)


def _holdout(
    pupil: Pupil,
    data: TrainingData,
    form: Head,
    batch_tokens: int,
    aligned: AlignedObjective | None,
) -> Holdout | AlignedHoldout | None:
    if data.holdout is None:
        return None
    if aligned is not None and pupil.aligned is not None and pupil.aligned.holdout is not None:
        return AlignedHoldout(
            data.holdout,
            pupil.aligned.holdout,
            form=form,
            objective=aligned,
            batch_tokens=batch_tokens,
        )
    captured = None if pupil.captured is None else pupil.captured.holdout
    return Holdout(
        data.holdout,
        form=form,
        teacher=pupil.teacher,
        captured=captured,
        batch_tokens=batch_tokens,
    )


def check_length(name: str, module: "PreTrainedModel", longest: int) -> None:
    """Refuse sequences that a model cannot read.

    Raises:
        RecipeError: `longest` tokens are more than the module's context.
    """
    limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and longest > limit:
        raise RecipeError(
            f"a sequence of {longest} tokens is longer than the {limit} that the {name} reads",
            hint=f"set data.max_length to {limit} or less",
        )
