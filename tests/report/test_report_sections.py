"""The sections of prose: from the files of a case alone, the same in HTML and Markdown."""

import json
import re
from dataclasses import replace
from pathlib import Path

import html5lib
import pytest
from case_fixture import build_case

from auditor.case import Case
from auditor.report.findings import read_findings
from auditor.report.render import rendered as rendered_files
from auditor.report.sections import sections

CONTROLS = [("indep-a", "independent"), ("indep-b", "independent"), ("sib", "sibling")]
MATTER = {
    "number": "2026-17 <b>",
    "parties": [{"name": "Example GmbH", "role": "claimant"}, {"name": "B Ltd", "role": "other"}],
    "examiner": "A. Examiner",
    "instructed_by": None,
    "instructions": "Compare the two models.",
}
RATES = [
    {
        "measure": "sample-llr",
        "threshold": 3.0125,
        "false_support": {
            "count": 1,
            "families": 86,
            "value": 0.011627906976744186,
            "interval": [0.00029434978669505514, 0.06309051627850096],
        },
        "missed": [
            {"dose": 0.5, "count": 0, "families": 11, "value": 0.0, "interval": [0.0, 0.2849]}
        ],
    }
]


@pytest.fixture
def case(tmp_path) -> Case:
    return build_case(tmp_path / "case", controls=CONTROLS)


def change(case: Case, name: str, edit) -> Case:
    content = case.read_json(name)
    edit(content)
    case.write_json(name, content)
    return case


def declared(case: Case, **stated) -> Case:
    """Let the case have a plan that states some things."""
    plan = {
        "title": "T",
        "question": None,
        "hypotheses": [],
        "population": None,
        "measures": [],
        "decision": None,
        **stated,
    }
    whole = {"plan": plan, "digest": "sha256:0", "lock": None, "accepted": None}
    change(case, "plan.json", lambda c: c.update(declared=whole, marks=[]))
    case.write_json("deviations.json", {"deviations": []})
    return case


def pages(case: Case) -> dict[str, str]:
    found = {name: content.decode() for name, content in rendered_files(case)}
    return {"html": found["report.html"], "md": found["report.md"], **found}


def facts_of(case: Case, key: str) -> dict[str, str]:
    return dict(sections(read_findings(case, "student"))[key].facts)


def grid_rows(case: Case, key: str, grid: int = 0) -> list[tuple]:
    return list(sections(read_findings(case, "student"))[key].grids[grid].rows)


def test_both_pages_have_every_section_in_the_same_order(case):
    found = pages(case)
    tree = html5lib.parse(found["html"], namespaceHTMLElements=False)
    in_html = ["".join(h.itertext()) for h in tree.iter("h2")]
    in_html = [title for title in in_html if title not in ("What this does not say",)]
    assert in_html == re.findall("^## (.*)$", found["md"], re.M)
    assert {
        "Matter and instructions", "Propositions and population", "Items examined",
        "Plan and deviations", "Findings", "Validation and error rates", "Robustness and power",
        "Alternative explanations considered", "Side by side", "Limits", "Check the files",
        "Failed requests and exclusions", "How it was done", "Checklists", "Glossary",
    } <= set(in_html)  # fmt: skip


def test_what_a_plan_states_is_shown_and_the_rest_is_not_stated(case):
    facts = facts_of(declared(case, matter=MATTER, question="Who?"), "matter")
    assert facts["Parties"] == "Example GmbH (claimant), B Ltd (other)"
    assert facts["Instructions received"] == "Compare the two models."
    assert facts["Instructed by"] == "not stated"
    assert facts["Question put"] == "Who?"
    found = pages(case)
    assert "2026-17 &lt;b&gt;" in found["html"]
    assert "2026-17 &lt;b>" in found["md"]


def test_without_a_plan_nothing_is_stated(case):
    facts = facts_of(case, "matter")
    assert {value for name, value in facts.items() if not name.startswith("Case")} == {"not stated"}
    assert "No plan was declared beforehand" in pages(case)["html"]


def test_propositions_stand_beside_those_of_the_plan(case):
    own = [{"name": "imitation", "statement": "It was trained on answers."}]
    rows = grid_rows(declared(case, hypotheses=own), "propositions")
    assert [row[0] for row in rows] == ["H_I independent", "H_M imitation", "H_R replication"]
    assert [row[2] for row in rows] == ["not stated", "It was trained on answers.", "not stated"]
    assert rows[2][1].startswith("The weights of student derive from those of teacher")


def test_families_count_once_a_role(case):
    def one_family(content):
        for subject in content["subjects"]:
            if subject["role"] == "independent":
                subject["family"] = "shared"

    change(case, "subjects.json", one_family)
    assert facts_of(case, "propositions")["Control families"] == "1 independent, 1 sibling"


