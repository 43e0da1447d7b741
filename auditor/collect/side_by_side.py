"""Some pieces of work at the same time, each in a thread of its own.

For passes of small models: their operations release the interpreter, and are too short to be
divided over the cores themselves. What the pieces write must not depend on each other.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from queue import SimpleQueue
from threading import Event, Thread


def side_by_side(jobs: Sequence[Generator[int, None, None]]) -> Iterator[int]:
    """Yield the units that any of some jobs has done, until all have ended.

    Raises:
        BaseException: the first that a job raised, once every other has ended the step it was at.
    """
    if len(jobs) == 1:
        yield from jobs[0]
        return
    news: SimpleQueue[int | BaseException | None] = SimpleQueue()
    stop = Event()
    threads = [Thread(target=_drive, args=(job, news, stop)) for job in jobs]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            found = news.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                running -= 1
            else:
                yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _drive(
    job: Generator[int, None, None], news: "SimpleQueue[int | BaseException | None]", stop: Event
) -> None:
    """Run a job step by step; tell what each did, the exception it ended with, or None."""
    try:
        with contextlib.closing(job):
            for amount in job:
                news.put(amount)
                if stop.is_set():
                    break
    except BaseException as error:  # whoever waits raises it again
        news.put(error)
    else:
        news.put(None)
