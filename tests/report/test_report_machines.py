"""JUnit and SARIF of a case, read by other projects' tools."""

import json
from typing import Any

import pytest
from case_fixture import build_case
from click.testing import CliRunner
from junitparser import Error, Failure, JUnitXml, Skipped
from sarif import loader

from auditor.cli.main import cli
from auditor.report.junit import junit_of
from auditor.report.result import result_json
from auditor.report.sarif import sarif_of

CONTROLS = [("indep-a", "independent"), ("sib", "sibling")]


@pytest.fixture
def results(tmp_path) -> dict[str, dict[str, Any]]:
    case = build_case(tmp_path / "case", suspects=("student", "tuned-1.5"), controls=CONTROLS)
    return {name: result_json(case, name) for name in ("student", "tuned-1.5")}


def parsed(text: str) -> JUnitXml:
    return JUnitXml.fromstring(text.encode())


def test_junit_has_a_test_a_measure_and_one_for_the_conclusion(results):
    suites = list(parsed(junit_of(results, {}, None)))
    for suite, result in zip(suites, results.values(), strict=True):
        rows = result["measurements"]
        assert [case.name for case in suite] == [*(row["measure"] for row in rows), "conclusion"]
        skipped = [case.name for case in suite if any(isinstance(r, Skipped) for r in case.result)]
        assert skipped == [row["measure"] for row in rows if row["undefined"]]
        assert (suite.tests, suite.skipped) == (len(rows) + 1, len(skipped))
        assert (suite.failures, suite.errors) == (0, 0)
        assert "on 7 of 8 measures" in result["conclusion"]["basis"]
        assert "on 7 of 8 measures" in list(suite)[-1].system_out


def test_junit_fails_where_the_gate_holds_and_errs_where_it_is_unknown(results):
    gates = {"student": True, "tuned-1.5": None}
    first, second = parsed(junit_of(results, gates, "reading == imitation"))
    assert [type(r) for case in first for r in case.result if not isinstance(r, Skipped)] == [
        Failure
    ]
    assert "reading == imitation" in list(first)[-1].result[0].message
    assert [type(r) for case in second for r in case.result if not isinstance(r, Skipped)] == [
        Error
    ]
    whole = parsed(junit_of(results, gates, "x"))
    assert (whole.failures, whole.errors) == (1, 1)


def test_text_of_a_model_cannot_break_out_of_xml_or_json(results):
    hostile = '</system-out><testcase name="x"/>\x00\x1b[2J\u202e & ]]>'
    results["student"]["conclusion"]["basis"] = hostile
    results["student"]["measurements"][0]["undefined"] = hostile
    results["student"]["suspect"]["spec"] = hostile
    suite = next(iter(parsed(junit_of(results, {}, None))))
    assert len(list(suite)) == len(results["student"]["measurements"]) + 1
    assert "⟦U+202E⟧" in next(iter(suite)).result[0].message
    assert "\u202e" not in sarif_of(results, "1")


@pytest.mark.parametrize(
    ("reading", "level", "kind"),
    [
        ("imitation", "warning", "fail"),
        ("replication", "warning", "fail"),
        ("no-link", "none", "pass"),
        ("inconclusive", "none", "open"),
    ],
)
def test_sarif_is_read_by_another_tool(results, tmp_path, reading, level, kind):
    one = {"student": results["student"]}
    one["student"]["conclusion"] |= {"reading": reading, "via": None}
    path = tmp_path / "found.sarif"
    path.write_text(sarif_of(one, "0.1"))
    found = json.loads(path.read_text())["runs"][0]["results"][0]
    assert (found["level"], found["kind"]) == (level, kind)
    file = loader.load_sarif_file(str(path))
    assert file.get_distinct_tool_names() == ["auditor"]
    (record,) = file.get_records()
    assert record["Severity"] == level
    assert record["Code"] == f"reading/{reading}"
    assert record["Location"].endswith("report-student.html")


def test_report_command_prints_both_and_takes_a_gate_for_one(tmp_path):
    case = build_case(tmp_path / "case", controls=CONTROLS)
    run = CliRunner().invoke
    found = run(cli, ["report", str(case.root), "--format", "sarif"])
    assert found.exit_code == 0
    assert json.loads(found.stdout)["version"] == "2.1.0"
    command = ["report", str(case.root), "--format", "junit", "--fail-on"]
    assert parsed(run(cli, [*command, "reading == inconclusive"]).stdout).failures == 1
    assert parsed(run(cli, [*command, "reading == imitation"]).stdout).failures == 0
    assert parsed(run(cli, [*command, "MI > 10"]).stdout).errors == 1


def test_a_gate_without_junit_is_refused(tmp_path):
    case = build_case(tmp_path / "case", controls=CONTROLS)
    found = CliRunner().invoke(cli, ["report", str(case.root), "--fail-on", "MI > 10"])
    assert "--format junit" in str(found.exception)
