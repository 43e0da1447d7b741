"""Exports of a sealed case, read by the official schema of CycloneDX and by the rocrate library."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from cyclonedx_schema import schema_errors
from rocrate.rocrate import ROCrate
from seal_world import files_of

from auditor.bundle.bill import bill_of_materials
from auditor.bundle.crate import write_crate
from auditor.case import Case
from auditor.cli.main import cli
from auditor.errors import CaseError


def test_the_bill_follows_the_official_schema(sealed):
    content = bill_of_materials(sealed.root)
    assert schema_errors(json.loads(json.dumps(content))) == []
    assert content == bill_of_materials(sealed.root)
    content["declarations"]["claims"][0]["verdict"] = "guilty"  # the schema is not blind
    assert len(schema_errors(content)) == 1


def test_each_claim_is_a_reading_with_its_limits_and_points_at_what_is_there(sealed):
    content = bill_of_materials(sealed.root)
    refs = {part["bom-ref"] for part in content["components"]}
    conclusions = Case(sealed.root).read_json("conclusion.json")["suspects"]
    claims = content["declarations"]["claims"]
    assert [claim["target"] for claim in claims] == [f"model:{name}" for name in conclusions]
    evidence = {one["bom-ref"] for one in content["declarations"]["evidence"]}
    for claim, conclusion in zip(claims, conclusions.values(), strict=True):
        assert claim["target"] in refs
        assert set(claim["evidence"]) <= evidence
        assert claim["predicate"].startswith(conclusion["reading"] + ": ")
        assert all(limit in claim["reasoning"] for limit in conclusion["limits"])
    manifest = (sealed.root / "manifest-sha256.txt").read_bytes()
    assert content["metadata"]["component"]["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(manifest).hexdigest()}
    ]


def test_the_crate_is_read_by_rocrate_and_holds_the_case_unchanged(sealed, tmp_path):
    path = write_crate(sealed.root, tmp_path / "crate")
    crate = ROCrate(path.parent)
    folder = sealed.root.name
    assert files_of(path.parent / folder) == files_of(sealed.root)
    (action,) = crate.get_by_type("CreateAction")
    assert action["instrument"]["version"] == sealed.evidence["tool"]["version"]
    names = {model["name"] for model in action["object"]}
    assert names == {
        one["ref"]["spec"] for one in Case(sealed.root).read_json("subjects.json")["subjects"]
    }
    described = {entity.id: entity for entity in crate.get_by_type("File")}
    assert len(described) == len(sealed.evidence["files"])
    for name, entry in sealed.evidence["files"].items():
        found = described[f"{folder}/data/{name}"]
        assert found["sha256"] == entry["sha256"]
        content = (path.parent / found.id).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert int(found["contentSize"]) == len(content)
    check = ["sha256sum", "--check", "--quiet", "manifest-sha256.txt"]
    assert subprocess.run(check, cwd=path.parent / folder, check=False).returncode == 0


def test_nothing_is_replaced_and_nothing_goes_into_the_case(sealed, tmp_path):
    write_crate(sealed.root, tmp_path / "crate")
    with pytest.raises(CaseError, match="exists"):
        write_crate(sealed.root, tmp_path / "crate")
    with pytest.raises(CaseError, match="lies in the case"):
        write_crate(sealed.root, sealed.root / "crate")


def test_a_draft_is_not_exported(finished, tmp_path):
    with pytest.raises(CaseError, match="is not a sealed case"):
        write_crate(finished.root, tmp_path / "crate")
    with pytest.raises(CaseError, match="is not a sealed case"):
        bill_of_materials(finished.root)


def test_a_half_written_crate_is_begun_again(sealed, tmp_path):
    part: Path = tmp_path / "crate.part"
    part.mkdir()
    (part / "left over").write_text("x")
    write_crate(sealed.root, tmp_path / "crate")
    assert not part.exists()
    assert not (tmp_path / "crate" / "left over").exists()


def test_the_command_prints_or_writes(sealed, tmp_path):
    run = CliRunner().invoke
    command = ["export", str(sealed.root), "--to"]
    printed = run(cli, [*command, "cyclonedx"])
    assert json.loads(printed.stdout) == bill_of_materials(sealed.root)
    out = tmp_path / "bom.json"
    assert run(cli, [*command, "cyclonedx", "--out", str(out)]).exit_code == 0
    assert json.loads(out.read_bytes()) == bill_of_materials(sealed.root)
    assert "exists" in str(run(cli, [*command, "cyclonedx", "--out", str(out)]).exception)
    assert "give --out" in str(run(cli, [*command, "ro-crate"]).exception.hint)
    found = run(cli, [*command, "ro-crate", "--out", str(tmp_path / "crate")])
    assert found.stdout.strip().endswith("ro-crate-metadata.json")
