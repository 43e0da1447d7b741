"""`auditor lineage`: its output, its exit codes, what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import TINY, auditor, failure

from auditor.distill.permission import template


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe on a shipped model's answers, and its run."""
    folder = tmp_path_factory.mktemp("lineage")
    teacher = f"local:{TINY / 'teacher'}"
    rows = [json.dumps({"prompt": f"Name wall number {n}."}) for n in range(5)]
    (folder / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    permission = template(teacher)
    permission["licence"].update(id="CC0-1.0", text_sha256="0" * 64)
    permission["clauses"][0]["quote"] = "You can copy, modify, distribute and perform the work."
    permission.update(approver="the owner", verdict="permit")
    (folder / "permission.json").write_text(json.dumps(permission))
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 64}
    recipe = {
        "teacher": teacher,
        "student": {"init": init},
        "data": {
            "prompts": "prompts.jsonl",
            "max_length": 64,
            "holdout": 0.0,
            "sampling": {"max_new_tokens": 6},
        },
        "method": {"kind": "sequence"},
        "train": {"steps": 2, "batch_tokens": 256},
        "permission": "permission.json",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = auditor("distill", folder / "recipe.yaml", "--out", folder / "run", "--json")
    assert done.code == 0, done.err + done.out
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def test_show_says_where_the_student_comes_from(made: Path) -> None:
    done = auditor("lineage", "show", made / "run", "--json")
    lineage = json.loads((made / "run" / "lineage.json").read_bytes())
    assert done.code == 0
    assert done.json["teacher"]["digest"] == lineage["teacher"]["digest"]
    assert done.json["ledger"]["records"]["batch"] == 2
    words = auditor("lineage", "show", made / "run")
    assert f"head: {lineage['ledger']['head']}" in words.out


def test_verify_passes_a_line_a_clause(made: Path) -> None:
    done = auditor("lineage", "verify", made / "run")
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert len(lines) == 15
    assert all(line.startswith("pass  ") for line in lines)


def test_verify_asks_the_teacher_again(made: Path) -> None:
    again = ("--calls", "3", "--recipe", made / "recipe.yaml", "--json")
    done = auditor("lineage", "verify", made / "run", *again)
    assert done.code == 0
    last = done.json["clauses"][-1]
    assert last["name"] == "calls"
    assert last["detail"] == "the teacher gives 3 answers again as they are recorded"


def test_verify_is_exit_5_where_a_clause_fails(run: Path) -> None:
    path = run / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":1', b'"step":3', 1))
    done = auditor("lineage", "verify", run)
    assert done.code == 5
    assert "FAIL  chain        ledger.jsonl, line " in done.out
    assert "FAIL  files        ledger.jsonl was changed" in done.out
    found = auditor("lineage", "verify", run, "--json")
    assert found.code == 5
    assert found.json["passed"] is False


@pytest.mark.parametrize("more", [("--calls", "2"), ("--recipe", "recipe.yaml"), ("--calls", "0")])
def test_verify_refuses_half_a_request(made: Path, more: tuple[str, str]) -> None:
    words = [made / word if word.endswith(".yaml") else word for word in more]
    error = failure(auditor("lineage", "verify", made / "run", *words, "--json"))
    assert error["type"] == "UsageError"


@pytest.mark.parametrize("text", ["Name wall number 3.", "Name wall number 9."])
def test_a_proof_holds_against_lineage_alone(made: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "text").write_text(text + "\n")
    done = auditor("lineage", "prove", made / "run", "--text-file", tmp_path / "text")
    kind = "inclusion" if "3" in text else "exclusion"
    assert done.json["kind"] == kind
    (tmp_path / "proof.json").write_text(done.out)
    shutil.copy(made / "run" / "lineage.json", tmp_path / "lineage.json")
    given = (tmp_path / "proof.json", "--lineage", tmp_path / "lineage.json")
    checked = auditor("lineage", "check-proof", *given)
    assert checked.code == 0
    assert checked.out == f"holds: {kind} of {done.json['sample']}\n"
    (tmp_path / "proof.json").write_text(done.out.replace('"index": ', '"index": 1'))
    refused = auditor("lineage", "check-proof", *given, "--json")
    assert refused.code == 5
    assert "does not lead to the root" in refused.json["reason"]


def test_a_digest_gives_the_proof_of_its_text(made: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Name wall number 3.")
    one = auditor("lineage", "prove", made / "run", "--text-file", tmp_path / "text")
    other = auditor("lineage", "prove", made / "run", "--digest", one.json["sample"])
    assert one.json == other.json


def test_prove_refuses_what_it_cannot_prove(made: Path, tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    (tmp_path / "text").write_text("x")
    assert auditor("lineage", "prove", made / "run").code == 2
    both = ("--digest", digest, "--text-file", tmp_path / "text")
    assert auditor("lineage", "prove", made / "run", *both).code == 2
    absent = auditor("lineage", "prove", made / "run", "--text-file", tmp_path / "absent")
    assert absent.code == 2
    assert "No such file" in absent.err
    wrong = auditor("lineage", "prove", made / "run", "--digest", "12")
    assert wrong.code == 2
    assert "64 lower-case hex digits" in wrong.err


def test_check_proof_refuses_files_that_are_something_else(made: Path, tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    lineage = made / "run" / "lineage.json"
    check = ("lineage", "check-proof")
    assert auditor(*check, tmp_path / "proof.json", "--lineage", lineage).code == 5
    found = failure(auditor(*check, tmp_path / "broken.json", "--lineage", lineage, "--json"))
    assert "is not JSON" in found["message"]
    absent = auditor(*check, tmp_path / "absent.json", "--lineage", lineage, "--json")
    assert "absent.json: No such file" in failure(absent)["message"]
    given = (tmp_path / "proof.json", "--lineage", tmp_path / "proof.json", "--json")
    assert "names no ledger" in failure(auditor(*check, *given))["message"]


def test_exports_are_json(made: Path) -> None:
    slsa = auditor("lineage", "export", made / "run", "--format", "slsa")
    assert slsa.json["_type"] == "https://in-toto.io/Statement/v1"
    bill = auditor("lineage", "export", made / "run", "--format", "cyclonedx")
    assert bill.json["bomFormat"] == "CycloneDX"
    assert auditor("lineage", "export", made / "run", "--format", "spdx").code == 2


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_folder_that_is_no_run_is_bad_input(tmp_path: Path, command: str) -> None:
    error = failure(auditor("lineage", command, tmp_path, "--json"))
    assert "lineage.json cannot be read" in error["message"]
    assert failure(auditor("lineage", command, tmp_path / "absent", "--json"))["type"]


def test_a_folder_that_is_no_run_has_no_export(tmp_path: Path) -> None:
    done = auditor("lineage", "export", tmp_path, "--format", "slsa")
    assert done.code == 2
    assert "lineage.json cannot be read" in done.err


def test_marks_of_a_run_without_any_are_refused(run: Path) -> None:
    done = auditor("lineage", "marks", run, "tiny:teacher", "--json")
    assert done.code == 2
    assert "committed to no marks" in json.loads(done.out)["error"]["message"]
