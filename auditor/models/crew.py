"""Threads that ask one server, and how they end: after a failure or Ctrl-C nothing more is sent."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

GRACE = 5.0
"""Seconds that what is under way at Ctrl-C has to end by itself."""


@dataclass(frozen=True, slots=True)
class Halt:
    """What ends the work of threads before its end."""

    event: threading.Event = field(default_factory=threading.Event)
    """While it is set nothing is begun, and nobody sleeps."""
    cut: Callable[[], None] = lambda: None
    """Breaks off what is under way."""


class Crew:
    """The threads of a block of `crew`."""

    def __init__(
        self, pool: ThreadPoolExecutor, halt: Halt, single: tuple[type[Exception], ...]
    ) -> None:
        self._pool = pool
        self._halt = halt
        self._single = single
        self._first: BaseException | None = None

    @property
    def halted(self) -> bool:
        """Whether nothing is to be begun any more."""
        return self._halt.event.is_set()

    def submit(self, work: Callable[..., Result], *given: Any) -> Future[Result]:
        """Have one of the threads do a piece of work."""
        return self._pool.submit(self._done, work, *given)

    def result(self, future: Future[Result]) -> Result:
        """Return what a piece of work gave.

        Raises:
            Exception: the first failure of the crew: others are of what it ended.
        """
        try:
            return future.result()
        except Exception as error:
            raise self._first or error from None

    def _done(self, work: Callable[..., Result], *given: Any) -> Result:
        if self.halted:
            raise CancelledError
        try:
            return work(*given)
        except BaseException as error:
            if not isinstance(error, self._single):
                self._first = self._first or error
                self._halt.event.set()
            raise


@contextlib.contextmanager
def crew(threads: int, halt: Halt, single: tuple[type[Exception], ...] = ()) -> Iterator[Crew]:
    """Have some threads work for the block.

    Where it ends early, or one of them fails, what is under way ends and nothing is begun. After
    Ctrl-C that is cut off once it has had `GRACE`, after a second one at once. Then `halt` is free
    for others.

    Args:
        threads: how many.
        halt: of what they use.
        single: failures that concern one piece of work alone and end no other.
    """
    pool, ended = ThreadPoolExecutor(threads), threading.Event()
    try:
        yield Crew(pool, halt, single)
    except BaseException as error:
        halt.event.set()
        if isinstance(error, KeyboardInterrupt):
            threading.Thread(target=_cut_late, args=(halt, ended), daemon=True).start()
        raise
    finally:
        try:
            pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            halt.event.set()
            halt.cut()
            raise
        ended.set()
        halt.event.clear()


def _cut_late(halt: Halt, ended: threading.Event) -> None:
    while not ended.wait(GRACE):
        halt.cut()


def worked_off(
    jobs: Iterator[Job], threads: int, work: Callable[[Job], None], halt: Halt | None = None
) -> Iterator[int]:
    """Do some jobs, each thread taking its next one itself; yield 1 for each that ended.

    After a failure, or where nobody asks for the rest, it ends as `crew` says.

    Raises:
        Exception: the first that `work` or `jobs` raised.
    """
    taking = threading.Lock()
    ended: SimpleQueue[int] = SimpleQueue()
    with crew(threads, halt or Halt()) as hands:

        def serve() -> None:
            while not hands.halted:
                with taking:
                    job = next(jobs, None)
                if job is None:
                    return
                work(job)
                ended.put(1)

        serving = [hands.submit(serve) for _ in range(threads)]
        for thread in serving:
            thread.add_done_callback(lambda _: ended.put(0))
        while threads:
            done = ended.get()
            threads -= not done
            if done:
                yield done
        for thread in serving:
            hands.result(thread)
