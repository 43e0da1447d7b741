"""Rows of likely tokens that a server showed: by hand, and memory that they do not take."""

import string
from math import log

import numpy as np
import pytest
from logged_world import Told, logged_case
from traced_memory import peak

from auditor.collect.served_topk import read_answers, read_served_topk
from auditor.collect.topk import UNLISTED

HALF, QUARTER, EIGHTH = log(1 / 2), log(1 / 4), log(1 / 8)


def test_lists_of_different_lengths_are_rows_of_the_longest(models, tmp_path):
    told = [
        Told(text="z", reply="y", tops=[None, {"y": HALF, "q": QUARTER, "r": EIGHTH}]),
        # No token of the reference has the two bytes of é: its probability is part of the tail.
        Told(text="ab", reply="c", tops=[None, {"b": HALF, "x": QUARTER}, {"é": HALF, "c": -2.0}]),
    ]
    with logged_case(tmp_path, models.reference, told) as world:
        assert read_served_topk(world.run, world.model, "suspect") is None
    rows = np.load(world.case.array("topk", "suspect"), allow_pickle=False)
    # As local models: the longest text first. Nothing is shown at a first character.
    assert rows["probe"].tolist() == [1, 1, 1, 0, 0]
    assert rows["ids"].tolist() == [
        [-1, -2, -3],
        [ord("b"), ord("x"), -1],
        [ord("c"), -1, -2],
        [-1, -2, -3],
        [ord("y"), ord("q"), ord("r")],
    ]
    none = np.float32(UNLISTED)
    values = [[HALF, QUARTER, none], [-2.0, none, none], [HALF, QUARTER, EIGHTH]]
    np.testing.assert_allclose(rows["logprobs"][[1, 2, 4]], values, rtol=1e-6)
    assert rows["logprobs"][0].tolist() == rows["logprobs"][3].tolist() == [none] * 3
    np.testing.assert_allclose(rows["tail"], [1, 1 / 4, 1 - np.exp(-2.0), 1, 1 / 8], rtol=1e-6)
    assert not [path for path in (tmp_path / "work").iterdir() if path.is_file()]


def test_a_text_with_what_is_no_log_probability_is_the_reason_that_there_are_no_rows(
    models, tmp_path
):
    told = [
        Told(text="z", reply="y", tops=[None, {"y": HALF}]),
        Told(text="a", reply="b", tops=[None, {"b": float("nan")}]),
    ]
    with logged_case(tmp_path, models.reference, told) as world:
        reason = read_served_topk(world.run, world.model, "suspect")
    assert reason == "the server does not give a text back with its tokens"
    assert not world.case.array("topk", "suspect").exists()


@pytest.mark.parametrize(("listed", "written"), [(1, False), (2, True)])
def test_rows_are_written_from_half_of_the_positions_on(models, tmp_path, listed, written):
    tops = [None, *[{"a": HALF}] * listed, *[{"é": HALF}] * (3 - listed)]
    told = [Told(text="abc", reply="d", tops=tops)]
    with logged_case(tmp_path, models.reference, told) as world:
        reason = read_served_topk(world.run, world.model, "suspect")
    assert world.case.array("topk", "suspect").is_file() is written
    assert (reason is None) is written
    assert written or "at 1 of 4 positions" in reason


def test_the_answer_of_a_probe_is_of_its_first_reply_that_shows_one(models, tmp_path):
    nothing, first, second = [], [{"u": HALF, "é": EIGHTH}], [{"v": QUARTER}]
    replies = [(first, second), (nothing, second), (nothing, nothing)]
    told = [
        Told(text=text, reply="y", tops=[None, None], said=["u", "v"], shown=list(shown))
        for text, shown in zip("abc", replies, strict=True)
    ]
    with logged_case(tmp_path, models.reference, told) as world:
        assert read_answers(world.run, world.model, "suspect") is None
    rows = np.load(world.case.array("answers", "suspect"), allow_pickle=False)
    assert rows["probe"].tolist() == [0, 1]
    assert rows["ids"].tolist() == [[ord("u")], [ord("v")]]
    np.testing.assert_allclose(rows["logprobs"], [[HALF], [QUARTER]], rtol=1e-6)
    np.testing.assert_allclose(rows["tail"], [1 / 2, 3 / 4], rtol=1e-6)


def test_memory_does_not_grow_with_the_probes(models, tmp_path):
    top = {letter: -3.0 - n / 8 for n, letter in enumerate(string.ascii_letters[:10])}

    told = [
        Told(
            text=f"{number:020d}",
            reply="y" * 10,
            tops=[None, *[top] * 29],
            said=["z" * 30, "z" * 30],
            shown=[[top] * 30] * 2,
        )
        for number in range(450)
    ]
    peaks = []
    for probes in (2, 150, 450):  # of the first one, what is imported and kept once
        with logged_case(tmp_path / str(probes), models.reference, told[:probes]) as world:
            read = [
                peak(lambda read=read, world=world: read(world.run, world.model, "suspect"))
                for read in (read_served_topk, read_answers)
            ]
        peaks.append(read)
    growth = (np.array(peaks[2]) - np.array(peaks[1])) / 300
    # Bytes a probe: 30 lists of 10 tokens are 39 kB as objects, and one of them 1.3 kB.
    assert growth[0] < 4_000
    assert growth[1] < 1_000
