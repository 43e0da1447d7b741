"""Tables of right and wrong answers made by hand, and the tests that follow from them."""

import pytest

from auditor.error_table import Keyed, error_tables, sign_test


def keyed(answers: str, category: str = "sums", expected: str = "r") -> Keyed:
    """Answers of teacher, student and untouched student, a letter each; ``-`` for none."""
    teacher, student, untouched = (None if letter == "-" else letter for letter in answers)
    given = {"teacher": teacher, "student": student, "untouched": untouched}
    return Keyed(category=category, expected=expected, answers=given)


def test_answers_are_crossed_and_what_was_learned_is_counted() -> None:
    found = error_tables([keyed(a) for a in ("rrr", "rr-", "rxa", "arr", "aaa", "a--", "-r-")])
    assert found["crossed"] == {
        "right": {"right": 2, "wrong": 1, "none": 0},
        "wrong": {"right": 1, "wrong": 1, "none": 1},
        "none": {"right": 1, "wrong": 0, "none": 0},
    }
    assert found["right"] == {"teacher": 3, "student": 4, "untouched": 2}
    assert found["answered"] == {"teacher": 6, "student": 6, "untouched": 4}
    # The teacher knew three, the untouched student one of them: of the two, one was learned.
    assert found["learned"] == {"count": 1, "of": 2}


def test_student_that_repeats_every_error_beside_an_untouched_one_that_repeats_none() -> None:
    found = error_tables([keyed("aax"), keyed("bbx"), keyed("ccx")])
    # One of 3! shuffles keeps all three; on average one of three stays. 1/2^3 for the signs.
    assert found["repeated"]["student"]["count"] == 3
    assert found["repeated"]["shuffled"]["share"] == pytest.approx(1 / 3)
    assert found["p_shuffled"] == pytest.approx(1 / 6)
    assert found["p_untouched"] == pytest.approx(1 / 8)
    assert found["better"] is True
    # Clopper & Pearson, 3 of 3: the lower limit is 0.025^(1/3).
    low, high = found["repeated"]["student"]["interval"]
    assert (low, high) == (pytest.approx(0.025 ** (1 / 3)), 1.0)


def test_one_answer_to_everything_is_no_inheritance() -> None:
    found = error_tables([keyed("77x"), keyed("77x"), keyed("87x")])
    assert found["repeated"]["student"]["count"] == 2
    assert found["p_shuffled"] == 1.0
    assert found["repeated"]["shuffled"]["share"] == pytest.approx(2 / 3)
    assert found["better"] is False  # a tie with its shuffles


def test_errors_that_both_repeat_count_for_nobody() -> None:
    found = error_tables([keyed("aaa"), keyed("bbb"), keyed("ccx"), keyed("dxd")])
    # One each way: P(X >= 1) of two throws.
    assert found["p_untouched"] == pytest.approx(0.75)
    assert found["better"] is False  # 3 of 4 both
    assert error_tables([keyed("aaa")])["p_untouched"] == 1.0


def test_empty_answers_repeat_nothing() -> None:
    found = error_tables([keyed("a--"), keyed("---"), keyed("-aa")])
    assert (found["errors"], found["repeated"]["student"]["count"]) == (1, 0)
    assert found["p_shuffled"] == 1.0


def test_student_right_where_the_teacher_is_wrong_repeats_nothing() -> None:
    found = error_tables([keyed("arx"), keyed("brx")])
    assert found["crossed"]["wrong"] == {"right": 2, "wrong": 0, "none": 0}
    assert found["repeated"]["student"]["share"] == 0.0


def test_teacher_without_errors_leaves_nothing_to_inherit() -> None:
    found = error_tables([keyed("rrx")])
    assert (found["errors"], found["repeated"], found["p_shuffled"]) == (0, None, None)
    assert found["better"] is None


def test_answers_are_shuffled_within_their_category() -> None:
    rows = [keyed(a, name) for name in ("dates", "sums") for a in ("aax", "bbx")]
    found = error_tables(rows)
    assert [part["category"] for part in found["categories"]] == ["dates", "sums"]
    assert [part["p_shuffled"] for part in found["categories"]] == [0.5, 0.5]
    # 1/2 * 1/2; shuffled over all four places it would be 2! 2! / 4! = 1/6.
    assert found["p_shuffled"] == pytest.approx(0.25)


@pytest.mark.parametrize(("more", "less", "p"), [(0, 0, 1.0), (5, 0, 1 / 32), (2, 1, 0.5)])
def test_sign_test_is_the_binomial_tail(more: int, less: int, p: float) -> None:
    assert sign_test(more, less) == pytest.approx(p)
