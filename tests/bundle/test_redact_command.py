"""`auditor redact`: what it says, what it refuses, and that the original is never touched."""

import json
import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator
from redact_world import redacted
from seal_world import files_of
from verify_world import copied, edit_json

from auditor.bundle.redact import plan_redaction
from auditor.bundle.rules import parse_rule
from auditor.data import data_dir
from auditor.errors import CaseError, InputError


def command(*words) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "auditor", "redact", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


def schema(name):
    return Draft202012Validator(
        json.loads((data_dir("reports") / "schema" / f"{name}.json").read_bytes())
    )


def test_a_dry_run_counts_and_writes_nothing(told, tmp_path):
    out = tmp_path / "copy"
    done = command(
        *(told.root, "--drop", "subject:told", "--out", out, "--dry-run"),
        *("--drop", "record:teacher/ood@1#2", "--json"),
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    schema("redact-1").validate(printed)
    # 6 probes with 2 repeats; the record of the reply that was never given is a line too.
    assert [one["lines"] for one in printed["rules"]] == [12, 1]
    assert printed["lines"] == {"withheld": 13, "total": 60}
    assert printed["bundle"] is None
    assert not out.exists()


def test_a_signed_copy_is_written_beside_the_case_which_stays_as_it_was(told, tmp_path):
    root = copied(told.root, tmp_path / "case.evidence")
    before = files_of(root)
    done = command(root, "--drop", "probe:ood-0002", "--key", told.private, "--role", "examiner")
    assert done.returncode == 0, done.stderr
    copy = tmp_path / "case.evidence.redacted"
    assert done.stdout.splitlines() == [
        str(copy),
        str(copy / "signatures/examiner.sigstore.json"),
    ]
    assert files_of(root) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [root.name, copy.name]
    stated = json.loads((copy / "data/redaction.json").read_bytes())
    schema("redaction-1").validate(stated)
    schema("evidence-1").validate(json.loads((copy / "data/evidence.json").read_bytes()))
    assert stated["rules"][0]["rule"] == "probe:ood-0002"


def test_a_pattern_is_not_written_into_the_copy(copy_of_told):
    stated = json.loads((copy_of_told.root / "data/redaction.json").read_bytes())
    schema("redaction-1").validate(stated)
    assert stated["rules"][0]["rule"] == "text"
    assert b"Zebra .*" not in b"".join(files_of(copy_of_told.root).values())


def test_a_pattern_that_stands_in_what_was_asked_is_said(told):
    found = plan_redaction(told.root, [parse_rule("text:Zebra|Instruction|ood-0002")])
    assert any(name.startswith("probes/ood@1/") for name in found.still)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], "nothing to withhold"),
        (["subject:nobody"], "subject:nobody names no record line"),
        (["suite:nothing"], "suite:nothing names no record line"),
        (["subject:told", "probe:none-1"], "probe:none-1 names no record line"),
        (["record:told/ood@1#99"], "record:told/ood@1#99 names no record line"),
        (["record:told"], "names no record line"),
        (["text:quagga"], "text:quagga names no record line"),
        (["text:(unclosed"], "no regular expression"),
        (["text:" + "a" * 1001], "a pattern of 1,001 characters"),
        (["told"], "'told' is no rule"),
        (["file:data/plan.json"], "'file:data/plan.json' is no rule"),
        (["subject:"], "'subject:' is no rule"),
    ],
)
def test_a_rule_that_names_nothing_is_refused(told, tmp_path, rules, message):
    words = [word for rule in rules for word in ("--drop", rule)]
    done = command(told.root, *words, "--out", tmp_path / "copy", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert message in error["message"]
    assert error["hint"]
    assert list(tmp_path.iterdir()) == []


def test_a_pattern_that_backtracks_without_end_is_stopped(told, monkeypatch):
    from auditor.bundle import rules

    monkeypatch.setattr(rules, "SECONDS", 0.2)
    with pytest.raises(InputError, match="longer than"):
        rules.occurs(rules.pattern("(a|aa)+(a|aa)+$"), "a" * 3000 + "b")


def test_a_name_that_a_pattern_finds_in_every_record_names_no_reply(told):
    # The subject's name, ids and digests are in every line, and no reply.
    with pytest.raises(InputError, match="names no record line"):
        plan_redaction(told.root, [parse_rule("text:^told$")])


def test_what_is_no_sealed_case_is_refused(told, copy_of_told, tmp_path):
    rule = [parse_rule("subject:told")]
    with pytest.raises(CaseError, match="is not a sealed case"):
        plan_redaction(told.case.root, rule)
    other = tmp_path / "bag"
    (other / "data").mkdir(parents=True)
    (other / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    with pytest.raises(CaseError, match="another tool's bag"):
        plan_redaction(other, rule)
    with pytest.raises(CaseError, match="is redacted already"):
        plan_redaction(copy_of_told.root, rule)
    changed = copied(told.root, tmp_path / "changed")
    edit_json(changed, "conclusion.json", lambda content: content.update(rules="x"))
    with pytest.raises(CaseError, match="does not verify: V"):
        plan_redaction(changed, rule)


def test_nothing_is_written_over_or_into_the_case(told, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(CaseError, match="exists"):
        redacted(told.root, tmp_path / "taken", "subject:told")
    with pytest.raises(CaseError, match="lies in the case itself"):
        redacted(told.root, told.root / "copy", "subject:told")
    (tmp_path / "free.part").mkdir()
    (tmp_path / "free.part" / "mine").write_text("x")
    with pytest.raises(CaseError, match="is in the way"):
        redacted(told.root, tmp_path / "free", "subject:told")
    assert (tmp_path / "free.part" / "mine").read_text() == "x"
