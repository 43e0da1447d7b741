"""Some pieces of work at the same time, each in a thread of its own.

For passes of small models: their operations release the interpreter, and are too short to be
divided over the cores themselves. What the pieces write must not depend on each other.
"""

import contextlib
from collections.abc import Generator, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread


def side_by_side(jobs: Sequence[Generator[int, None, None]], most: int) -> Iterator[int]:
    """Yield the units that any of some jobs has done, until all have ended.

    Args:
        jobs: in the order in which they begin.
        most: how many run at a time, at least 1.

    Raises:
        BaseException: the first that a job raised, once every other has ended the step it was at.
    """
    if len(jobs) == 1 or most == 1:
        for job in jobs:
            yield from job
        return
    waiting: SimpleQueue[Generator[int, None, None]] = SimpleQueue()
    for job in jobs:
        waiting.put(job)
    news: SimpleQueue[int | BaseException | None] = SimpleQueue()
    stop = Event()
    arguments = (waiting, news, stop)
    threads = [Thread(target=_drive, args=arguments) for _ in range(min(most, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        yield from _told(news, len(threads))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _told(news: "SimpleQueue[int | BaseException | None]", running: int) -> Iterator[int]:
    """Yield what threads tell until each has told its end."""
    while running:
        found = news.get()
        if isinstance(found, BaseException):
            raise found
        if found is None:
            running -= 1
        else:
            yield found


def _drive(
    waiting: "SimpleQueue[Generator[int, None, None]]",
    news: "SimpleQueue[int | BaseException | None]",
    stop: Event,
) -> None:
    """Run waiting jobs step by step; tell what each did, the exception it ended with, or None."""
    try:
        while not stop.is_set():
            with contextlib.closing(waiting.get_nowait()) as job:
                for amount in job:
                    news.put(amount)
                    if stop.is_set():
                        break
    except Empty:
        news.put(None)
    except BaseException as error:  # whoever waits raises it again
        news.put(error)
    else:
        news.put(None)
