"""A suspect of a scan that cannot be loaded, or asked: it is put down, and the others go on."""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from auditor.canon import json_digest
from auditor.case import Case, locked
from auditor.collect.collection import Collection
from auditor.collect.custody import Custody
from auditor.collect.shelf import Shelf
from auditor.collect.subject import collect_subject, read_stage, remove_rows
from auditor.errors import InputError, MissingExtraError, ServerError
from auditor.failed import (
    AMENDED,
    FILE,
    SCHEMA,
    Subject,
    failed_names,
    goes_on_without,
    replaced_subjects,
)
from auditor.models.base import Model

Failure = dict[str, str | None]
"""``{"error", "hint"}``."""
_NO_ROOM = "use a machine or a device with more memory, or a smaller --dtype"


def lent(
    stack: ExitStack, shelf: Shelf, plan: dict[str, Any], subjects: list[Subject]
) -> Model | Failure:
    """Return the one model of some subjects, lent until the stack closes; or why it cannot be.

    Raises:
        InputError, MissingExtraError, ServerError, MemoryError: it cannot be had, and the run does
            not go on without it.
    """
    try:
        return stack.enter_context(shelf.use(*subjects))
    except (InputError, MissingExtraError, ServerError, MemoryError, RuntimeError) as error:
        if not goes_on_without(plan, subjects) or not _of_the_model(error):
            raise
        return failure_of(error)


def _of_the_model(error: Exception) -> bool:
    # torch's own error of a full device is a RuntimeError; others are faults of the program.
    return not isinstance(error, RuntimeError) or type(error).__name__ == "OutOfMemoryError"


def failure_of(error: Exception) -> Failure:
    """Return the message and the remedy of an error."""
    if isinstance(error, (InputError, MissingExtraError, ServerError)):
        return {"error": error.message, "hint": error.hint}
    return {"error": "there is not enough memory to load it", "hint": _NO_ROOM}


class Failures:
    """The suspects that one collecting run could not load, or not ask to the end."""

    def __init__(self, run: Collection) -> None:
        self._run = run
        self._before = failed_names(run.case)
        self._found: dict[str, Failure] = {}

    def collect(self, model: Model, subjects: list[Subject]) -> None:
        """Ask one model everything, for each of the subjects that it is.

        Raises:
            ServerError: it goes on failing, and the run does not go on without it.
            BudgetError, StorageError: as `collect_subject`.
        """
        run = self._run
        try:
            for subject in subjects:
                run.custody.log("subject", name=subject["name"], digest=model.ref.digest)
                collect_subject(run, model, subject)
        except ServerError as error:
            if not goes_on_without(run.plan, subjects):
                raise
            unasked = [s for s in subjects if read_stage(run.case, s["name"]) is None]
            self.add(unasked, failure_of(error))

    def add(self, subjects: list[Subject], failure: Failure) -> None:
        """Put some subjects down as failed."""
        for subject in subjects:
            self._run.custody.log("failed", name=subject["name"], **failure)
            self._found[subject["name"]] = failure

    def still(self, shelf: Shelf, pending: dict[str, list[Subject]]) -> dict[str, list[Subject]]:
        """Return what is pending without the suspects that failed before and do so again.

        They are tried first: only what can be loaded is worth the reference's work once more.
        """
        for spec, subjects in list(pending.items()):
            if all(subject["name"] in self._before for subject in subjects):
                with ExitStack() as stack:
                    found = lent(stack, shelf, self._run.plan, subjects)
                    if isinstance(found, dict):
                        self.add(subjects, found)
                        del pending[spec]
        return pending

    def write(self) -> None:
        """Write failed.json; where one has recovered, all replies are scored and embedded again.

        Raises:
            InputError: no suspect is left; what was collected is kept.
        """
        case, planned = self._run.case, self._run.plan["subjects"]
        suspects = [subject for subject in planned if subject["role"] == "suspect"]
        rows = [
            {"name": s["name"], "spec": s["spec"], **self._found[s["name"]]}
            for s in suspects
            if s["name"] in self._found
        ]
        if rows and len(rows) == len(suspects):
            raise InputError(
                f"none of {len(rows)} suspects can be loaded or asked; the first, "
                f"{rows[0]['spec']}: {rows[0]['error']}",
                hint=rows[0]["hint"],
            )
        _forget_replies(case, list(self._found))
        if self._before - self._found.keys():
            _forget_shared(case)
        if rows or self._before:
            case.write_json(FILE, {"schema": SCHEMA, "suspects": rows})


def _forget_replies(case: Case, failed: list[str]) -> None:
    """Drop the half that was collected from servers that failed; what they said is in their log."""
    remove_rows(case, failed)
    for name in failed:
        shutil.rmtree(case.data / "records" / name, ignore_errors=True)
        for path in case.data.glob(f"arrays/*/{name}.npy*"):
            path.unlink()


def _forget_shared(case: Case) -> None:
    """Drop what was made of all replies together, without those of who had failed.

    Scorers did not know them; and the last digits of a vector depend, on some processors, on the
    texts that were embedded beside its own.
    """
    arrays = case.data / "arrays"
    for folder in (arrays / "crossing", case.work / "crossing", arrays / "embeddings"):
        shutil.rmtree(folder, ignore_errors=True)


def amend(root: Path, plan: dict[str, Any]) -> None:
    """Take suspects that failed and are other models now into the plan of a case.

    Nothing was collected from them. The event in custody.jsonl holds what the plan had, so that
    the plan of every earlier event can be had from it. Any other difference is left for
    `auditor.case.open_case` to refuse.
    """
    case = Case(root)
    if not (case.data / FILE).is_file():
        return
    with locked(case):
        old = case.read_json("plan.json")
        replaced = replaced_subjects(old, plan, failed_names(case))
        if not replaced:
            return
        with Custody(case) as custody:
            # Before the file: a kill in between has it logged again, the other way round never.
            custody.log(AMENDED, plan=json_digest(plan), replaced=replaced)
        case.write_json("plan.json", plan)
