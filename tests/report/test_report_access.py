"""What the report says of the access: statements, power, and what lists of tokens leave out."""

import json
from dataclasses import replace

import numpy as np
import pytest
from case_fixture import build_case

from auditor.collect.topk import UNLISTED, topk_dtype
from auditor.data import data_dir
from auditor.judge.access_power import shipped_power
from auditor.report.access import access_part
from auditor.report.findings import read_findings

CONTROLS = [("indep-a", "independent"), ("indep-b", "independent")]


@pytest.fixture
def findings(tmp_path):
    case = build_case(tmp_path / "case", controls=CONTROLS)
    suspect = next(
        s["name"] for s in case.read_json("plan.json")["subjects"] if s["role"] == "suspect"
    )
    return read_findings(case, suspect)


def grid(part, start):
    (found,) = [one for one in part.grids if one.caption.startswith(start)]
    return found


def test_a_statement_without_its_measure_names_the_reason_and_the_access(findings):
    measured = findings.rows[0]
    rows = (
        replace(measured, name="sample-llr", id="S901", value=0.5, undefined=None),
        replace(measured, name="neuron-matching", id="S902", value=None, undefined="no weights"),
    )
    part = access_part(replace(findings, rows=rows))
    by_need = {row[1]: row[2] for row in grid(part, "Statements").rows}
    assert by_need["WEIGHTS"] == "No: no weights (S902)."
    assert by_need["TEXT; LOGITS of the reference and of controls"].startswith("Yes: ")
    both = "TOPK of given texts (echo), or LOGITS; the reference's tokenizer"
    assert by_need[both] == "No: not measured in this case."


def test_power_is_the_measured_table_of_the_pack(findings):
    path = data_dir("probes") / "packs" / "zoo" / "evaluation.json"
    table = json.loads(path.read_bytes())["access"]
    judged = {**findings.judged, "access": shipped_power()}
    shown = grid(access_part(replace(findings, judged=judged)), "Power by access, pack zoo").rows
    assert len(shown) == len(table) == 16
    assert [row[0] for row in shown[::4]] == ["TEXT", "TOPK", "LOGITS", "WEIGHTS"]
    assert shown[0][3:5] == ("86 of 87", "20 of 21")
    assert shown[0][5] == pytest.approx(20 / 21)


def test_figures_of_other_models_are_said_to_be_such(findings):
    findings = replace(findings, judged={"access": shipped_power()})
    elsewhere = "figures of other models and not the power of this case"
    unweighed = replace(findings, conclusion={**findings.conclusion, "log10_lr": None})
    assert elsewhere in " ".join(access_part(unweighed).closing)
    ratios = {"imitation:independent": 1.0}
    weighed = replace(findings, conclusion={**findings.conclusion, "log10_lr": ratios})
    assert elsewhere not in " ".join(access_part(weighed).closing)


def test_what_lists_leave_out_is_shown(findings):
    assert not [g for g in access_part(findings).grids if g.caption.startswith("Lists")]
    rows = np.zeros(4, dtype=topk_dtype(2))
    rows["ids"] = [[5, 6], [5, 6], [5, -1], [-1, -2]]
    rows["logprobs"] = np.where(rows["ids"] >= 0, np.log(0.25), UNLISTED)
    rows["tail"] = [0.5, 0.5, 0.75, 1.0]
    path = findings.case.array("topk", findings.suspect.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows)
    (row,) = grid(access_part(findings), "Lists").rows
    # 5 tokens listed at the 3 positions that are shown; (0.5 + 0.5 + 0.75 + 1) / 4 outside.
    suspect = findings.suspect.name
    assert row == (suspect, "the reference's text", "4", "1", "1.67", "0.688")
    answers = findings.case.array("answers", suspect)
    answers.parent.mkdir(parents=True, exist_ok=True)
    np.save(answers, rows[:2])
    rows_shown = grid(access_part(findings), "Lists").rows
    assert rows_shown[1] == (suspect, "the first token of each reply", "2", "0", "2", "0.5")
