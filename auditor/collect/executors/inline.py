"""Jobs done one after another in this process."""

from typing import Self

from auditor.collect.executors.base import Job, Outcome, attempt


class Inline:
    """Does a job when it is waited for."""

    workers = 1

    def __init__(self) -> None:
        self._started: list[Job] = []

    def accepts(self, job: Job) -> bool:
        """Whether no other job was started."""
        return not self._started

    def start(self, job: Job) -> None:
        """Take the job."""
        self._started.append(job)

    def wait(self) -> Outcome:
        """Do the job."""
        return attempt(self._started.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""
