"""`auditor verify` on a redacted case: what it proves with whose key, and what it finds."""

import json
import shutil
import subprocess
import sys

import pytest
from redact_world import lines_below, redacted, resealed_copy, write_lines
from replay_world import FILE
from verify_world import copied, edit_json, failed

from auditor.bundle.keys import load_private_key, load_public_key, new_key
from auditor.bundle.signature import data_statement, sigstore_bundle
from auditor.bundle.verify import verify
from auditor.canon import canonical_json, leaf_hash, pretty_json
from auditor.case import Case
from auditor.report.render import write_reports
from auditor.withheld import placeholder

RECORDS = "records/teacher/instructions@1.jsonl"
"""Of which the first line is withheld."""


def details(found, name):
    return "\n".join(next(check for check in found.checks if check.id == name).details)


def keys_of(*paths):
    return [load_public_key(path) for path in paths]


def test_the_examiners_key_proves_the_copy_by_the_original(told, copy_of_told):
    found = verify(copy_of_told.root, keys_of(told.public))
    assert {check.id for check in found.checks if check.outcome == "fail"} == set()
    assert found.level == "L2"
    assert "signed the original" in details(found, "V05")
    assert "signed this redacted copy" not in details(found, "V05")
    assert "record lines and" in details(found, "V08")


def test_the_custodians_key_proves_the_copy_as_it_is(told, copy_of_told):
    found = verify(copy_of_told.root, keys_of(copy_of_told.public))
    assert found.level == "L2"
    assert "signed this redacted copy" in details(found, "V05")
    both = verify(copy_of_told.root, keys_of(copy_of_told.public, told.public))
    assert both.level == "L2"
    assert details(both, "V05").count(" signed ") == 2


def test_another_key_and_none_prove_nothing(copy_of_told, tmp_path):
    other = new_key(tmp_path)
    assert failed(copy_of_told.root, other.public) == {"V05"}
    assert verify(copy_of_told.root).level == "L1"


@pytest.fixture(scope="module")
def replayed(copy_of_told):
    """Return what replay.py finds in the copy."""
    done = subprocess.run(
        [sys.executable, "-I", str(FILE), str(copy_of_told.root), "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_replay_computes_all_that_does_not_rest_on_what_is_withheld(copy_of_told, replayed):
    stated = json.loads((copy_of_told.root / "data/redaction.json").read_bytes())
    statistics = Case(copy_of_told.root).read_json("statistics.json")["suspects"]
    # Of a statistic without any number there is none to be computed again.
    numbers = {
        row["id"]
        for rows in statistics.values()
        for row in rows
        if any(value is not None for value in (row["value"], *row["control_values"]))
    }
    missed = {line["id"] for line in replayed["lines"] if line["outcome"] == "not replayable"}
    assert missed & numbers == set(stated["statistics"])
    assert 0 < len(stated["statistics"]) < len(numbers)
    assert replayed["counts"]["differs"] == 0


def test_a_copy_that_is_replayed_in_part_is_not_called_replayed(told, copy_of_told, replayed):
    found = verify(copy_of_told.root, keys_of(told.public), replay=True)
    (check,) = [check for check in found.checks if check.id == "V12"]
    assert check.outcome == "skipped"
    assert found.level == "L2"
    counts = replayed["counts"]
    assert f"{counts['ok']} ok, 0 differs, {counts['not replayable']} not" in check.details[0]
    assert "withheld" in "\n".join(check.details[1:])


def test_a_changed_statistic_is_found_by_the_replay_of_a_copy(copy_of_told, tmp_path):
    root = copied(copy_of_told.root, tmp_path / "case")
    stated = json.loads((root / "data/redaction.json").read_bytes())["statistics"]

    def change(content):
        rows = content["suspects"]["independent"]
        row = next(r for r in rows if r["value"] and r["id"] not in stated)
        row["value"] *= 1.01

    edit_json(root, "statistics.json", change)
    done = subprocess.run([sys.executable, "-I", str(FILE), str(root)], capture_output=True)
    assert done.returncode == 5


def test_a_removed_or_exchanged_signature_of_the_original_is_found(told, copy_of_told, tmp_path):
    name = "data/parent/signatures/examiner.sigstore.json"
    root = copied(copy_of_told.root, tmp_path / "removed")
    (root / name).unlink()
    resealed_copy(root)
    assert "V05" in failed(root, told.public)

    root = copied(copy_of_told.root, tmp_path / "exchanged")
    other = new_key(tmp_path)
    lines = (root / "data/parent/manifest-sha256.txt").read_text().splitlines()
    digests = {line[66:].removeprefix("data/"): line[:64] for line in lines}
    forged = sigstore_bundle(
        load_private_key(other.private), canonical_json(data_statement(digests))
    )
    (root / name).write_bytes(pretty_json(forged))
    write_reports(Case(root))
    resealed_copy(root)
    assert failed(root, told.public) == {"V05"}

    root = copied(copy_of_told.root, tmp_path / "edited")
    content = json.loads((root / name).read_bytes())
    one = content["dsseEnvelope"]["signatures"][0]
    one["sig"] = one["sig"][:20] + ("A" if one["sig"][20] != "A" else "B") + one["sig"][21:]
    (root / name).write_bytes(pretty_json(content))
    resealed_copy(root)
    assert "V05" in failed(root, told.public)


def test_the_original_of_another_case_is_found(copy_of_told, signed, tmp_path):
    root = copied(copy_of_told.root, tmp_path / "case")
    other = redacted(signed.root, tmp_path / "other", "probe:ood-0002")
    shutil.rmtree(root / "data/parent")
    shutil.copytree(other / "data/parent", root / "data/parent")
    parent = json.loads((other / "data/evidence.json").read_bytes())["parent"]
    edit_json(root, "evidence.json", lambda one: one.update(parent=parent))
    resealed_copy(root)
    assert {"V07", "V08"} <= failed(root)


def test_a_case_that_was_not_redacted_may_withhold_nothing(told, tmp_path):
    root = copied(told.root, tmp_path / "case")
    lines = lines_below(root, RECORDS)
    write_lines(root, RECORDS, [placeholder(leaf_hash(lines[0])), *lines[1:]])
    resealed_copy(root)
    assert "V07" in failed(root)


def test_a_failure_is_withheld_only_with_its_record(told, tmp_path):
    root = redacted(told.root, tmp_path / "copy", "subject:told")
    assert failed(root, told.public) == set()
    (row,) = [json.loads(line) for line in lines_below(root, "errors.jsonl")]
    write_lines(root, "errors.jsonl", [canonical_json({**row, "subject": "teacher"})])
    write_reports(Case(root))
    resealed_copy(root)
    assert "V08" in failed(root)
    write_lines(root, "errors.jsonl", [canonical_json({**row, "error": "told after all"})])
    write_reports(Case(root))
    resealed_copy(root)
    assert "V08" in failed(root)
