"""One queue of jobs: a free worker takes the next that is ready, a lost one's job goes back."""

from collections import Counter
from collections.abc import Callable, Sequence

from auditor.collect.executors.base import Executor, Job, Outcome
from auditor.errors import ExecutorError

ATTEMPTS = 3
"""Workers that may be lost with the same job: it is then the job that ends them."""


def carry_out(
    executor: Executor,
    jobs: Sequence[Job],
    finished: Callable[[Outcome], None],
    lost: Callable[[Outcome], None],
) -> None:
    """Do jobs, each as soon as those that it comes after are finished; first come first.

    Args:
        executor: entered.
        jobs: what is to be done, the more urgent first.
        finished: takes the result of a job, before any that comes after it starts.
        lost: is told of every lost worker.

    Raises:
        ExecutorError: a job ended `ATTEMPTS` workers, or no worker can ever do it.
        AuditorError: a job failed; what was finished before is kept.
    """
    waiting, running = list(jobs), 0
    open_jobs = {job.name for job in jobs}
    deaths: Counter[str] = Counter()
    while waiting or running:
        for job in [one for one in waiting if not one.after & open_jobs]:
            if executor.accepts(job):
                waiting.remove(job)
                executor.start(job)
                running += 1
        outcome = executor.wait()
        running -= 1
        if outcome.lost is None:
            _finish(outcome, finished)
            open_jobs.discard(outcome.job.name)
        else:
            deaths[outcome.job.name] += 1
            lost(outcome)
            _check_deaths(outcome, deaths[outcome.job.name])
            waiting.insert(0, outcome.job)


def _finish(outcome: Outcome, finished: Callable[[Outcome], None]) -> None:
    if outcome.error is not None:
        raise outcome.error
    finished(outcome)


def _check_deaths(outcome: Outcome, deaths: int) -> None:
    if deaths >= ATTEMPTS:
        raise ExecutorError(
            f"{deaths} workers were lost with the same job, {outcome.job.name}: {outcome.lost}",
            hint="often memory: use fewer --workers, a smaller --dtype or --batch-tokens; "
            "finished work is kept",
        )
