"""Hand-worked values of the measures on checkable answers. The right answer is always 7."""

import numpy as np
import pytest
from measure_worlds import small_pair

from auditor.errors import UndefinedError
from auditor.measures import get
from auditor.measures._run import apply
from auditor.types import Answer, Probe

CHECKABLE = Probe(id="a", category="c", text="?", answer=Answer(kind="number", value="7"))
OPEN = Probe(id="b", category="c", text="?")


def scores(name, *rows, asked=None):
    """One (reference replies, suspect replies) a probe."""
    ours, theirs = (list(side) for side in zip(*rows, strict=True))
    asked = asked or (CHECKABLE,) * len(rows)
    return get(name)(small_pair(texts=(ours, theirs), asked=asked))


def test_equal_answers_are_shared_whether_right_or_wrong():
    found = scores("answer-shared", (["7"], ["It is 7."]), (["8"], ["8"]), (["7"], ["8"]))
    assert list(found) == [1.0, 1.0, 0.0]


def test_answers_are_compared_repeat_by_repeat():
    # 7 = 7, 7 != 8, 8 = 8; the fourth of the suspect has no partner
    found = scores("answer-shared", (["7", "7", "8"], ["7", "8", "8", "9"]))
    assert found == pytest.approx([2 / 3])


def test_one_reply_without_answer_differs_and_two_say_nothing():
    found = scores("answer-shared", (["7"], ["no idea"]), (["no idea"], ["who knows"]))
    assert found[0] == 0.0
    assert np.isnan(found[1])


def test_probes_that_cannot_be_checked_do_not_count():
    found = scores("answer-shared", (["7"], ["7"]), (["7"], ["8"]), asked=(CHECKABLE, OPEN))
    assert found[0] == 1.0
    assert np.isnan(found[1])


def test_only_common_errors_enter_the_shared_error():
    rows = [(["8"], ["8"]), (["8"], ["9"]), (["7"], ["8"]), (["8"], ["7"]), (["7"], ["7"])]
    found = scores("answer-shared-error", *rows)
    assert list(found[:2]) == [1.0, 0.0]
    assert np.isnan(found[2:]).all()


def test_the_shared_error_is_the_mean_over_probes_with_a_common_error():
    # Probe 0: repeats 8 = 8 and 8 != 9 (the third is right): 1/2. Probe 1: 1. Mean 3/4.
    ours, theirs = [["8", "8", "7"], ["5"]], [["8", "9", "8"], ["5.0"]]
    pair = small_pair(texts=(ours, theirs), asked=(CHECKABLE, CHECKABLE))
    found = apply(get("answer-shared-error"), pair, seed=0)
    assert found.value == pytest.approx(0.75)
    assert found.probes == 2


def test_wrong_replies_without_an_answer_share_no_error():
    with pytest.raises(UndefinedError, match="answered wrongly by both"):
        scores("answer-shared-error", (["no idea"], ["none"]), (["8"], ["none"]), (["?"], ["8"]))


@pytest.mark.parametrize("name", ["answer-shared", "answer-shared-error"])
def test_without_checkable_probes_both_are_undefined(name):
    with pytest.raises(UndefinedError, match="no probe has a checkable answer"):
        scores(name, (["7"], ["7"]), asked=(OPEN,))


def test_subjects_that_are_never_wrong_leave_the_shared_error_undefined():
    with pytest.raises(UndefinedError, match="answered wrongly by both"):
        scores("answer-shared-error", (["7"], ["7"]), (["7"], ["7"]))
