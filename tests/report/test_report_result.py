"""result.json and scan output follow their published schemas, and so do the files of a case."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from case_fixture import build_case
from jsonschema import Draft202012Validator, ValidationError
from referencing import Registry, Resource

from auditor.audit import judge_case
from auditor.case import Case
from auditor.data import data_dir
from auditor.errors import CaseError
from auditor.report.result import result_json, scan_json, stored_result

FOLDER = data_dir("reports") / "schema"
SCHEMAS = {path.stem: json.loads(path.read_bytes()) for path in sorted(FOLDER.glob("*.json"))}
CONTROLS = [("indep-a", "independent"), ("sib", "sibling")]


def validator(name: str) -> Draft202012Validator:
    registry = Registry().with_resources(
        (f"{stem}.json", Resource.from_contents(schema)) for stem, schema in SCHEMAS.items()
    )
    return Draft202012Validator(SCHEMAS[name], registry=registry)


def assert_follows(name: str, value: Any) -> None:
    validator(name).validate(value)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return build_case(tmp_path / "case", controls=CONTROLS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_named_after_its_format(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    stem, _, version = name.rpartition("-")
    assert SCHEMAS[name]["title"] == f"auditor/{stem}/{version}"


def test_result_has_the_fields_of_the_contract(case):
    result = result_json(case, "student")
    assert_follows("result-1", result)
    assert list(result) == [
        "schema", "case", "report", "suspect", "reference", "controls", "suites",
        "measurements", "conclusion",
    ]  # fmt: skip
    assert result["case"] == str(case.root)
    assert result["report"] == str(case.data / "report.html")
    assert result["suspect"]["spec"] == "local:/models/student"
    assert result["suspect"]["access"] == "WEIGHTS"
    assert [c["role"] for c in result["controls"]] == ["independent", "sibling"]
    assert result["suites"][0]["probes"] == 16


def test_measurements_are_the_statistics_of_the_case(case):
    statistics = case.read_json("statistics.json")["suspects"]["student"]
    assert result_json(case, "student")["measurements"] == statistics


def test_scan_has_one_result_a_suspect_in_the_order_given(tmp_path):
    names = ["zeta", "alpha", "mid"]
    case = build_case(tmp_path / "case", suspects=names)
    scan = scan_json(case)
    assert_follows("scan-1", scan)
    assert [r["suspect"]["spec"] for r in scan["results"]] == [f"local:/models/{n}" for n in names]
    assert [r["report"] for r in scan["results"]] == [
        str(case.data / f"report-{n}.html") for n in names
    ]


def test_stored_result_names_no_place_outside_the_case(case):
    stored = stored_result(case, "student")
    assert_follows("result-1", stored)
    assert (stored["case"], stored["report"]) == ("..", "report.html")
    assert str(case.root) not in json.dumps(stored)


@pytest.mark.parametrize("name", ["plan", "statistics", "conclusion"])
def test_files_of_a_case_follow_their_schemas(case, name):
    # The last two as the judging stage writes them from these statistics.
    judge_case(case)
    assert_follows(f"{name}-1", case.read_json(f"{name}.json"))


def broken(result: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(result)
    *parents, last = path.split(".")
    part: Any = changed
    for key in parents:
        part = part[int(key)] if key.isdigit() else part[key]
    part[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surprise", 1),
        ("suspect.digest", "abc"),
        ("suspect.access", 4),
        ("controls.0.role", "suspect"),
        ("conclusion.reading", "guilty"),
        ("conclusion.log10_lr", {"guilt": 3.0}),
        # a value and a reason at once, or neither
        ("measurements.1.undefined", "why"),
        ("measurements.0.undefined", None),
        ("measurements.1.rank_p", 0.0),
        ("measurements.1.value", "0.8"),
    ],
)
def test_schema_refuses(case, path, value):
    result = result_json(case, "student")
    with pytest.raises(ValidationError):
        validator("result-1").validate(broken(result, path, value))


def test_unknown_suspect_is_named(case):
    with pytest.raises(CaseError, match="'teacher2' is not a judged suspect"):
        result_json(case, "teacher2")
