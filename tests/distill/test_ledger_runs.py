"""The ledger of whole runs: what it says, that a kill leaves no trace, that tampering is found."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from distill_world import changed, logits_recipe, sequence_values

from auditor.canon import pretty_json
from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger import Ledger
from auditor.distill.ledger_calls import repeat_calls
from auditor.distill.ledger_check import verify
from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import CaseError
from auditor.progress import Silent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> tuple[Any, Path]:
    """A finished run on the teacher's answers to 40 prompts, two groups, and its recipe."""
    folder = tmp_path_factory.mktemp("answers")
    values = sequence_values(folder, teacher, prompts=40)
    values["train"].update(steps=7, save_every=3)
    recipe = recipe_from(values, folder)
    distill(recipe, folder / "run")
    return recipe, folder / "run"


@pytest.fixture
def copied(made: tuple[Any, Path], tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(made[1], tmp_path / "run"))


def failed(run: Path) -> dict[str, str]:
    return {c.name: c.detail for c in verify(FinishedRun(run)) if not c.passed}


def test_every_kind_is_recorded_in_the_order_of_the_work(made: tuple[Any, Path]) -> None:
    kinds = [record.kind for record in Ledger(made[1] / "ledger.jsonl").records]
    start = ["environment", "permission", "teacher", "data", "data", "generation", "generation"]
    steps = ["batch"] * 3 + ["checkpoint"] + ["batch"] * 3 + ["checkpoint", "batch", "checkpoint"]
    assert kinds == [*start, "train_config", *steps, "student"]


def test_a_finished_run_passes_every_clause(made: tuple[Any, Path]) -> None:
    assert failed(made[1]) == {}
    assert len(verify(FinishedRun(made[1]))) == 15


def test_lineage_names_head_length_and_roots(made: tuple[Any, Path]) -> None:
    run = FinishedRun(made[1])
    ledger = Ledger(made[1] / "ledger.jsonl")
    named = run.lineage["ledger"]
    assert (named["head"], named["records"]) == (ledger.head, len(ledger.records))
    assert len(named["roots"]["segments"]) == 1
    # 40 prompts: whole, turn and answer each; some are held out, some answers may be equal.
    assert 60 < named["roots"]["samples"]["count"] <= 120


def test_tokens_of_ledger_dose_and_metrics_are_equal(made: tuple[Any, Path]) -> None:
    ledger = Ledger(made[1] / "ledger.jsonl")
    total = sum(body["tokens"] for body in ledger.bodies("batch"))
    rows = [row for row in MetricsLog(made[1] / "metrics.jsonl").rows() if "loss" in row]
    lineage = json.loads((made[1] / "lineage.json").read_bytes())
    assert total == rows[-1]["tokens"] == lineage["dose"]["gradient_tokens"]


def cut(raw: bytes) -> bytes:
    return b"".join(raw.splitlines(keepends=True)[:-1])


def without_line(raw: bytes, number: int) -> bytes:
    lines = raw.splitlines(keepends=True)
    return b"".join(lines[: number - 1] + lines[number:])


@pytest.mark.parametrize(
    ("name", "change", "clause", "detail"),
    [
        ("ledger.jsonl", lambda r: r.replace(b"CC0-1.0", b"MIT"), "chain", "line 3: it does not"),
        ("ledger.jsonl", lambda r: without_line(r, 9), "chain", "line 9: its seq is 9, not 8"),
        ("ledger.jsonl", lambda r: r[:-1], "chain", "cut off"),
        ("ledger.jsonl", cut, "head", "whole records, and lineage.json names"),
        ("ledger.jsonl", cut, "student", "does not end with the student"),
        ("generations.jsonl", lambda r: r.replace(b"33th", b"34th"), "answers", "with 33"),
        ("generations.jsonl", cut, "answers", "with 33"),
        ("samples.txt", cut, "samples", "does not have the root"),
        ("samples.txt", lambda r: r + b"sha256:0\n", "samples", "not a list of sorted digests"),
        (
            "sequences.jsonl",
            lambda r: r.replace(b'"targets":8', b'"targets":9'),
            "batches",
            "other",
        ),
        ("recipe.yaml", lambda r: r.replace(b"lr: 0.01", b"lr: 0.02"), "recipe", "recipe.yaml: "),
        ("metrics.jsonl", cut, "files", "metrics.jsonl was changed"),
        ("metrics.jsonl", lambda r: cut(cut(cut(r))), "tokens", "metrics.jsonl: "),
        ("student/config.json", lambda r: r + b" ", "files", "student/config.json was changed"),
        ("inputs.json", lambda r: r.replace(b"sha256:", b"sha256:0"), "teacher", "inputs.json: "),
    ],
)
def test_tampering_is_named(copied: Path, name: str, change: Any, clause: str, detail: str) -> None:
    before = (copied / name).read_bytes()
    (copied / name).write_bytes(change(before))
    assert (copied / name).read_bytes() != before
    found = failed(copied)
    assert detail in found[clause]
    assert "files" in found


