"""One training of an encoder: order, loss, evaluation, checkpoints, resume."""

from typing import Any

import torch

from auditor.distill.embedding_loss import EmbeddingLoss
from auditor.distill.embedding_run import Lesson, holdout_of
from auditor.distill.embedding_student import EncoderStudent
from auditor.distill.embedding_trainer import EncoderTrainer
from auditor.distill.ledger_steps import StepLedger
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder, refused_writes
from auditor.distill.trainer import Evaluation, RunRecord, training_arguments
from auditor.distill.training import prepare_resume, save_every
from auditor.errors import RecipeError
from auditor.models.quiet import quiet
from auditor.progress import Progress


def train_encoder(
    recipe: Recipe,
    student: EncoderStudent,
    lesson: Lesson,
    folder: RunFolder,
    progress: Progress,
) -> None:
    """Train ``student.module`` in place to the last step; continues from a complete checkpoint.

    Raises:
        RecipeError: it is of another method.
        UndefinedError: the loss became NaN or infinite; checkpoints are kept.
        StorageError: the disk is full; complete checkpoints are kept.
    """
    from sentence_transformers import SentenceTransformerTrainingArguments

    train, choice = recipe.train, recipe.method.embedding
    if choice is None:
        raise RecipeError("method embedding has no embedding part")
    holdout, metrics = holdout_of(recipe, lesson), MetricsLog(folder.metrics)
    resume_from = prepare_resume(folder, metrics)
    arguments: Any = training_arguments(
        train,
        folder.checkpoints,
        save_every=save_every(recipe),
        kind=SentenceTransformerTrainingArguments,
    )
    with (
        refused_writes(folder.root),
        quiet(),
        progress.task("train student", train.steps) as task,
    ):
        trainer = EncoderTrainer(
            student.module,
            arguments,
            texts=lesson.texts.train,
            plan=lesson.plan,
            loss=EmbeddingLoss(student.module, torch.from_numpy(lesson.train), choice),
        )
        measure = None if holdout is None else holdout.measure
        evaluation = Evaluation(measure=measure, every=train.eval_every)
        trainer.add_callback(RunRecord(trainer, metrics, evaluation, task))
        trainer.add_callback(
            StepLedger(folder.ledger, train, lesson.texts.data.train, lambda: trainer.step_targets)
        )
        trainer.train(resume_from_checkpoint=resume_from)
