"""What the rows are summed up to, on tables small enough to count by hand."""

import json
import math

import pytest

from auditor.controls.comparison.discrimination import CROSS_VALIDATED, discrimination
from auditor.controls.comparison.summary import summarise
from auditor.controls.comparison.tables import markdown, write_comparison
from auditor.judge.bootstrap import Draws

DRAWS = Draws(seed=1, resamples=50)


def row(model, kind, score, **fields):
    return {
        "reading": "tool",
        "version": "1.0",
        "model": model,
        "role": kind.partition("/")[0],
        "kind": kind,
        "family": model,
        "split": "locked",
        "headline": True,
        "score": score,
        "scores": {},
        "stated": {},
        "verdict": None,
        "accuses_any": None,
        "accuses_replication": None,
        "seconds": 1.0,
        "failure": None,
        **fields,
    }


def question(rows, name="replication", split="locked"):
    return discrimination(rows, name, split, DRAWS)


def test_auc_counts_the_pairs_in_order():
    rows = [row("r1", "replication", 3.0), row("r2", "replication", 1.0)]
    rows += [row("i1", "independent", 2.0), row("i2", "independent", 0.0), row("s", "sibling", 1.0)]
    found = question(rows)
    # r1 above all 3; r2 above i2, level with s: (3 + 1.5) of 6.
    assert found.auc.value == pytest.approx(4.5 / 6)
    # Only r1 is above every unlinked score.
    assert found.tpr_at_fpr_1.value == pytest.approx(0.5)
    assert (found.models, found.families, found.without_score) == ((2, 3), (2, 3), 0)
    assert found.auc.interval[0] <= found.auc.value <= found.auc.interval[1]


def test_students_are_on_the_other_side_of_a_copy_and_on_the_side_of_a_link():
    rows = [row("r", "replication", 3.0), row("m", "imitation", 4.0), row("i", "independent", 0.0)]
    assert question(rows, "replication").auc.value == pytest.approx(0.5)  # above i, under m
    assert question(rows, "imitation").auc.value == pytest.approx(1.0)
    assert question(rows, "imitation").models == (1, 1)
    assert question(rows, "link").models == (2, 1)


def test_members_of_a_family_share_its_weight():
    rows = [row("r", "replication", 1.0), row("i", "independent", 0.0)]
    rows += [row(f"s{n}", "sibling", 2.0, family="f") for n in range(8)]
    # Families i and f weigh the same, however many members f has.
    assert question(rows).auc.value == pytest.approx(0.5)
    assert question(rows).families == (1, 2)


def test_models_without_a_score_are_counted_and_not_taken_for_zero():
    rows = [row("r", "replication", -1.0), row("i", "independent", -2.0)]
    rows.append(row("x", "independent", None, failure="timeout"))
    found = question(rows)
    assert (found.auc.value, found.without_score, found.models) == (1.0, 1, (1, 1))
    assert summarise(rows, draws=DRAWS)[0].failures == {"timeout": 1}


def test_low_doses_are_beside_the_headline_and_not_in_it():
    rows = [row("m", "imitation/full", 2.0), row("i", "independent", 1.0)]
    rows.append(row("low", "imitation/low", 0.0, headline=False))
    summary = summarise(rows, draws=DRAWS)[0]
    assert summary.questions["imitation"].auc.value == 1.0
    assert summary.kinds == {"imitation/full": 1.0, "imitation/low": 0.0}


def test_the_stated_cost_is_that_of_the_tools_own_odds():
    # p = .9 for a copy and .5 for an unlinked model:
    # (log2(1 + 1/9) + log2(1 + 1)) / 2 = (.152003 + 1) / 2.
    rows = [
        row("r", "replication", 0.9, stated={"replication": math.log10(9.0)}),
        row("i", "independent", 0.5, stated={"replication": 0.0}),
    ]
    assert question(rows).cllr_stated.value == pytest.approx((math.log2(10 / 9) + 1) / 2, abs=1e-12)
    assert "states no likelihood ratio" in question(rows, "link").cllr_stated.undefined


def test_a_score_of_its_own_on_a_question_counts_there_alone():
    rows = [
        row("r", "replication", None, scores={"replication": 2.0}),
        row("i", "independent", 1.0, scores={"replication": 3.0}),
    ]
    assert question(rows).auc.value == 0.0
    assert (question(rows, "link").without_score, question(rows, "link").models) == (1, (0, 1))


