"""The ledger's file: what is written, what a kill leaves, what tampering shows."""

import json
from pathlib import Path

import pytest

from auditor.canon import canonical_json, leaf_hash
from auditor.distill.ledger import SEGMENT, Ledger, parse, segment_roots
from auditor.errors import CaseError
from auditor.merkle import merkle_root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger of a start, five steps with a checkpoint after the third, and a student."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("environment", {"python": "3.11"})
    ledger.append("train_config", {"recipe": "r"})
    for step in range(1, 6):
        ledger.append("batch", {"step": step, "tokens": 10 * step})
        if step == 3:
            ledger.append("checkpoint", {"step": 3})
    ledger.append("student", {"digest": "s"})
    return tmp_path / "ledger.jsonl"


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def test_lines_are_canonical_and_each_names_the_one_before(path: Path) -> None:
    lines = lines_of(path)
    values = [json.loads(line) for line in lines]
    assert [value["seq"] for value in values] == list(range(9))
    assert [value["prev"] for value in values] == ["", *map(leaf_hash, lines[:-1])]
    assert [canonical_json(value) for value in values] == lines


def test_opening_again_changes_nothing_and_goes_on(path: Path) -> None:
    before = path.read_bytes()
    ledger = Ledger(path)
    assert path.read_bytes() == before
    assert ledger.head == leaf_hash(lines_of(path)[-1])
    ledger.append("filter", {"name": "length", "kept": 3})
    assert path.read_bytes().startswith(before)
    assert parse(path.read_bytes())[1] is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda n: [*n[:3], n[3].replace(b"20", b"21"), *n[4:]], "line 5: it does not follow"),
        (lambda n: [*n[:3], *n[4:]], "line 4: its seq is 4, not 3"),
        (lambda n: [*n[:3], n[4], n[3], *n[5:]], "line 4: its seq is 4, not 3"),
        (lambda n: [*n[:3], n[3].replace(b'"', b' "', 1), *n[4:]], "line 4: not a record"),
        (lambda n: [*n[:3], n[3].replace(b"batch", b"other"), *n[4:]], "line 4: not a record"),
        (lambda n: [*n[:3], b"[" * 100_000, *n[4:]], "line 4: not a record"),
        (lambda n: [*n[:3], b"\xff", *n[4:]], "line 4: not a record"),
        (lambda n: [n[3], *n[1:]], "line 1: its seq is 3, not 0"),
    ],
    ids=["edit", "drop", "swap", "spaces", "kind", "deep", "bytes", "replay"],
)
def test_tampering_is_named_by_its_line(path: Path, change, problem: str) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in change(lines_of(path))))
    assert parse(path.read_bytes())[1].startswith(problem)
    with pytest.raises(CaseError, match=problem):
        Ledger(path)


def test_a_torn_last_line_is_named_and_cut_off_on_opening(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-4])
    assert parse(path.read_bytes())[1] == "line 9: cut off"
    Ledger(path).append("student", {"digest": "s"})
    assert path.read_bytes() == whole


def test_completing_adds_what_is_missing_and_refuses_what_differs(path: Path) -> None:
    ledger = Ledger(path)
    ledger.complete("generation", [{"first": 0}])
    ledger.complete("generation", [{"first": 0}, {"first": 32}])
    assert Ledger(path).bodies("generation") == [{"first": 0}, {"first": 32}]
    before = path.read_bytes()
    ledger.complete("generation", [{"first": 0}, {"first": 32}])
    assert path.read_bytes() == before
    for other in ([{"first": 1}, {"first": 32}], [{"first": 0}]):
        with pytest.raises(CaseError, match="records of kind generation are not those"):
            ledger.complete("generation", other)


def test_an_unknown_kind_or_a_number_that_is_none_is_refused(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no kind 'batches'"):
        Ledger(path).append("batches", {})
    with pytest.raises(ValueError, match="canonical JSON"):
        Ledger(path).append("batch", {"loss": float("nan")})
    assert path.read_bytes() == before


def test_another_environment_is_added_once(path: Path) -> None:
    ledger = Ledger(path)
    for version in ("3.11", "3.12", "3.12"):
        ledger.note("environment", {"python": version})
    assert [body["python"] for body in ledger.bodies("environment")] == ["3.11", "3.12"]


def test_cutting_back_to_a_checkpoint_keeps_the_line_it_is_bound_to(path: Path) -> None:
    lines = lines_of(path)
    head = leaf_hash(lines[4])
    ledger = Ledger(path)
    ledger.keep_until(3, head)
    assert lines_of(path) == lines[:5]
    assert ledger.head == head
    ledger.append("checkpoint", {"step": 3})
    assert lines_of(path) == lines[:6]


def test_cutting_back_without_a_checkpoint_keeps_the_start(path: Path) -> None:
    lines = lines_of(path)
    Ledger(path).keep_until(-1, None)
    assert lines_of(path) == lines[:2]


@pytest.mark.parametrize("step", [2, 3, 7])
def test_a_checkpoint_of_another_history_is_refused(path: Path, step: int) -> None:
    before = path.read_bytes()
    with pytest.raises(CaseError, match=f"checkpoint of step {step} is bound to"):
        Ledger(path).keep_until(step, leaf_hash(b"another"))
    assert path.read_bytes() == before


def test_segments_have_their_own_roots(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in range(1, SEGMENT + 3):
        ledger.append("batch", {"step": step})
    hashes = [leaf_hash(line) for line in lines_of(tmp_path / "ledger.jsonl")]
    roots = segment_roots(ledger.records)
    assert roots == [merkle_root(hashes[:SEGMENT]), merkle_root(hashes[SEGMENT:])]
