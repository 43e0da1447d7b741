"""Threads that work jobs off, none of which waits for another between two of its jobs."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Job = TypeVar("Job")


def worked_off(jobs: Iterator[Job], threads: int, work: Callable[[Job], None]) -> Iterator[int]:
    """Do some jobs, each thread taking its next one itself; yield 1 for each that ended.

    After a failure, or where nobody asks for the rest, what is under way ends and no job is begun.

    Raises:
        Exception: the first that `work` or `jobs` raised.
    """
    taking, stop = threading.Lock(), threading.Event()
    ended: SimpleQueue[int] = SimpleQueue()

    def serve() -> None:
        try:
            while not stop.is_set():
                with taking:
                    job = next(jobs, None)
                if job is None:
                    return
                work(job)
                ended.put(1)
        except BaseException:
            stop.set()
            raise
        finally:
            ended.put(0)

    with ThreadPoolExecutor(threads) as pool:
        serving = [pool.submit(serve) for _ in range(threads)]
        try:
            while threads:
                done = ended.get()
                threads -= not done
                if done:
                    yield done
        finally:
            stop.set()  # what is under way ends, and is recorded
        for thread in serving:
            thread.result()
