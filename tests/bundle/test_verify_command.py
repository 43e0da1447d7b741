"""`auditor verify`: exit codes, levels, whose key counts, and what it refuses to call evidence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from seal_world import files_of
from verify_world import copied, edit_json, failed

from auditor.bundle.keys import load_private_key, load_public_key, new_key
from auditor.bundle.signature import sign_case
from auditor.bundle.verify import verify
from auditor.data import data_dir
from auditor.errors import CaseError


def command(*words) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "auditor", "verify", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True)


def test_a_signed_case_is_verified_with_the_key_and_nothing_is_changed(signed):
    before = files_of(signed.root)
    done = command(signed.root, "--key", signed.public, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    printed = json.loads(done.stdout)
    schema = json.loads((data_dir("reports") / "schema" / "verify-1.json").read_bytes())
    Draft202012Validator(schema).validate(printed)
    assert printed["level"] == "L2"
    assert files_of(signed.root) == before


def test_without_a_key_a_case_is_intact_and_not_authenticated(signed):
    done = command(signed.root)
    assert done.returncode == 6
    assert done.stdout.splitlines()[-1].startswith("L1 ")


def test_a_level_that_is_not_reached_is_6(signed):
    assert command(signed.root, "--key", signed.public, "--min-level", "L3").returncode == 6


def test_a_changed_case_is_5(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    edit_json(root, "conclusion.json", lambda content: content.update(rules="x"))
    assert command(root, "--key", signed.public).returncode == 5


def test_a_draft_is_named_and_is_no_evidence(finished):
    done = command(finished.root)
    assert done.returncode == 2
    assert "is a draft, not evidence" in done.stderr


def test_an_unfinished_seal_is_named(signed, tmp_path):
    with pytest.raises(CaseError, match="unfinished seal"):
        verify(copied(signed.root, tmp_path / "case.evidence.part"))


def test_a_file_that_is_no_zip_is_named(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(CaseError, match="neither a folder nor a zip"):
        verify(tmp_path / "x")


def test_the_bag_of_another_tool_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_bytes(b"a")
    (tmp_path / "bagit.txt").write_bytes(b"BagIt-Version: 1.0\n")
    found = verify(tmp_path)
    assert found.level == "L0"
    assert "another tool's bag" in found.checks[1].details[0]


def test_another_major_version_is_named_and_not_read_further(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    edit_json(root, "evidence.json", lambda content: content.update(schema="auditor/evidence/2"))
    checks = {check.id: check for check in verify(root).checks}
    assert "auditor/evidence/2" in checks["V02"].details[0]
    assert checks["V08"].outcome == "skipped"


def test_a_case_signed_by_another_key_is_not_signed(signed, tmp_path):
    other = new_key(tmp_path, "other")
    assert failed(signed.root, other.public) == {"V05"}


def test_each_of_two_keys_must_have_signed(signed, tmp_path):
    root, other = copied(signed.root, tmp_path / "case"), new_key(tmp_path, "other")
    keys = [load_public_key(Path(signed.public)), load_public_key(other.public)]
    assert verify(root, keys).level == "L0"
    sign_case(root, load_private_key(other.private), "reviewer")
    assert verify(root, keys).level == "L2"


def test_a_key_that_the_case_carries_is_shown_and_not_trusted(signed, tmp_path):
    root, thief = copied(signed.root, tmp_path / "case"), new_key(tmp_path, "thief")
    for path in (root / "signatures").iterdir():
        path.unlink()
    path = sign_case(root, load_private_key(thief.private), "examiner")
    content = json.loads(path.read_bytes())
    content["verificationMaterial"]["publicKey"]["rawBytes"] = "AAAA"
    path.write_text(json.dumps(content))
    (check,) = [check for check in verify(root).checks if check.id == "V05"]
    assert check.outcome == "skipped"
    assert "it carries a key, which is not trusted" in check.details[1]
    assert failed(root, signed.public) == {"V05"}