def in_this_case(case: Case) -> dict[str, str]:
    return {row[0]: row[3] for row in grid_rows(case, "alternatives")}


def test_an_alternative_is_controlled_where_the_case_has_its_control(tmp_path):
    bare = in_this_case(build_case(tmp_path / "bare", controls=CONTROLS[:2]))
    full = in_this_case(build_case(tmp_path / "full", controls=[*CONTROLS, ("b", "base")]))
    base, teacher = list(full)[1:3]
    assert bare[base].startswith("Open: no control of role base")
    assert full[base] == "Controlled: 1 control family of role base (b)."
    assert bare[teacher].startswith("Open: no control of role sibling")
    assert full[teacher].startswith("Controlled: 1 control family of role sibling (sib)")


def test_a_suspect_without_weights_may_pass_requests_on(case):
    key = "The suspect passes requests on to the reference"
    assert in_this_case(case)[key].startswith("Controlled: the suspect's own weights")

    def text_only(content):
        content["subjects"][1]["ref"]["access"] = "TEXT"

    assert in_this_case(change(case, "subjects.json", text_only))[key].startswith("Open")


def test_every_error_rate_on_the_page_is_the_stored_number(case):
    def with_rates(content):
        content["suspects"]["student"]["error_rates"] = RATES

    found = pages(change(case, "conclusion.json", with_rates))
    tree = html5lib.parse(found["html"], namespaceHTMLElements=False)
    (section,) = tree.findall(".//section[@aria-labelledby='validation']")
    shown = [float(item.attrib["value"]) for item in section.iter("data")]
    false, missed = RATES[0]["false_support"], RATES[0]["missed"][0]
    assert shown == [
        3.0125, false["value"], *false["interval"], 3.0125, missed["value"], *missed["interval"],
    ]  # fmt: skip
    text = "".join(section.itertext())
    assert "1 of 86" in text
    assert "0 of 11" in text
    assert "1 of 86" in found["md"]


def test_no_error_rate_is_said_to_be_unknown(case):
    (part,) = [sections(read_findings(case, "student"))["validation"]]
    assert part.paragraphs[0].startswith("No error rate is known for this case")
    assert part.grids == ()


def test_robustness_lists_suspects_without_a_finding_too(tmp_path):
    case = build_case(tmp_path / "scan", suspects=("student", "tuned-1.5"), controls=CONTROLS)
    assert [row[0] for row in grid_rows(case, "robustness")] == ["student", "tuned-1.5"]
    assert "asked once" in facts_of(case, "robustness")["Noise floor"]
    found = read_findings(case, "student")
    thrice = sections(replace(found, plan={**found.plan, "repeats": 3}))["robustness"]
    assert dict(thrice.facts)["Noise floor"].startswith("each probe was asked 3 times")


def failed(case: Case, errors: list[str]) -> Case:
    rows = [
        {"subject": "student", "suite": "s", "probe_id": f"p{i}", "repeat": 0, "attempt": 1,
         "error": error}
        for i, error in enumerate(errors)
    ]  # fmt: skip
    lines = [json.dumps(row) + "\n" for row in rows]
    Path(case.data / "errors.jsonl").write_text("".join(lines))
    return case


def test_failures_are_grouped_and_counted(case):
    rows = grid_rows(failed(case, ["busy", "gone", "busy"]), "failures")
    assert rows == [("student", "2", "p0", "busy"), ("student", "1", "p1", "gone")]
    assert "3 requests of the case failed." in pages(case)["html"]


def test_many_kinds_of_failure_are_cut_and_the_cut_is_said(case):
    failed(case, [f"kind {i}" for i in range(25)])
    assert len(grid_rows(case, "failures")) == 20
    assert "The 20 most frequent kinds are shown." in pages(case)["md"]


def test_exclusions_name_the_undefined_measure_and_its_reason(case):
    (row,) = [r for r in grid_rows(case, "failures") if "S001" in r[0]]
    assert row[1].startswith("no probe has a checkable answer")


def test_checklists_leave_every_line_to_a_person(case):
    part = sections(read_findings(case, "student"))["checklists"]
    assert len(part.grids) == 3
    assert {row[-1] for grid in part.grids for row in grid.rows} == {"☐"}
    points = [row[0] for row in part.grids[1].rows]
    assert [point[:4] for point in points[:3]] == ["(i) ", "(ii)", "(iii"]


def test_licences_of_suites_are_those_they_state(case):
    assert "licence unstated" in pages(case)["md"]
    manifest = case.data / "probes" / "instructions@1" / "suite.toml"
    manifest.write_text(manifest.read_text() + 'licence = "CC0-1.0"\n')
    assert "licence CC0-1.0" in pages(case)["md"]
    assert ">CC0-1.0<" in pages(case)["html"]
