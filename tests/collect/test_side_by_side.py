"""Pieces of work in threads: all of it is done, and a failure of one stops the others."""

import threading

import pytest

from auditor.collect.side_by_side import side_by_side


def counting(amounts, seen):
    for amount in amounts:
        seen.append(threading.current_thread())
        yield amount


def test_every_unit_of_every_job_is_told():
    seen = []
    found = list(side_by_side([counting([1, 2, 3], seen), counting([10, 20], seen)], 2))
    assert sorted(found) == [1, 2, 3, 10, 20]
    assert [amount for amount in found if amount < 10] == [1, 2, 3]
    assert threading.current_thread() not in seen


def test_one_job_and_no_job_need_no_thread():
    seen = []
    assert list(side_by_side([counting([4, 5], seen)], 2)) == [4, 5]
    assert set(seen) == {threading.current_thread()}
    assert list(side_by_side([], 2)) == []


def test_jobs_run_at_the_same_time():
    # Each waits for the other: one after the other, the first would wait until it gave up.
    meeting = threading.Barrier(2, timeout=20)

    def job():
        meeting.wait()
        yield 1

    assert list(side_by_side([job(), job()], 2)) == [1, 1]


def test_failure_of_one_is_raised_when_the_others_have_stopped_and_closed():
    begun, closed, before = threading.Event(), [], threading.active_count()

    def endless():
        try:
            while True:
                begun.set()
                yield 1
        finally:
            closed.append(True)

    def failing():
        begun.wait(20)
        yield 1
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        list(side_by_side([endless(), failing()], 2))
    assert closed == [True]
    assert threading.active_count() <= before


def test_caller_that_stops_stops_the_jobs():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    steps = side_by_side([endless(), endless()], 2)
    assert next(steps) == 1
    steps.close()
    assert closed == [True, True]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_jobs_run_at_a_time_than_allowed(most):
    lock, running, seen = threading.Lock(), [], []

    def job(number):
        with lock:
            running.append(number)
            seen.append(len(running))
        yield number
        with lock:
            running.remove(number)

    assert sorted(side_by_side([job(number) for number in range(7)], most)) == list(range(7))
    assert max(seen) <= most
    assert len(seen) == 7


def test_jobs_that_wait_do_not_begin_after_a_failure():
    begun = []

    def job(number):
        begun.append(number)
        yield number
        raise ValueError("the disk is full")

    with pytest.raises(ValueError, match="the disk is full"):
        list(side_by_side([job(number) for number in range(9)], 2))
    assert len(begun) < 9
