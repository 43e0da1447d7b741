"""A part of a collection done apart from the case, by any process that sees its folder.

A task works in a folder of its own, in which the files of the case that it reads are links. What
it wrote is renamed, whole, to the place of the task's result: a killed worker leaves no result,
and of two that did the same task the second finds the first one's and must have the same bytes.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auditor.canon import file_digest, pretty_json
from auditor.case import Case, atomic_write, storage_errors
from auditor.collect.collection import Collection
from auditor.collect.crossing import score_alone
from auditor.collect.custody import Custody
from auditor.collect.drawing import draw, write_drawn
from auditor.collect.environment import environment
from auditor.collect.failures import lent
from auditor.collect.replies import read_replies
from auditor.collect.salt import key_path
from auditor.collect.sampling import Sampling
from auditor.collect.shelf import Shelf
from auditor.collect.subject import collect_subject
from auditor.errors import CaseError, ExecutorError
from auditor.failed import FILE as FAILED
from auditor.models.base import Model
from auditor.progress import Silent
from auditor.stored import planned_suites

RESULT = "result.json"
"""In the folder of a result: ``{"files": {path: digest}, "value", "environment"}``."""
LOG = "data/custody.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one worker does while it holds one model."""

    kind: Literal["sample", "subject", "cross"]
    names: tuple[str, ...]
    """Subjects of the plan that are the same model."""
    part: tuple[int, int] | None = None
    """Of a sample: which of how many parts of the groups of probes, from 0."""

    @property
    def id(self) -> str:
        """Name of the task, and of the folder of its result."""
        part = "" if self.part is None else f"-{self.part[0]}-of-{self.part[1]}"
        return f"{self.kind}-{self.names[0]}{part}"


def result_folder(case: Case, task: Task) -> Path:
    """Return where the result of a task is, once there is one."""
    return case.work / "tasks" / task.id


def attempts_folder(case: Case) -> Path:
    """Return where workers work; the name of a folder in it ends with their process id."""
    return case.work / "attempts"


def do_task(root: str, task: Task, threads: int) -> None:
    """Do a task of the case at `root`, unless its result is there.

    Args:
        root: seen by every worker at the same path.
        task: of the case.
        threads: of arithmetic, as in the process that collects: more or fewer round otherwise.

    Raises:
        ExecutorError: the folder cannot be seen here.
        CaseError: another worker's result differs.
        AuditorError: as the stage of the collection.
    """
    import torch

    case = Case(Path(root))
    if not (case.data / "plan.json").is_file():
        raise ExecutorError(
            f"a worker on {os.uname().nodename} cannot see the case at {root}",
            hint="put the case (--out) and the models on a file system that all machines share",
        )
    if (result_folder(case, task) / RESULT).is_file():
        return
    torch.set_num_threads(threads)
    with _attempt(case, task) as own:
        _link(case, own, task)
        value = _work(own, task)
        _publish(case, own, task, value)


@contextmanager
def _attempt(case: Case, task: Task) -> Iterator[Case]:
    folder = attempts_folder(case)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = Path(tempfile.mkdtemp(prefix=f"{task.id}.", suffix=f".{os.getpid()}", dir=folder))
    try:
        yield Case(own)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _work(own: Case, task: Task) -> Any:
    plan = own.read_json("plan.json")
    subjects = [subject for subject in plan["subjects"] if subject["name"] in task.names]
    with Custody(own) as custody, Shelf(plan, budget=0) as shelf:
        run = Collection(case=own, plan=plan, custody=custody, progress=Silent())
        if task.kind == "cross":
            return score_alone(run, shelf, subjects[0], read_replies(own))
        with ExitStack() as stack:
            model = lent(stack, shelf, plan, subjects)
            if isinstance(model, dict):
                return {"names": list(task.names), "failure": model}
            for subject in subjects:
                if task.part is not None:
                    _draw(run, model, subject["name"], task.part)
                    continue
                custody.log("subject", name=subject["name"], digest=model.ref.digest)
                collect_subject(run, model, subject)
    return None


def _draw(run: Collection, model: Model, name: str, part: tuple[int, int]) -> None:
    wanted, (index, count) = Sampling.planned(run.plan, name, model.ref.parameters), part
    groups = wanted.groups(planned_suites(run.case))
    for number in range(index * len(groups) // count, (index + 1) * len(groups) // count):
        drawn = draw(model, [probe for _, probe in groups[number]], wanted)
        write_drawn(run.case, name, number, drawn)


def _link(case: Case, own: Case, task: Task) -> None:
    """Link what a task reads: of all subjects where it crosses, else of the reference and its own.

    A file that is written anew replaces its link; unfinished files are not linked.
    """
    own_plan = (case.data / "plan.json", case.data / FAILED)
    for path in (*own_plan, case.data / "probes", key_path(case)):
        _link_one(case, own, path)
    if task.kind == "cross":
        _link_one(case, own, case.data / "records")
        return
    reference = case.read_json("plan.json")["subjects"][0]["name"]
    names = {reference, *task.names} if task.kind == "subject" else set(task.names)
    for name in names:
        for path in _files_of(case, name):
            _link_one(case, own, path)
    if task.kind == "subject" and (case.data / "subjects.json").is_file():
        # A copy: the rows of other subjects come and go meanwhile.
        content = case.read_json("subjects.json")
        rows = [row for row in content["subjects"] if row["name"] == reference]
        own.write_json("subjects.json", {**content, "subjects": rows})


def _link_one(case: Case, own: Case, path: Path) -> None:
    if path.exists():
        link = own.root / path.relative_to(case.root)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.absolute())


def _files_of(case: Case, name: str) -> Iterator[Path]:
    """Yield the finished files that a case has of one subject."""
    places = [*(case.data / "arrays").glob("*"), *_scratch_folders(case)]
    for folder in (case.data / "records" / name, *(place / name for place in places)):
        yield from (path for path in folder.glob("*") if path.is_file() and _finished(path))
    for place in places:
        for ending in (".npy", ".json", ".bias.npy"):
            path = place / f"{name}{ending}"
            if path.is_file():
                yield path


def _scratch_folders(case: Case) -> Iterator[Path]:
    skipped = {attempts_folder(case).name, "tasks", "stage"}
    return (path for path in case.work.glob("*") if path.is_dir() and path.name not in skipped)


def _finished(path: Path) -> bool:
    return path.suffix != ".part"


def _publish(case: Case, own: Case, task: Task, value: Any) -> None:
    """Make what was written the result of the task, at once; one that is there already stays.

    Raises:
        CaseError: it is not the same.
    """
    written = {
        path.relative_to(own.root).as_posix(): path
        for path in sorted(own.root.rglob("*"))
        if path.is_file() and not path.is_symlink() and _finished(path)
    }
    files = {name: file_digest(path) for name, path in written.items() if name != LOG}
    plan = own.read_json("plan.json")
    content = {"files": files, "value": value, "environment": environment(plan)}
    atomic_write(own.root / RESULT, pretty_json(content))
    final = result_folder(case, task)
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            own.root.rename(final)
        except OSError:
            if not (final / RESULT).is_file():
                raise
    _check_same(final, task, files)


def _check_same(final: Path, task: Task, files: dict[str, str]) -> None:
    """Refuse two results of one task that differ."""
    found = json.loads((final / RESULT).read_bytes())["files"]
    if found != files:
        differing = sorted(f for f in {*found, *files} if found.get(f) != files.get(f))
        raise CaseError(
            f"two workers did {task.id} and wrote different bytes: {differing[0]}",
            hint="machines of one cluster must run the same versions on the same kind of device; "
            f"remove {final} and repeat the command with fewer kinds",
        )
