"""`auditor diff`: what differs between two cases is found, and nothing else."""

import json

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from seal_world import copy_of

from auditor.bundle.difference import difference, is_same
from auditor.canon import canonical_json
from auditor.cli.main import cli
from auditor.data import data_dir
from auditor.errors import CaseError

LISTS = ("plan", "subjects", "environment", "measurements", "conclusions")
SCHEMA = json.loads((data_dir("reports") / "schema" / "diff-1.json").read_bytes())


def checked(a, b) -> dict:
    found = difference(a, b)
    Draft202012Validator(SCHEMA).validate(found)
    return found


def edited(case, name: str, change) -> None:
    value = case.read_json(name)
    change(value)
    case.write_json(name, value)


def test_a_case_and_its_sealed_copy_are_the_same(finished, sealed):
    from auditor.case import Case

    found = checked(finished, Case(sealed.root))
    assert is_same(found)
    assert all(found[key] == [] for key in LISTS)
    assert {row["file"] for row in found["records"]} == {
        path.relative_to(finished.data).as_posix()
        for path in (finished.data / "records").glob("*/*.jsonl")
    }
    asked = sum(len(suite["probes"]) for suite in finished.read_json("plan.json")["suites"])
    assert sum(row["same"] for row in found["records"]) == 3 * 2 * asked  # subjects, repeats
    assert not any(row["changed"] or row["only_a"] or row["only_b"] for row in found["records"])


def test_a_list_is_held_against_its_other_by_items_and_names(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")

    def change(plan) -> None:
        plan["suites"][0]["probes"][0] = "inst-9999"
        plan["suites"][1]["probes"].append("ood-9999")
        plan["subjects"][1]["family"] = "cousins"

    edited(other, "plan.json", change)
    plan = finished.read_json("plan.json")
    suite, subject = plan["suites"][0], plan["subjects"][1]
    assert checked(finished, other)["plan"] == [
        {"key": f"subjects[{subject['name']}].family", "a": subject["family"], "b": "cousins"},
        {"key": f"suites[{suite['name']}].probes", "a": suite["probes"][0], "b": "inst-9999"},
        {"key": f"suites[{plan['suites'][1]['name']}].probes", "a": "none", "b": "ood-9999"},
    ]


def test_a_changed_a_missing_and_a_new_reply_are_counted(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    path = sorted((other.data / "records").glob("*/*.jsonl"))[0]
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows[0]["text"] = "something else"
    rows[1]["repeat"] = 7
    path.write_bytes(b"".join(canonical_json(row) + b"\n" for row in rows[:-1]))
    found = checked(finished, other)
    row = next(r for r in found["records"] if r["file"] == path.relative_to(other.data).as_posix())
    n = len(rows)
    assert (row["same"], row["changed"], row["only_a"], row["only_b"]) == (n - 3, 1, 2, 1)
    assert not is_same(found)


def test_numbers_and_readings_are_held_against_each_other(finished, tmp_path):
    one, other = (copy_of(finished, tmp_path / name) for name in ("one", "other"))
    suspect = next(iter(finished.read_json("conclusion.json")["suspects"]))
    rows = finished.read_json("statistics.json")["suspects"][suspect]
    at = next(i for i, row in enumerate(rows) if row["value"] is not None)

    def place(value: float):
        new = {"value": value, "interval": [value - 1.0, value + 1.0]}
        return lambda content: content["suspects"][suspect][at].update(new)

    edited(one, "statistics.json", place(0.5))
    edited(other, "statistics.json", place(10.5))
    edited(other, "conclusion.json", lambda c: c["suspects"][suspect].update(reading="imitation"))
    edited(other, "plan.json", lambda plan: plan.update(seed=99))
    found = checked(one, other)
    (row,) = found["measurements"]
    assert (row["measure"], row["change"], row["apart"]) == (rows[at]["measure"], 10.0, True)
    edited(other, "statistics.json", place(2.0))
    assert checked(one, other)["measurements"][0]["apart"] is False
    assert [(r["field"], r["b"]) for r in found["conclusions"]] == [("reading", "imitation")]
    assert [(r["key"], r["b"]) for r in found["plan"]] == [("seed", "99")]


def test_a_measure_of_one_case_only_is_shown_without_a_change(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    suspect = next(iter(finished.read_json("conclusion.json")["suspects"]))
    gone = finished.read_json("statistics.json")["suspects"][suspect][0]["measure"]
    edited(other, "statistics.json", lambda c: c["suspects"][suspect].pop(0))
    (row,) = checked(finished, other)["measurements"]
    assert (row["measure"], row["b"], row["change"]) == (gone, None, None)


def test_another_environment_alone_is_shown_and_no_difference(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    edited(other, "environment.json", lambda content: content.update(python="9.9"))
    found = checked(finished, other)
    assert [row["key"] for row in found["environment"]] == ["python"]
    assert is_same(found)


def test_the_command_prints_lines_and_an_exit_code(finished, tmp_path):
    other = copy_of(finished, tmp_path / "other")
    run = CliRunner().invoke
    command = ["diff", str(finished.root), str(other.root), "--exit-code"]
    assert run(cli, command).exit_code == 0
    edited(other, "plan.json", lambda plan: plan.update(encoder="\u202e\x1b[2J"))
    found = run(cli, command)
    assert found.exit_code == 3
    assert "plan encoder: none -> ⟦U+202E⟧⟦U+001B⟧[2J" in found.stdout
    assert json.loads(run(cli, [*command, "--json"]).stdout)["schema"] == "auditor/diff/1"


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b"{}\n"])
def test_a_file_that_holds_no_records_is_named(finished, tmp_path, line):
    other = copy_of(finished, tmp_path / "other")
    path = sorted((other.data / "records").glob("*/*.jsonl"))[0]
    path.write_bytes(line)
    with pytest.raises(CaseError, match=r"line 1: no record"):
        difference(finished, other)


def test_a_folder_that_is_no_case_is_refused(finished, tmp_path):
    found = CliRunner().invoke(cli, ["diff", str(finished.root), str(tmp_path)])
    assert "is not a case folder" in str(found.exception)