def many(split="locked", shift=0.0):
    return [
        row(
            f"{split}-{kind}{n}",
            kind,
            shift + (3.0 if kind == "replication" else 0.0) + math.sin(7.0 * n),
            split=split,
        )
        for kind in ("replication", "independent")
        for n in range(30)
    ]


def test_scores_are_calibrated_across_families_and_informative_ones_cost_less_than_1():
    found = question(many())
    assert found.calibrated_on == CROSS_VALIDATED
    assert 0.0 < found.cllr_calibrated.value < 0.5
    # Equal scores on both sides: no better than having no opinion.
    shuffled = [{**one, "score": math.sin(7.0 * n % 30)} for n, one in enumerate(many())]
    assert question(shuffled).cllr_calibrated.value == pytest.approx(1.0, abs=0.1)


def test_another_split_calibrates_where_there_is_one():
    # Calibrated 5 too high: every unlinked model of the locked split looks like a copy.
    rows = many() + many("calibration", shift=-5.0)
    found = question(rows)
    assert found.calibrated_on == "the rows of the other split"
    assert found.models == (30, 30)
    assert found.cllr_calibrated.value > 2.0
    assert question(rows, split=None).models == (60, 60)


def test_a_family_that_is_evaluated_does_not_calibrate():
    rows = many() + [
        {**one, "family": one["model"].replace("calibration", "locked")}
        for one in many("calibration")
    ]
    # All families of the other split are evaluated ones, so none is left to fit on.
    assert question(rows).calibrated_on == CROSS_VALIDATED


def test_a_question_without_one_of_its_sides_says_so():
    found = question([row("i", "independent", 1.0)])
    assert (found.auc.value, found.auc.interval) == (None, None)
    assert "one of the two" in found.auc.undefined


def test_a_score_that_is_the_same_everywhere_cannot_be_calibrated():
    rows = [{**one, "score": 1.0} for one in many()]
    found = question(rows)
    assert found.auc.value == 0.5
    assert "tells nothing apart" in found.cllr_calibrated.undefined


def test_accusations_count_families_and_leave_out_who_has_no_verdict():
    rows = [
        row("i1", "independent", 1.0, accuses_any=True, accuses_replication=True, family="f"),
        row("i2", "independent", 1.0, accuses_any=False, accuses_replication=False, family="f"),
        row("i3", "independent", 1.0, accuses_any=False, accuses_replication=False),
        row("i4", "independent", None),
        row("m", "imitation", 1.0, accuses_any=True),
    ]
    found = summarise(rows, draws=DRAWS)[0].accusations
    independent = found["independent"]
    assert (independent.any_link.count, independent.any_link.families) == (1, 2)
    # Of three models with a verdict one is accused.
    assert (independent.models, independent.any_link_models) == (3, 1)
    # Clopper-Pearson of 1 in 2: from 1 - sqrt(.975) to sqrt(.975).
    assert independent.any_link.interval == pytest.approx((1 - 0.975**0.5, 0.975**0.5), abs=1e-9)
    assert found["imitation"].any_link.count == 1
    assert found["imitation"].replication is None


def test_the_tables_and_the_json_hold_the_same_numbers(tmp_path):
    rows = [
        row("r", "replication", 3.0, verdict="COPY", accuses_any=True, accuses_replication=True),
        row("i", "independent", 1.0, verdict="NONE", accuses_any=False, accuses_replication=False),
        row("x", "sibling", None, failure="a | b"),
    ]
    rows += [{**one, "reading": "other", "verdict": None, "accuses_any": None} for one in rows]
    page, data = write_comparison(tmp_path, summarise(rows, draws=DRAWS), about=["Three models."])
    text, value = page.read_text(), json.loads(data.read_bytes())
    assert value["schema"] == "auditor/comparison/1"
    assert value["about"] == ["Three models."]
    assert [one["reading"] for one in value["readings"]] == ["tool", "other"]
    auc = value["readings"][0]["questions"]["replication"]["auc"]
    assert auc["value"] == 1.0
    low, high = auc["interval"]
    assert f"| tool | 1.0 | 1 / 1 | 1 | 1.000 [{low:.3f}, {high:.3f}] |" in text
    assert "| tool | 0/1 [0.00, 0.97] (0/1) | - | 1/1 [0.03, 1.00] (1/1) |" in text
    assert "| replication | 1.000 | 1.000 |" in text
    assert "| tool | replication | COPY 1 |" in text
    assert "| tool | a / b | 1 |" in text
    # A reading without verdicts is not in the table of verdicts.
    assert text.count("| other | 0/1") == 0
    assert text == markdown(summarise(rows, draws=DRAWS), ["Three models."])
