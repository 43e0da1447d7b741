"""A collection given to the workers of an executor, and put together as one process would.

The reference is sampled in parts and read first, for the others are compared with what it keeps.
Models behind servers are asked by this process: their log and their budget are one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from auditor.collect.collection import Collection
from auditor.collect.executors import Executor, Job, Outcome, carry_out
from auditor.collect.executors.memory import model_memory
from auditor.collect.failures import Failure
from auditor.collect.salt import case_key
from auditor.collect.task_merge import merge_result
from auditor.collect.tasks import Task
from auditor.exchanges import is_served
from auditor.models.specifier import parse

_TASKS_EACH = 2
"""Tasks of sampling for each worker where there are few models: the last ones end together."""

Subject = dict[str, Any]


class FanOut:
    """Has the tasks of one collecting run done by an entered executor."""

    def __init__(self, run: Collection, executor: Executor) -> None:
        import torch

        self._run, self._executor = run, executor
        self._threads = torch.get_num_threads()
        case_key(run.case)  # before any worker needs it

    def collect(
        self,
        pending: Mapping[str, list[Subject]],
        here: Callable[[list[Subject]], None],
        failed: Callable[[list[Subject], Failure], None],
    ) -> None:
        """Collect the subjects, by specifier, the reference first.

        Args:
            pending: whose model is still needed.
            here: collects, in this process, the subjects of one model.
            failed: is told of subjects whose model cannot be loaded, where the run goes on.
        """
        served = [subjects for spec, subjects in pending.items() if is_served(spec)]
        others = [subjects for spec, subjects in pending.items() if not is_served(spec)]
        if served and served[0][0]["name"] == self._run.reference:
            here(served.pop(0))
        if others:
            self._collect(others, failed)
        for subjects in served:
            here(subjects)

    def cross(self, scorers: Sequence[Subject]) -> dict[str, str]:
        """Have the replies scored; return why it failed, by scorer."""
        jobs = {task.id: (task, self._job(task, s)) for s in scorers for task in [_cross_task(s)]}
        failed: dict[str, str] = {}
        self._carry_out("cross", jobs, lambda value: failed.update(value or {}))
        return failed

    def _collect(
        self, models: Sequence[list[Subject]], failed: Callable[[list[Subject], Failure], None]
    ) -> None:
        jobs: dict[str, tuple[Task, Job]] = {}
        before: frozenset[str] = frozenset()
        for subjects in models:
            names = tuple(subject["name"] for subject in subjects)
            first = self._run.reference in names
            memory = self._memory(subjects[0])
            parts = self._parts(len(models), subjects, first=first)
            samples = [Task(kind="sample", names=names, part=(i, parts)) for i in range(parts)]
            for task in samples if parts > 1 else ():
                jobs[task.id] = (task, self._job(task, subjects[0], memory=memory))
            task = Task(kind="subject", names=names)
            own = frozenset(one.id for one in samples if one.id in jobs)
            jobs[task.id] = (task, self._job(task, subjects[0], before | own, memory))
            if first:
                before = frozenset({task.id})
        by_name = {subject["name"]: subject for subjects in models for subject in subjects}

        def use(value: Any) -> None:
            if value:
                failed([by_name[name] for name in value["names"]], value["failure"])

        self._carry_out("collect", jobs, use)

    def _parts(self, models: int, subjects: list[Subject], *, first: bool) -> int:
        """Return in how many parts a model is sampled; 1 where that is no task of its own."""
        case, names = self._run.case, [subject["name"] for subject in subjects]
        suites = [f"{entry['name']}@{entry['version']}" for entry in self._run.plan["suites"]]
        sampled = all(case.records(name, suite).is_file() for name in names for suite in suites)
        if sampled or parse(subjects[0]["spec"]).scheme == "records":
            return 1
        workers = self._executor.workers
        return workers if first else min(workers, math.ceil(_TASKS_EACH * workers / models))

    def _memory(self, subject: Subject) -> int:
        plan = self._run.plan
        return model_memory(subject["spec"], plan["dtype"], plan["device"])

    def _job(
        self,
        task: Task,
        subject: Subject,
        after: frozenset[str] = frozenset(),
        memory: int | None = None,
    ) -> Job:
        root = str(self._run.case.root.resolve())
        return Job(
            name=task.id,
            function="auditor.collect.tasks:do_task",
            arguments={"root": root, "task": task, "threads": self._threads},
            after=after,
            memory=self._memory(subject) if memory is None else memory,
        )

    def _carry_out(
        self, what: str, jobs: Mapping[str, tuple[Task, Job]], use: Callable[[Any], None]
    ) -> None:
        """Do the jobs; what a log tells of is merged in their order, whoever ended first."""
        logged = [task.id for task, _ in jobs.values() if task.kind != "sample"]
        ended: set[str] = set()

        def finished(outcome: Outcome) -> None:
            task = jobs[outcome.job.name][0]
            if task.kind == "sample":
                merge_result(self._run, task)
            ended.add(task.id)
            while logged and logged[0] in ended:
                use(merge_result(self._run, jobs[logged.pop(0)][0]))
            bar.advance()

        def lost(outcome: Outcome) -> None:
            self._run.custody.log("worker lost", task=outcome.job.name, how=outcome.lost)

        with self._run.progress.task(what, len(jobs)) as bar:
            carry_out(self._executor, [job for _, job in jobs.values()], finished, lost)


def _cross_task(subject: Subject) -> Task:
    return Task(kind="cross", names=(subject["name"],))
