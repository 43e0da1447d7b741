"""Drafts of certificates and checklists: facts of the case filled in, statements left blank."""

import hashlib

import pytest
from click.testing import CliRunner
from seal_world import lines_of

from auditor.bundle.certificate import RULES, certificate
from auditor.bundle.facts import facts
from auditor.case import Case
from auditor.cli.main import cli
from auditor.errors import CaseError


@pytest.mark.parametrize("rule", RULES)
def test_a_draft_names_the_case_and_says_that_it_is_a_draft(sealed, rule):
    text = certificate(sealed.root, rule)
    manifest = (sealed.root / "manifest-sha256.txt").read_bytes()
    assert text.startswith("# DRAFT")
    assert "Not legal advice" in text
    assert hashlib.sha256(manifest).hexdigest() in text
    assert sealed.evidence["case_id"] in text
    assert f"{len(manifest.splitlines())}, " in text
    assert "`[" in text  # a blank is left for the signer


@pytest.mark.parametrize("rule", ["902-13", "902-14"])
def test_no_certificate_signs_or_swears_for_a_person(sealed, rule):
    text = certificate(sealed.root, rule)
    for blank in ("`[name]`", "`[date]`", "`[signature, printed name]`", "`[position, employer]`"):
        assert blank in text
    assert "28 U.S.C. § 1746" in text


def test_facts_are_those_of_the_files(sealed):
    found = facts(sealed.root)
    data = sealed.root / "data"
    records = [line for path in data.glob("records/*/*.jsonl") for line in lines_of(path)]
    assert found.attempts == len(records)
    assert found.octets == sum(p.stat().st_size for p in data.rglob("*") if p.is_file())
    events = lines_of(data / "custody.jsonl")
    assert found.custody[0] == events[0]
    assert found.custody[-1]["event"] == "seal"
    assert {row["event"] for row in found.custody} == {row["event"] for row in events}
    rows = [
        row
        for one in Case(sealed.root).read_json("statistics.json")["suspects"].values()
        for row in one
    ]
    assert (found.statistics, found.undefined) == (
        len(rows),
        sum(row["value"] is None for row in rows),
    )
    assert found.deviations is None


def test_a_draft_or_a_changed_case_gets_no_paper(finished, sealed, tmp_path):
    import shutil

    with pytest.raises(CaseError, match="is not a sealed case"):
        certificate(finished.root, "902-14")
    copy = tmp_path / "copy.evidence"
    shutil.copytree(sealed.root, copy)
    with (copy / "data" / "conclusion.json").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(CaseError, match=r"conclusion.json is not as it was sealed"):
        certificate(copy, "902-13")


def test_the_command_prints_or_writes_and_never_into_the_case(sealed, tmp_path):
    run = CliRunner().invoke
    command = ["certify", str(sealed.root), "--rule", "frcp-26"]
    assert run(cli, command).stdout == certificate(sealed.root, "frcp-26")
    out = tmp_path / "draft.md"
    assert run(cli, [*command, "--out", str(out)]).exit_code == 0
    assert out.read_text() == certificate(sealed.root, "frcp-26")
    assert "exists" in str(run(cli, [*command, "--out", str(out)]).exception)
    inside = sealed.root / "data" / "draft.md"
    assert "lies in the case" in str(run(cli, [*command, "--out", str(inside)]).exception)
    assert not inside.exists()
