"""The report says what the files beside the lineage say about the student, and no more."""

import json

import pytest
from run_fixture import write_run
from student_fixture import add_student_report, measured, student_board
from test_report_html import text_of, tree

from auditor.canon import canonical_json, file_digest
from auditor.errors import CaseError
from auditor.report.added import cost_facts, lineage_table
from auditor.report.distillation import write_run_report
from auditor.report.student import better, recovered_sentence, score_table


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = add_student_report(write_run(tmp_path_factory.mktemp("student") / "run"))
    return tree(write_run_report(run))


def cells(page, caption):
    """The rows of the table with this caption, as texts."""
    table = next(t for t in page.iter("table") if text_of(t.find("caption")) == caption)
    return [[text_of(cell) for cell in row] for row in table.findall(".//tbody/tr")]


def test_scores_stand_beside_those_of_null_students_and_baseline(page):
    rows = {row[0].partition(":")[0]: row[1:] for row in cells(page, "Scores on the held-out part")}
    assert list(rows) == [
        "the student",
        "the baseline",
        "untouched",
        "shuffled",
        "empty",
        "the teacher",
    ]
    # Means of two categories of the same size: (2.25 + 4.9) / 2, (0.25 + 0.9) / 2, (0.8 + 0.5) / 2;
    # errors shared (0.15 + 0.3) / (0.2 + 0.6).
    assert rows["the student"][:4] == ["3.575", "0.575", "0.65", "0.5625"]
    # (3 + 5) / 2, (1 + 1) / 2, (0.6 + 0.45) / 2, (0.1 + 0.2) / 0.8
    assert rows["the baseline"][:4] == ["4", "1", "0.525", "0.375"]
    # ln 259 = 5.5568, less the entropy (1.5 + 3) / 2
    assert rows["empty"][:4] == ["5.557", "3.307", "0", "0"]
    assert rows["untouched"][4:] == ["yes", "loss 16, KL 16, agreement 16"]


def test_share_of_the_gap_is_said_with_its_interval_and_by_category(page):
    # (4 - 3.575) / (4 - 3)
    assert "42.5 %, 95 % interval" in text_of(page)
    rows = cells(page, "Share of the teacher gap recovered")
    assert [row[0] for row in rows] == ["all categories", "letters", "sums"]
    # (3 - 2.25) / (3 - 2) and (5 - 4.9) / (5 - 4)
    assert [row[1] for row in rows] == ["0.425", "0.75", "0.1"]


def test_categories_say_what_was_not_learned_and_which_errors_were_inherited(page):
    rows = cells(page, "What was and was not learned")
    # 0.2 of 800 targets, and 0.15 / 0.2 of these; by the baseline 0.1 / 0.2
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["letters"][:6] == ["8", "800", "2.25", "0.25", "0.8", "0.75"]
    assert by_name["letters"][6:] == ["160", "0.75", "0", "0.5"]
    assert by_name["sums"][6:] == ["480", "0.5", "0", "0.3333"]
    assert (
        "the teacher's likeliest token is not the one that came next. The student prefers the "
        "same wrong token at 56.2 % of them; by comparison, the baseline student 37.5 %, the "
        "untouched student 0 %."
    ) in text_of(page)


def test_declared_stands_beside_measured(page):
    assert cells(page, "What the run declares and what an audit of its student finds") == [
        ["Relation", "imitation by method logits", "imitation"],
        ["Learned from", "logits", "logits"],
        ["Dose of the teacher", "90 %", "80 %, 95 % interval 50 to 100 %"],
        ["Seen for certain from", "", "25 %"],
    ]
    assert "consistent" in text_of(page)


def test_cost_is_listed(page):
    body = text_of(page)
    for expected in ("538,140", "1,024,000", "96.4 bytes a token", "120 s: answers 0.5 s"):
        assert expected in body


def test_exhibits_are_numbered_through(page):
    titles = [text_of(e).partition(":")[0] for e in page.findall(".//p[@class='title']")]
    assert titles == [f"Exhibit {number}" for number in range(1, 8)]


def test_what_was_not_measured_is_said_with_the_remedy(tmp_path):
    run = write_run(tmp_path / "run")
    (run / "fidelity.json").write_bytes(canonical_json(student_board()))
    body = text_of(tree(write_run_report(run)))
    assert "auditor distill RECIPE.yaml --out RUN --baseline BASELINE_RUN" in body
    assert "auditor lineage measure RUN" in body
    assert "Not recorded." in body
    assert "42.5 %" not in body


def test_run_without_scores_by_sequence_says_so(tmp_path):
    body = text_of(tree(write_run_report(write_run(tmp_path / "run"))))
    assert "Not measured: the run kept no scores by sequence." in body


@pytest.mark.parametrize(
    "name", ["baseline.json", "cost.json", "measured-lineage.json", "inherited-errors.json"]
)
def test_file_of_another_run_is_refused(tmp_path, name):
    run = add_student_report(write_run(tmp_path / "run"))
    content = json.loads((run / name).read_bytes())
    assert content["run"] == file_digest(run / "lineage.json")
    content["run"] = "sha256:" + "0" * 64
    (run / name).write_text(json.dumps(content))
    with pytest.raises(CaseError, match="was made from another lineage"):
        write_run_report(run)
    (run / name).write_text("[]")
    with pytest.raises(CaseError, match="is malformed"):
        write_run_report(run)


def won(loss, kl):
    return {
        "loss": {"better": loss, "sequences": 3, "of": 4},
        "kl": {"better": kl, "sequences": 0, "of": 4},
        "top1": None,
    }


def test_better_is_said_only_of_what_is_strictly_better():
    assert better(won(True, True)) == ("yes", "loss 3, KL 0")
    assert better(won(True, False)) == ("only on loss", "loss 3, KL 0")
    assert better(won(False, False)) == ("no", "loss 3, KL 0")
    assert better({"loss": None, "kl": None, "top1": None}) == ("not measured", "")
    assert better(None) == ("not measured", "")


def test_share_without_a_value_or_an_interval_gives_the_reason():
    none = {"value": None, "interval": None, "reason": "there is no gap to recover"}
    assert recovered_sentence(none) == "Not defined: there is no gap to recover."
    few = {"value": 0.5, "interval": None, "reason": "no interval: too few"}
    assert recovered_sentence(few) == "50 % (no interval: too few)."


def test_scores_without_a_teacher_are_not_zero():
    board = student_board()
    board["teacher"] = None
    for scores in board["students"].values():
        scores.update(kl=None, top1=None, inherited=None)
    board["students"]["untouched"] = None
    rows = score_table(board, None).rows
    assert rows[0][1:5] == ("3.575", "not measured", "not measured", "not measured")
    assert rows[1][1:5] == ("not kept",) * 4
    assert [row[0].partition(":")[0] for row in rows] == [
        "the student",
        "untouched",
        "shuffled",
        "empty",
    ]


def test_nothing_measured_gives_no_table_and_unknown_counts_are_named():
    found = measured()
    found["measured"] = None
    assert lineage_table(found) is None
    cost = {
        "training_tokens": 5,
        "teacher_tokens_scored": 0,
        "cache_bytes_per_token": None,
        "teacher_tokens_generated": None,
        "seconds": {"training": 1.5},
        "resumed": True,
    }
    facts = dict(cost_facts(cost))
    assert facts["Tokens that the teacher wrote"] == "not known"
    assert facts["Cache"] == "none"
    assert facts["Resumed"].startswith("yes (of the process that finished")
