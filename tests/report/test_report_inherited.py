"""The report says which errors were inherited, from a table of ten questions made by hand."""

from pathlib import Path

import pytest
from run_fixture import write_run
from student_fixture import add_student_report, inherited
from test_report_html import text_of, tree

from auditor.error_table import Keyed, error_tables
from auditor.report.distillation import write_run_report
from auditor.report.inherited import (
    crossed_table,
    errors_table,
    inherited_sentences,
    learned_table,
)


def test_answers_are_crossed_and_what_was_learned_is_said_by_category() -> None:
    found = inherited()
    assert crossed_table(found).rows == (
        ("Teacher right", "2", "1", "1"),
        ("Teacher wrong", "2", "4", "0"),
        ("Teacher no answer", "0", "0", "0"),
    )
    # Dates: the untouched student had both right, so the teacher had nothing to teach.
    assert learned_table(found).rows == (
        ("all categories", "10", "4", "4", "3", "2", "1", "9"),
        ("dates", "2", "2", "1", "2", "0", "0", "1"),
        ("sums", "8", "2", "3", "1", "2", "1", "8"),
    )


def test_repeated_errors_stand_beside_those_of_null_students() -> None:
    rows = errors_table(inherited()).rows
    assert rows[1] == ("dates", "0", "0", *("no error",) * 6)
    # Six errors, three repeated, one by the untouched student (d). Shuffled: each of a, b, c is
    # one of 8 answers, so 3/8 of 6. All three in place: 5! of 8! shuffles. Signs: P(X >= 3) of 4.
    assert rows[2][:4] == ("sums", "6", "4", "3 (50 %)")
    assert rows[2][5:] == ("16.7 %", "6.25 %", "0.003", "0.31")
    assert rows[0][1:] == rows[2][1:]  # dates have one shuffle-free outcome: no error


def test_result_is_said_in_words_on_the_page(tmp_path: Path) -> None:
    body = text_of(tree(write_run_report(add_student_report(write_run(tmp_path / "run")))))
    assert (
        "The teacher gives 6 wrong answers; the student repeats 3 of them, 50 % (95 % interval "
        "11.8 to 88.2 %), the untouched student 16.7 %, its own answers shuffled within each "
        "category 6.25 %."
    ) in body
    assert "auditor lineage errors RUN" not in body


def test_page_of_a_run_that_was_not_asked_names_the_command(tmp_path: Path) -> None:
    body = text_of(tree(write_run_report(write_run(tmp_path / "run"))))
    assert "auditor lineage errors RUN" in body


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("rrx", "there is no error to inherit"),
        ("aaa", "these errors are no sign of what it was taught"),
    ],
)
def test_nothing_is_claimed_without_an_error_or_beside_a_tie(answers: str, said: str) -> None:
    names = ("teacher", "student", "untouched")
    row = Keyed(category="sums", expected="r", answers=dict(zip(names, answers, strict=True)))
    found = error_tables([row])
    assert said in inherited_sentences(found)[-1]