def rewritten(run: Path, change: Any) -> None:
    """Forge the ledger as its owner could: every hash, and lineage.json, made anew."""
    from auditor.canon import file_digest
    from auditor.distill.ledger_entries import ledger_summary

    records = list(Ledger(run / "ledger.jsonl").records)
    (run / "ledger.jsonl").unlink()
    ledger = Ledger(run / "ledger.jsonl")
    for kind, body in change([(record.kind, record.body) for record in records]):
        ledger.append(kind, body)
    lineage = json.loads((run / "lineage.json").read_bytes())
    lineage["ledger"] = ledger_summary(ledger)
    lineage["files"]["ledger.jsonl"] = file_digest(run / "ledger.jsonl")
    (run / "lineage.json").write_bytes(pretty_json(lineage))


def with_body(kind: str, **keys: Any) -> Any:
    """Change the first body of a kind."""

    def change(records: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
        index = next(i for i, (name, _) in enumerate(records) if name == kind)
        records[index] = (kind, {**records[index][1], **keys})
        return records

    return change


@pytest.mark.parametrize(
    ("change", "clauses"),
    [
        (with_body("permission", verdict="deny"), {"permission"}),
        (with_body("teacher", digest="sha256:0"), {"teacher"}),
        (with_body("data", digest="sha256:0"), {"data"}),
        (with_body("generation", root="0"), {"answers"}),
        (with_body("train_config", recipe="sha256:0"), {"recipe"}),
        (with_body("train_config", samples={"count": 0, "root": ""}), {"samples"}),
        (with_body("batch", sequences="sha256:0"), {"batches"}),
        (with_body("batch", tokens=1), {"batches", "tokens"}),
        (with_body("checkpoint", step=4), {"checkpoints"}),
        (with_body("student", digest="sha256:0"), {"student"}),
        (lambda r: [*r[:11], *r[12:]], {"checkpoints"}),
        (lambda r: [*r[:13], *r[14:]], {"batches", "tokens"}),
    ],
)
def test_a_forged_ledger_contradicts_the_rest(copied: Path, change: Any, clauses: set[str]) -> None:
    rewritten(copied, change)
    assert set(failed(copied)) == clauses


def test_a_file_too_many_or_too_few_is_named(copied: Path) -> None:
    (copied / "report.html").write_text("made later")
    assert failed(copied) == {}
    (copied / "more.txt").write_text("x")
    assert failed(copied) == {"files": "more.txt is not in lineage.json"}
    (copied / "more.txt").unlink()
    (copied / "transcript.jsonl").unlink()
    assert failed(copied) == {"files": "transcript.jsonl is missing"}


def test_what_is_no_finished_run_with_a_ledger_is_refused(copied: Path) -> None:
    with pytest.raises(CaseError, match=r"lineage\.json cannot be read"):
        FinishedRun(copied / "student")
    lineage = json.loads((copied / "lineage.json").read_bytes())
    del lineage["ledger"]
    (copied / "lineage.json").write_bytes(pretty_json(lineage))
    with pytest.raises(CaseError, match="has no ledger"):
        FinishedRun(copied)


def test_the_teacher_gives_its_answers_again(made: tuple[Any, Path]) -> None:
    recipe, run = made
    clause = repeat_calls(FinishedRun(run), recipe, 50, Silent())
    assert clause.passed
    assert clause.detail == "the teacher gives 40 answers again as they are recorded"


def test_an_answer_that_the_teacher_did_not_give_is_found(
    made: tuple[Any, Path], copied: Path
) -> None:
    from auditor.canon import canonical_json, leaf_hash

    lines, prev = (copied / "generations.jsonl").read_bytes().split(b"\n")[:-1], ""
    for number, line in enumerate(lines):  # a chain that holds, forged from line 35 on
        row = {**json.loads(line), "prev": prev}
        row["text"] += "!" if number == 34 else ""
        lines[number] = canonical_json(row)
        prev = leaf_hash(lines[number])
    (copied / "generations.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    clause = repeat_calls(FinishedRun(copied), made[0], 40, Silent())
    assert clause.passed is False
    assert clause.detail == "1 of 40 answers differ, the first in line 35"


def test_calls_need_the_recipe_of_the_run(made: tuple[Any, Path]) -> None:
    recipe, run = made
    other = recipe_from(changed(recipe.as_json(), "train", seed=9), recipe.path("."))
    with pytest.raises(CaseError, match="not the one of the run"):
        repeat_calls(FinishedRun(run), other, 1, Silent())


def test_without_answers_no_call_can_be_repeated(tmp_path: Path, teacher: Path) -> None:
    recipe = recipe_from(logits_recipe(tmp_path, teacher), tmp_path)
    distill(recipe, tmp_path / "run")
    assert failed(tmp_path / "run") == {}
    assert repeat_calls(FinishedRun(tmp_path / "run"), recipe, 1, Silent()).passed is None


def test_shards_of_a_cache_are_recorded(tmp_path: Path, teacher: Path) -> None:
    values = changed(logits_recipe(tmp_path, teacher), "method", cache={"scheme": "topk", "k": 8})
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    shards = Ledger(tmp_path / "run" / "ledger.jsonl").bodies("cache_shard")
    assert [shard["part"] for shard in shards] == ["train", "holdout"]
    listed = json.loads((tmp_path / "run" / "lineage.json").read_bytes())["files"]
    assert shards[0]["digest"] == listed["cache/" + shards[0]["file"]]
    assert failed(tmp_path / "run") == {}
    rewritten(tmp_path / "run", with_body("cache_shard", digest="sha256:0"))
    assert set(failed(tmp_path / "run")) == {"cache"}
