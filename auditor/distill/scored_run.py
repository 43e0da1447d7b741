"""When a run scores its student: before the first step, and after the last."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from auditor.canon import canonical_json
from auditor.case import atomic_write
from auditor.distill.aligned_fidelity import AlignedHoldout
from auditor.distill.fidelity import Holdout
from auditor.distill.metrics import MetricsLog
from auditor.distill.ranks import is_first_rank
from auditor.distill.run_folder import RunFolder, refused_writes
from auditor.distill.scoreboard import (
    null_scores,
    read_scores,
    scoreboard,
    student_scores,
    write_scores,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def keep_untouched(
    holdout: Holdout | AlignedHoldout | None, module: "PreTrainedModel", folder: RunFolder
) -> None:
    """Keep the scores of the student before training, for the end, beside the checkpoints.

    Does nothing where nothing is held out, or where the teacher has other tokens.

    Raises:
        StorageError: the disk is full.
    """
    if not isinstance(holdout, Holdout):
        return
    scores = student_scores(holdout, module)
    if is_first_rank():
        write_scores(folder.untouched, scores)


def record_scores(
    holdout: Holdout | AlignedHoldout | None,
    module: "PreTrainedModel",
    categories: Sequence[str],
    folder: RunFolder,
) -> None:
    """Write fidelity.json, and a row of metrics with the scores of the null students.

    Does nothing where nothing is held out, or where the teacher has other tokens.

    Raises:
        StorageError: the disk is full.
    """
    if not isinstance(holdout, Holdout):
        return
    board = scoreboard(holdout, module, read_scores(folder.untouched), categories)
    if not is_first_rank():
        return
    metrics = MetricsLog(folder.metrics)
    rows = metrics.rows()
    with refused_writes(folder.root):
        atomic_write(folder.fidelity, canonical_json(board) + b"\n")
        # A run that was killed after this row and resumed at its last step has it already.
        if not any("null_students" in row for row in rows):
            metrics.append({"step": rows[-1]["step"], "null_students": null_scores(board)})
