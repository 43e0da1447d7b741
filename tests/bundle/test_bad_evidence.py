"""What is no case that a command can use is named with the remedy; nothing on the disk changes."""

import shutil
import zipfile
from pathlib import Path

import bagit
import pytest
from command_world import ALL, commands, refused, tree
from verify_world import copied, edit_json, manifest_again

from auditor.cli.main import run

NO_JSON = ("report", "measure")
"""Commands without the option --json."""


@pytest.fixture
def ask(capsys, do):
    """Return what runs one of the commands on a case, which must fail, and gives its error."""

    def asked(name, case, place, key):
        words = commands(case, place, key)[name]
        if name not in NO_JSON:
            return refused(do, place, words)
        before = tree(place)
        capsys.readouterr()
        assert run([str(word) for word in words]) == 2
        assert tree(place) == before
        message, _, hint = capsys.readouterr().err.partition("\nhint: ")
        assert hint
        return {"message": message, "hint": hint}

    return asked


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_a_sealed_case_of_another_major_version_is_named(ask, signed, place, name):
    case = copied(signed.root, place / "case.evidence")
    edit_json(case, "evidence.json", lambda content: content.update(schema="auditor/evidence/2"))
    manifest_again(case)
    error = ask(name, case, place, signed.private)
    assert "'auditor/evidence/2'; this release reads auditor/evidence/1" in error["message"]
    assert "the release of auditor that wrote" in error["hint"]


@pytest.mark.parametrize("name", ["seal", "report", "diff", "reproduce", "measure"])
def test_a_draft_of_another_major_version_is_named(ask, finished, signed, place, name):
    case = place / "case"
    shutil.copytree(finished.data, case / "data")
    edit_json(case, "plan.json", lambda content: content.update(schema="auditor/plan/7"))
    error = ask(name, case, place, signed.private)
    assert "'auditor/plan/7'; this release reads auditor/plan/1" in error["message"]


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_a_zip_is_named_with_what_to_do(ask, signed, place, name):
    case = place / "case.zip"
    with zipfile.ZipFile(case, "w") as archive:
        for path in sorted(p for p in signed.root.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(signed.root.parent))
    error = ask(name, case, place, signed.private)
    assert "case.zip is a file, not the folder of a case" in error["message"]
    assert "unpack" in error["hint"]


def test_verify_takes_a_zip_and_leaves_it(do, signed, place):
    case = Path(
        shutil.make_archive(str(place / "case"), "zip", signed.root.parent, "case.evidence")
    )
    before = tree(place)
    assert do("verify", case, "--key", signed.public)[0] == 0
    assert tree(place) == before


@pytest.mark.parametrize("name", ["verify", "sign", "certify", "export", "crate"])
def test_a_draft_is_named(ask, finished, signed, place, name):
    case = place / "case"
    shutil.copytree(finished.data, case / "data")
    error = ask(name, case, place, signed.private)
    assert "a draft, not evidence" in error["message"] or "not a sealed case" in error["message"]
    assert "auditor seal" in error["hint"]


@pytest.mark.parametrize("name", ["seal", "measure"])
def test_nothing_is_written_to_a_sealed_case(ask, signed, place, name):
    case = copied(signed.root, place / "case.evidence")
    assert "is sealed" in ask(name, case, place, signed.private)["message"]


@pytest.mark.parametrize("form", ["html", "md"])
def test_no_report_is_written_to_a_sealed_case(signed, place, capsys, form):
    case = copied(signed.root, place / "case.evidence")
    before = tree(place)
    assert run(["report", str(case), "--format", form]) == 2
    assert "is sealed: nothing is written to it\nhint: " in capsys.readouterr().err
    assert tree(place) == before


def test_verify_fails_another_major_version(do, signed, place):
    case = copied(signed.root, place / "case.evidence")
    edit_json(case, "evidence.json", lambda content: content.update(schema="auditor/evidence/2"))
    manifest_again(case)
    before = tree(place)
    code, printed = do("verify", case, "--key", signed.public)
    assert code == 5
    (schemas,) = [check for check in printed["checks"] if check["id"] == "V02"]
    assert schemas["outcome"] == "fail"
    assert "'auditor/evidence/2'" in schemas["details"][0]
    assert tree(place) == before


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_the_bag_of_another_tool_is_named(ask, signed, place, name):
    (place / "bag").mkdir()
    (place / "bag" / "photo.txt").write_text("a photograph")
    bagit.make_bag(str(place / "bag"), {"Contact-Name": "an archive"}, checksums=["sha256"])
    error = ask(name, place / "bag", place, signed.private)
    assert "is not a" in error["message"]


def test_verify_says_that_another_tools_bag_has_no_index(do, place):
    (place / "photo.txt").write_text("a photograph")
    bagit.make_bag(str(place), checksums=["sha256"])
    before = tree(place)
    code, printed = do("verify", place)
    assert code == 5
    assert any("another tool's bag" in d for c in printed["checks"] for d in c["details"])
    assert tree(place) == before


@pytest.mark.parametrize("name", ALL)
def test_a_folder_that_is_not_there_is_named(ask, signed, place, name):
    error = ask(name, place / "nowhere", place, signed.private)
    assert "nowhere" in error["message"]


def test_all_commands_of_the_list_work_on_what_they_are_for(finished, signed, place):
    # Otherwise a refusal above could have another cause.
    sealed = copied(signed.root, place / "case.evidence")
    draft = place / "case"
    shutil.copytree(finished.data, draft / "data")
    for name in ALL:
        case = draft if name in ("seal", "measure", "report") else sealed
        words = [str(word) for word in commands(case, place, signed.private)[name]]
        assert run(words) == (6 if name == "verify" else 0), name
