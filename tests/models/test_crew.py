"""Threads that work jobs off: all of them at once, none after a failure, none that nobody wants."""

import threading
from itertools import count

import pytest

from auditor.models.crew import worked_off


def test_every_job_is_done_once():
    done = []
    assert list(worked_off(iter(range(100)), 7, done.append)) == [1] * 100
    assert sorted(done) == list(range(100))


def test_there_may_be_fewer_jobs_than_threads():
    done = []
    assert sum(worked_off(iter("ab"), 5, done.append)) == 2
    assert sum(worked_off(iter(""), 5, done.append)) == 0
    assert sorted(done) == ["a", "b"]


def test_as_many_jobs_are_under_way_as_there_are_threads():
    together = threading.Barrier(6, timeout=30)
    # Each waits until six are under way: with fewer threads the barrier would break.
    assert sum(worked_off(iter(range(12)), 6, lambda _: together.wait())) == 12


def test_after_a_failure_what_is_under_way_ends_and_nothing_is_begun():
    release, begun, ended = threading.Event(), [], []

    def work(job):
        begun.append(job)
        if job == 2:
            threading.Timer(0.3, release.set).start()
            raise ValueError("the third")
        assert release.wait(30)
        ended.append(job)

    with pytest.raises(ValueError, match="the third"):
        list(worked_off(count(), 3, work))
    assert sorted(begun) == [0, 1, 2]
    assert sorted(ended) == [0, 1]


def test_a_failure_to_find_the_next_job_is_not_hidden():
    def jobs():
        yield 1
        raise OSError("no more can be read")

    with pytest.raises(OSError, match="no more"):
        list(worked_off(jobs(), 3, lambda job: None))


@pytest.mark.timeout(20)
def test_endless_jobs_end_where_nobody_asks_for_the_rest():
    steps = worked_off(count(), 2, lambda job: None)
    assert next(steps) == 1
    steps.close()  # waits for what is under way
    assert next(steps, None) is None
