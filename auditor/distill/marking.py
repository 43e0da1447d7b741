"""A run's marks: the key it has, what was committed to, and what goes into the training data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.distill.canaries import canary_documents, canary_sets
from auditor.distill.ledger import Ledger
from auditor.distill.marks import generate_key, read_key, read_reveal, write_key, write_reveal
from auditor.distill.ranks import is_first_rank, wait_for_ranks
from auditor.distill.recipe import Recipe
from auditor.distill.recipe_marks import Marks, marks_spec
from auditor.distill.run_folder import RunFolder
from auditor.distill.subjects import Subjects
from auditor.errors import AccessError, InputError

if TYPE_CHECKING:
    from auditor.models.base import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedRun:
    """The marks of one run."""

    marks: Marks
    key: bytes
    commitment: str

    def documents(self) -> list[str]:
        """Return the canaries to train on, each as often as the recipe says."""
        choice = self.marks.canaries
        if choice is None:
            return []
        sets = canary_sets(
            self.key,
            choice.sets,
            siblings=choice.siblings,
            form=choice.form,
            length=choice.length,
        )
        return canary_documents(sets, choice.repetitions)

    def watermark(self, teacher: "Model") -> None:
        """Let a local teacher's answers prefer green tokens, where the recipe has a green list.

        Raises:
            AccessError: its logits cannot be reached.
        """
        choice = self.marks.green_list
        if choice is None:
            return
        from auditor.distill.green_list import GreenListProcessor
        from auditor.kernels.green_tokens import GreenHash
        from auditor.models.transformers_model import TransformersModel

        if not isinstance(teacher, TransformersModel):
            raise AccessError(
                "marks.green_list raises logits, and this teacher shows none",
                hint="use a local teacher, or leave marks.green_list out",
            )
        lists = GreenHash(self.key, window=choice.window, fraction=choice.fraction)
        teacher.processors = (GreenListProcessor(lists, choice.bias),)

    def record(self) -> dict[str, Any]:
        """Return what a lineage says: that there are marks, and nothing by which to find them."""
        return {
            "commitment": self.commitment,
            "alpha": self.marks.alpha,
            "canaries": self.marks.canaries is not None,
            "green_list": self.marks.green_list is not None,
        }


def marked_run(recipe: Recipe, folder: RunFolder, subjects: Subjects) -> MarkedRun | None:
    """Return the marks of a run, committed to in its ledger; None where the recipe has none.

    To be called by every rank before anything is drawn or trained.

    Raises:
        InputError: the key's file cannot be read or has another length.
        CaseError: the ledger of this run holds another commitment.
        StorageError: the disk is full.
    """
    if recipe.marks is None:
        return None
    given = None if recipe.marks.key is None else recipe.path(recipe.marks.key)
    if is_first_rank() and given is None and not folder.marks_key.is_file():
        write_key(folder.marks_key, generate_key())
    wait_for_ranks()
    key = read_key(given or folder.marks_key)
    teacher = subjects.teacher
    spec = marks_spec(recipe.marks, None if teacher is None else teacher.tokenizer_digest)
    marked = MarkedRun(marks=recipe.marks, key=key, commitment=_committed(folder, key, spec))
    if is_first_rank():
        Ledger(folder.ledger).complete("marks", [marked.record()])
    wait_for_ranks()
    return marked


def revealed_marks(recipe: Recipe, folder: RunFolder, committed: str) -> MarkedRun:
    """Return the marks of a finished run, from the file that reveals them.

    Raises:
        InputError: there is none, or it does not fit the commitment.
    """
    if recipe.marks is None:
        raise InputError("the recipe has no key marks", hint="give the recipe that was run")
    shown = read_reveal(folder.marks_reveal, committed)
    return MarkedRun(marks=recipe.marks, key=shown.key, commitment=committed)


def _committed(folder: RunFolder, key: bytes, spec: dict[str, Any]) -> str:
    from auditor.distill.marks import commitment

    if is_first_rank():
        return write_reveal(folder.marks_reveal, key, spec)
    return commitment(key, spec)


def inserted(marked: MarkedRun | None) -> Sequence[str]:
    """Return the documents that marks add to the training part."""
    return () if marked is None else marked.documents()
