"""`auditor claims` on a real audit of the shipped models."""

import json
import shutil

import pytest
from command_line import TINY, auditor, failure
from jsonschema import Draft202012Validator

from auditor.data import data_dir

SCHEMA = json.loads((data_dir("reports") / "schema" / "claims-1.json").read_text())


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A copy of a model and its audit against the original: weights derived again, bit for bit."""
    root = tmp_path_factory.mktemp("claims")
    model = root / "copy"
    shutil.copytree(TINY / "teacher", model)
    (model / "lineage.json").unlink()
    words = ("--suite", "instructions", "--probes", 2, "--max-new-tokens", 4)
    done = auditor("compare", model, "tiny:teacher", *words, "--out", root / "case", "--json")
    assert done.code == 0, done.err
    assert done.json["conclusion"]["reading"] == "replication"
    return root


def claims(audited, readme, *words):
    (audited / "copy" / "README.md").write_text(readme)
    found = ("--findings", audited / "case", *words)
    return auditor("claims", audited / "copy", *found)


def statuses(done):
    Draft202012Validator(SCHEMA).validate(done.json)
    return {row["kind"]: row["status"] for row in done.json["claims"]}


def test_from_scratch_is_not_contradicted_by_replication_and_passes_no_gate(audited):
    words = ("--fail-on", "contradicted", "--json")
    done = claims(audited, "Trained from scratch.", *words)
    assert done.code == 4, done.err
    found = statuses(done)
    assert found["from_scratch"] == "unverified"
    assert found["base_model"] == "no claim"
    assert found["undeclared_link"] == "no claim"


def test_a_named_base_is_consistent(audited):
    front = "---\nbase_model: org/teacher\n---\n"
    alias = ("--alias", "org/teacher", "--fail-on", "contradicted", "--fail-on", "undeclared")
    done = claims(audited, front, *alias, "--json")
    assert done.code == 0, done.err
    assert statuses(done)["base_model"] == "consistent"
    assert "undeclared_link" not in statuses(done)


def test_a_link_that_is_not_declared_can_fail_a_gate(audited):
    front = "---\nbase_model: org/other\n---\n"
    done = claims(audited, front, "--fail-on", "undeclared", "--json")
    assert done.code == 3
    assert statuses(done)["base_model"] == "unverified"
    assert claims(audited, front, "--fail-on", "contradicted").code == 4
    assert claims(audited, front).code == 0


def test_a_card_that_cannot_be_read_passes_no_gate(audited):
    broken = "---\nbase_model: [\n---\n"
    done = claims(audited, broken, "--fail-on", "contradicted", "--json")
    assert done.code == 4
    assert "no YAML" in done.json["problems"][0]
    assert claims(audited, broken).code == 0


def test_hostile_cards_are_inert(audited):
    done = claims(audited, "Trained from scratch (\x1b[31m\u202e <script>alert(1)</script>).\n")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "\u202e" not in done.out
    assert "from scratch" in done.out


def test_the_result_file_is_taken_as_well_as_the_case(audited):
    (audited / "copy" / "README.md").write_text("Trained from scratch.")
    result = audited / "case" / "data" / "result.json"
    done = auditor("claims", audited / "copy", "--findings", result, "--json")
    assert statuses(done)["from_scratch"] == "unverified"


def result_against(audited, path, reading, spec):
    """Write the audit's result with another reading, against another reference."""
    result = json.loads((audited / "case" / "data" / "result.json").read_text())
    result["conclusion"]["reading"] = reading
    result["reference"]["spec"] = spec
    path.write_text(json.dumps(result))
    return ("--findings", path)


def test_an_undecided_audit_passes_no_gate_on_hidden_links(audited, tmp_path):
    other = result_against(audited, tmp_path / "x.json", "inconclusive", "local:/other")
    front = "---\nbase_model: org/teacher\n---\n"
    alias = ("--alias", "org/teacher=tiny:teacher", "--json")
    done = claims(audited, front, *other, *alias, "--fail-on", "undeclared")
    assert statuses(done)["undeclared_link"] == "unverified"
    assert done.code == 4
    # That gate alone asks for hidden links, and what was found comes before what was not.
    assert claims(audited, front, *other, *alias, "--fail-on", "contradicted").code == 0
    assert claims(audited, "# x", *other, *alias, "--fail-on", "undeclared").code == 3


def test_an_alias_of_several_references_says_of_which(audited, tmp_path):
    other = result_against(audited, tmp_path / "x.json", "no-link", "local:/other")
    front = "---\nbase_model: org/teacher\n---\n"
    error = failure(claims(audited, front, *other, "--alias", "org/teacher", "--json"))
    assert "2 references" in error["message"]
    assert "--alias org/teacher=" in error["hint"]
    assert "tiny:teacher" in error["hint"]
    error = failure(claims(audited, front, *other, "--alias", "org/teacher=x", "--json"))
    assert "no finding compares with x" in error["message"]
    assert "local:/other, tiny:teacher" in error["hint"]
    done = claims(audited, front, *other, "--alias", "org/teacher=tiny:teacher", "--json")
    assert statuses(done)["base_model"] == "consistent"


def test_a_model_is_not_accused_by_itself(audited, tmp_path):
    spec = f"local:{audited / 'copy'}"
    itself = result_against(audited, tmp_path / "x.json", "replication", spec)
    (audited / "copy" / "README.md").write_text("Trained from scratch.")
    gates = ("--fail-on", "contradicted", "--fail-on", "undeclared", "--json")
    done = auditor("claims", audited / "copy", *itself, *gates)
    found = statuses(done)
    assert (found["from_scratch"], found["undeclared_link"]) == ("unverified", "unverified")
    assert done.code == 4


def test_findings_on_another_model_are_refused(audited):
    error = failure(auditor("claims", "tiny:sibling", "--findings", audited / "case", "--json"))
    assert "no finding is about tiny:sibling" in error["message"]
    assert error["hint"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no result"),
        (b"[]", "holds no result"),
        (b'{"schema": "auditor/prefilter/1"}', "holds no result"),
        (b'{"schema": "auditor/result/1"}', "not as its schema has it"),
        (b'{"schema": "auditor/scan/1"}', "not as its schema has it"),
    ],
)
def test_findings_that_are_none_are_refused(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    error = failure(auditor("claims", "tiny:teacher", "--findings", path, "--json"))
    assert message in error["message"]


def test_missing_findings_are_refused(tmp_path):
    error = failure(auditor("claims", "tiny:teacher", "--findings", tmp_path / "x", "--json"))
    assert "cannot be read" in error["message"]
