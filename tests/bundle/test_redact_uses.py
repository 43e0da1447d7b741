"""What other commands do with a redacted case, and proofs of single lines."""

import hashlib
import json

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from redact_world import rows_of, withheld_rows

from auditor.bundle.certificate import certificate
from auditor.bundle.difference import difference
from auditor.bundle.line_proof import line_proof
from auditor.case import Case
from auditor.cli.main import cli
from auditor.collect.reply_export import exported_lines, write_jsonl, write_parquet
from auditor.data import data_dir
from auditor.errors import CaseError, UndefinedError
from auditor.models import open_model
from auditor.pairing import load_pair
from auditor.progress import Silent
from auditor.reproduction import Reproducing, reproduce_case
from auditor.stored import iterate_records


def node(left: str, right: str) -> str:
    return hashlib.sha256(b"\x01" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()


def root_of(proof: dict) -> str:
    """Follow a path as a stranger would, with SHA-256 alone (RFC 9162, section 2.1.3.2)."""
    found = hashlib.sha256(b"\x00" + proof["line"].encode()).hexdigest()
    index, last = proof["index"], proof["size"] - 1
    for beside in proof["path"]:
        if index % 2 or index == last:
            found = node(beside, found)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            found = node(found, beside)
        index, last = index // 2, last // 2
    return found


def test_a_proof_of_each_line_leads_to_the_root_that_the_manifest_fixes(told):
    schema = json.loads((data_dir("reports") / "schema" / "line-proof-1.json").read_bytes())
    index = (told.root / "data/evidence.json").read_bytes()
    manifest = (told.root / "manifest-sha256.txt").read_bytes()
    for name, number, line in rows_of(told.root):
        if "told" not in name and "teacher" not in name:
            continue
        _, subject, file = name.split("/")
        proof = line_proof(told.root, f"{subject}/{file.removesuffix('.jsonl')}#{number}")
        Draft202012Validator(schema).validate(proof)
        assert proof["line"].encode() == line
        assert root_of(proof) == json.loads(index)["files"][name]["merkle_root"]
        assert root_of({**proof, "line": proof["line"] + " "}) != proof["merkle_root"]
        assert proof["evidence_sha256"] == hashlib.sha256(index).hexdigest()
        assert proof["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()


def test_a_redacted_case_proves_its_shown_lines_and_no_others(told, copy_of_told):
    shown = line_proof(copy_of_told.root, "teacher/instructions@1#1")
    assert shown["line"] == line_proof(told.root, "teacher/instructions@1#1")["line"]
    assert root_of(shown) == line_proof(told.root, "teacher/instructions@1#1")["merkle_root"]
    with pytest.raises(CaseError, match="is withheld"):
        line_proof(copy_of_told.root, "teacher/instructions@1#0")


@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_an_export_has_no_text_of_a_withheld_reply(copy_of_told, tmp_path, write):
    case, out = Case(copy_of_told.root), tmp_path / "replies"
    records = list(iterate_records(case, "told"))
    assert write(case, "told", out) == len(records)
    rows = [json.loads(line) for line in exported_lines(case, "told")]
    hidden = [n for n, record in enumerate(records) if record["outcome"] == "withheld"]
    assert 0 < len(hidden) < len(records)
    for n in hidden:
        place = {key: records[n][key] for key in ("probe_id", "repeat")}
        assert rows[n] == {**place, "outcome": "error", "error": "withheld"}
    model = open_model(f"records:{out}")
    # One of the others was never given.
    assert model.facts.replies == len(records) - len(hidden) - 1
    assert model.facts.failures == len(hidden) + 1
    assert not any("withheld" in reply.text for reply in model.replies())
    model.close()


def test_the_command_prints_a_proof_and_drops_nothing(told):
    run = CliRunner().invoke(
        cli, ["redact", str(told.root), "--proof", "record:told/ood@1#0"], standalone_mode=False
    )
    assert json.loads(run.output)["file"] == "records/told/ood@1.jsonl"
    refused = CliRunner().invoke(
        cli, ["redact", str(told.root), "--proof", "subject:told"], standalone_mode=False
    )
    assert "one record line" in str(refused.exception)


def test_nothing_is_computed_from_withheld_replies(copy_of_told):
    pair = load_pair(Case(copy_of_told.root), "teacher", "told")
    with pytest.raises(UndefinedError, match="replies are withheld"):
        pair.require("texts")
    with pytest.raises(UndefinedError, match="withheld in this redacted copy"):
        pair.require("embeddings")


def test_only_shown_replies_are_asked_for_again(copy_of_told):
    case = Case(copy_of_told.root)
    subjects = ("teacher", "told", "independent", "sibling", "same-data-00")
    outcomes = [row["outcome"] for name in subjects for row in iterate_records(case, name)]
    assert outcomes.count("withheld") > 1
    found = reproduce_case(case, Reproducing(sample=1000), Silent())
    lost = sum(one["records"] for one in found["missing"])
    assert found["replies"]["asked"] + lost == outcomes.count("ok") + outcomes.count("empty")
    assert found["outcome"] == "agrees"


def test_a_diff_with_the_original_counts_the_withheld_replies(told, copy_of_told):
    found = difference(Case(told.root), Case(copy_of_told.root))
    hidden = len(withheld_rows(told.root, copy_of_told.root))
    assert sum(row["only_a"] for row in found["records"]) == hidden
    assert sum(row["changed"] + row["only_b"] for row in found["records"]) == 0
    assert found["measurements"] == []


def test_a_certificate_of_a_copy_says_that_it_is_one(told, copy_of_told):
    manifest = hashlib.sha256((told.root / "manifest-sha256.txt").read_bytes()).hexdigest()
    text = certificate(copy_of_told.root, "902-14")
    assert "redacted copy" in text
    assert manifest in text
    assert "redacted" not in certificate(told.root, "902-14")
