"""The results of tasks taken into the case, each once."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from auditor.canon import file_digest
from auditor.case import storage_errors
from auditor.collect.collection import Collection
from auditor.collect.store import part_path
from auditor.collect.subject import insert_rows
from auditor.collect.tasks import LOG, RESULT, Task, attempts_folder, result_folder
from auditor.errors import CaseError

_ROWS = "data/subjects.json"


def merge_result(run: Collection, task: Task) -> Any:
    """Move the files of a result into the case, checked by digest, and return its value.

    Can be cut at any moment and repeated: what was moved is found in the case. The file that
    says that a subject is done is moved last.

    Raises:
        CaseError: a file is not the one that the worker wrote.
        StorageError: the disk refused it.
    """
    folder = result_folder(run.case, task)
    content = json.loads((folder / RESULT).read_bytes())
    for name, digest in content["files"].items():
        _check(run, folder, name, digest)
    if content["environment"] != run.case.read_json("environment.json"):
        run.custody.log("environment changed", task=task.id, environment=content["environment"])
    # Before the files: a kill in between has it logged again, the other way round never.
    _take_log(run, folder / LOG)
    files = [name for name in content["files"] if name != _ROWS]
    if (folder / _ROWS).is_file():
        rows = json.loads((folder / _ROWS).read_bytes())["subjects"]
        insert_rows(run.case, run.plan, [row for row in rows if row["name"] in task.names])
    for name in sorted(files, key=lambda name: (name.startswith("work/stage/"), name)):
        _move(folder / name, run.case.root / name)
    _remove(run, folder)
    return content["value"]


def _remove(run: Collection, folder: Path) -> None:
    """Remove a result: at once from its place, where half of it would stop a task done again."""
    attempts = attempts_folder(run.case)
    with storage_errors(attempts):
        attempts.mkdir(parents=True, exist_ok=True)
        gone = Path(tempfile.mkdtemp(prefix=f"{folder.name}.merged.", dir=attempts))
        folder.replace(gone)
        shutil.rmtree(gone)


def _check(run: Collection, folder: Path, name: str, digest: str) -> None:
    path = folder / name
    if not path.is_file():
        path = run.case.root / name  # moved before a kill
    if not path.is_file() or (file_digest(path) != digest and name != _ROWS):
        raise CaseError(
            f"{folder / name} is not the file that a worker wrote",
            hint=f"remove {folder} and repeat the command: its work is done again",
        )


def _take_log(run: Collection, path: Path) -> None:
    """Log the events of a task; their times are those at which its files entered the case."""
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        event = json.loads(line)
        details = {k: v for k, v in event.items() if k not in ("event", "time", "seq", "prev")}
        run.custody.log(event["event"], **details)


def _move(source: Path, target: Path) -> None:
    if source.is_file():
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            part_path(target).unlink(missing_ok=True)  # of a run that was cut
