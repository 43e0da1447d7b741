"""Interleaving, and the numbers drawn from it."""

import time

import pytest

from auditor.bench import timing
from auditor.bench.timing import interleaved, summary, timed


class Steps:
    def __init__(self) -> None:
        self.done = 0

    def advance(self, amount: int = 1) -> None:
        self.done += amount


def recorder(calls: list[str], name: str):
    def run():
        calls.append(name)
        return {}

    return run


def test_every_round_runs_all_and_starts_with_another():
    calls, steps = [], Steps()
    found = interleaved({n: recorder(calls, n) for n in "abc"}, 3, "cpu", steps)
    assert "".join(calls) == "abc" + "bca" + "cab"
    assert steps.done == 9
    assert {name: t.runs for name, t in found.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_long_candidate_is_timed_once(monkeypatch):
    monkeypatch.setattr(timing, "LONG_S", 0.0)
    calls, steps = [], Steps()
    found = interleaved({"a": recorder(calls, "a")}, 4, "cpu", steps)
    assert (calls, found["a"].runs, steps.done) == (["a"], 1, 4)


def test_nothing_to_time_is_no_timing():
    assert interleaved({}, 2, "cpu", Steps()) == {}


def test_median_and_quartiles():
    found = summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.quartile1, found.median, found.quartile3, found.runs) == (2.0, 3.0, 4.0, 5)
    assert summary([7.0]).quartile1 == 7.0


def test_a_run_is_timed_in_seconds():
    def slow():
        time.sleep(0.02)
        return {}

    assert timed(slow, "cpu") == pytest.approx(0.02, abs=0.02)
    assert timed(slow, "cpu") >= 0.02
