"""Records read many at once: what is accepted is right, and gathered as the slow readers see it."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from schema_world import mutated
from verify_world import copied

from auditor.bundle import reading
from auditor.bundle.canonical_line import canonical_line
from auditor.bundle.replies import Place, Replies, read_replies
from auditor.bundle.schemas import departures
from auditor.bundle.verify import verify
from auditor.canon import canonical_json, json_digest, leaf_hash
from auditor.case import Case
from auditor.merkle import merkle_root
from auditor.stored import chained_lines, iterate_records

CALL = {"fingerprint": None, "model": "m", "request_digest": "sha256:" + "0" * 64}


def files_of(root: Path) -> list[Path]:
    return sorted((root / "data/records").rglob("*.jsonl"))


def rows_in(path: Path, count: int = 6) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()[:count]]


def written(path: Path, rows: list, *, encode=canonical_json) -> Path:
    """Write rows as a file whose chain is whole, whatever else is wrong with them."""
    lines, previous = [], ""
    for number, row in enumerate(rows):
        if isinstance(row, dict) and {"seq", "prev"} <= row.keys():
            row = {**row, "seq": number, "prev": previous}
        lines.append(encode(row))
        previous = leaf_hash(lines[-1])
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def asked(row: dict, **changed) -> dict:
    """Return a record with another request and the digest of that."""
    request = {**row["request"], **changed}
    return {**row, "request": request, "request_digest": json_digest(request)}


def test_all_files_of_a_case_are_read_and_say_what_the_slow_reader_says(sealed):
    for path in files_of(sealed.root):
        read = read_replies(path)
        lines = list(chained_lines(path))
        assert read.leaves == [leaf_hash(line) for line, _ in lines]
        assert read.size == path.stat().st_size
        rows = [row for _, row in lines]
        found = read.replies
        assert found.outcomes == Counter(row["outcome"] for row in rows)
        assert sum(count for _, count in found.runs) == len(rows)
        assert [probe for probe, _ in found.runs] == list(
            dict.fromkeys(r["probe_id"] for r in rows)
        )
        kinds = {(r["probe_id"], r["probe_digest"], r["subject"], r["suite"]) for r in rows}
        assert {kind[:4] for kind in found.kinds} == kinds
        (decoding,) = {json.dumps(row["request"]["decoding"], sort_keys=True) for row in rows}
        assert all(kind.decoding_as_json() == json.loads(decoding) for kind in found.kinds)
        assert (found.calls, found.failed, found.key_like) == ({None}, {}, False)


def test_blocks_end_where_lines_end_whatever_their_size(sealed, monkeypatch):
    path = max(files_of(sealed.root), key=lambda one: one.stat().st_size)
    whole = read_replies(path)
    for size in (1, 700, 4096):
        monkeypatch.setattr("auditor.bundle.replies._BLOCK_BYTES", size)
        assert read_replies(path) == whole


def test_what_is_accepted_is_canonical_and_of_the_schema(sealed, tmp_path):
    draw = random.Random(3)
    accepted = 0
    for _ in range(1500):
        rows = rows_in(draw.choice(files_of(sealed.root)), 3)
        place = draw.randrange(len(rows))
        rows[place] = mutated(rows[place], draw)
        try:
            path = written(tmp_path / "x.jsonl", rows)
        except ValueError:
            continue
        if read_replies(path) is None:
            continue
        accepted += 1
        for line in path.read_bytes().splitlines():
            row = canonical_line(line)
            assert not list(departures(row, "record")), row
            assert row["request_digest"] == json_digest(row["request"])
    assert accepted > 20  # not vacuous


def test_what_is_accepted_of_changed_bytes_is_canonical(sealed, tmp_path):
    draw = random.Random(4)
    path = tmp_path / "x.jsonl"
    content = files_of(sealed.root)[0].read_bytes().splitlines(keepends=True)[0]
    accepted = 0
    for _ in range(4000):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] = draw.choice(b'0129aefz.-+"\\,:[]{} \n\xc3\xa9\x00')
        path.write_bytes(changed)
        if read_replies(path) is not None:
            accepted += 1
            row = canonical_line(bytes(changed[:-1]))
            assert not list(departures(row, "record"))
    assert accepted > 20


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "salt": row["salt"].upper() + "A"},
        lambda row: {**row, "salt": row["salt"][:31]},
        lambda row: {**row, "request": {**row["request"], "prompt": "another"}},
        lambda row: {**row, "request_digest": "sha256:" + "0" * 64},
        lambda row: {**row, "probe_id": "a/b"},
        lambda row: {**row, "probe_digest": "sha256:" + "g" * 64},
        lambda row: {**row, "suite": "none"},
        lambda row: {**row, "subject": "-"},
        lambda row: {**row, "repeat": row["repeat"] + 1},
        lambda row: {**row, "attempt": 0},
        lambda row: {**row, "outcome": "error"},
        lambda row: {**row, "error": "no reply"},
        lambda row: {**row, "extra": 1},
        lambda row: {**row, "token_ids": [-1]},
        lambda row: {**row, "token_ids": [True]},
        lambda row: {**row, "exchange": {**CALL, "request_digest": "sha256:0"}},
        lambda row: {**row, "recorded": {}},
        lambda row: {"withheld": leaf_hash(canonical_json(row))},
        lambda row: asked(row, decoding={**row["request"]["decoding"], "temperature": -1}),
        lambda row: asked(row, decoding={**row["request"]["decoding"], "top_p": 1.5}),
    ],
)
@pytest.mark.parametrize("place", [0, 2])
def test_a_line_that_is_not_plainly_right_is_left_to_the_slow_readers(
    sealed, tmp_path, change, place
):
    rows = rows_in(files_of(sealed.root)[0], 3)
    assert read_replies(written(tmp_path / "right.jsonl", rows)) is not None
    rows[place] = change(rows[place])
    assert read_replies(written(tmp_path / "wrong.jsonl", rows)) is None


@pytest.mark.parametrize(
    "spelled",
    [b'"temperature":1.0', b'"temperature":1e0', b'"temperature" :1', b'"temperature":01'],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_number_in_another_spelling_is_left_to_the_slow_readers(sealed, tmp_path, spelled, place):
    rows = rows_in(files_of(sealed.root)[0], 2)
    rows = [asked(row, decoding={**row["request"]["decoding"], "temperature": 1}) for row in rows]
    lines = iter(range(2))

    def encode(row):
        line = canonical_json(row)
        return line.replace(b'"temperature":1', spelled) if next(lines) == place else line

    assert read_replies(written(tmp_path / "x.jsonl", rows, encode=encode)) is None


@pytest.mark.parametrize("content", [b"\n", b"{}\n", b"[]\n", b"\xff\n", b"", b"null\n"])
def test_no_record_is_read_where_there_is_none(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    read = read_replies(path)
    assert read is None or (content == b"" and read.leaves == [])


def test_a_torn_end_a_broken_chain_and_a_missing_line_are_left_to_the_slow_readers(
    sealed, tmp_path
):
    path = tmp_path / "x.jsonl"
    lines = files_of(sealed.root)[0].read_bytes().splitlines(keepends=True)[:4]
    for wrong in ([*lines[:3], lines[3][:-1]], lines[1:], [lines[0], *lines[2:]], lines[::-1]):
        path.write_bytes(b"".join(wrong))
        assert read_replies(path) is None
    path.write_bytes(b"".join(lines))
    assert read_replies(path) is not None


@pytest.mark.parametrize(
    ("repeats", "right"),
    [([0, 1, 2], True), ([0, 0, 1], False), ([0, 2, 1], False), ([0, 1, 1], False)],
)
def test_repeats_of_a_probe_stand_in_their_order(sealed, tmp_path, repeats, right):
    row = rows_in(files_of(sealed.root)[0], 1)[0]
    read = read_replies(written(tmp_path / "x.jsonl", [{**row, "repeat": n} for n in repeats]))
    assert (read is not None) == right
    if read is not None:
        assert read.replies.runs == ((row["probe_id"], 3),)


@pytest.mark.parametrize(
    "other", [{"probe_digest": "sha256:" + "0" * 64}, {"subject": "another"}, {"suite": "ood@9"}]
)
def test_a_repeat_is_of_the_same_probe_subject_and_suite(sealed, tmp_path, other):
    row = rows_in(files_of(sealed.root)[0], 1)[0]
    rows = [{**row, "repeat": 0}, {**row, **other, "repeat": 1}]
    assert read_replies(written(tmp_path / "x.jsonl", rows)) is None


def test_calls_and_failures_are_gathered(sealed, tmp_path):
    rows = rows_in(files_of(sealed.root)[0], 3)
    rows[0]["exchange"] = CALL
    rows[1] |= {"outcome": "error", "error": "HTTP 500", "exchange": CALL | {"model": None}}
    found = read_replies(written(tmp_path / "x.jsonl", rows)).replies
    names = ("subject", "suite", "probe_id", "repeat", "attempt")
    assert found.failed == {Place(*(rows[1][name] for name in names)): "HTTP 500"}
    assert found.calls == {CALL["request_digest"], None}
    assert found.outcomes["error"] == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {**row, "text": "sk-0123456789abcdefghijkl"},
        lambda row: asked(row, prompt="my key: AKIAABCDEFGHIJKLMNOP"),
        lambda row: {**row, "exchange": {**CALL, "model": "hf_" + "a" * 34}},
        lambda row: {**row, "exchange": {**CALL, "fingerprint": "ghp_" + "a" * 40}},
        lambda row: {**row, "outcome": "error", "error": "Bearer abcdefghijklmnopqrstuvw1"},
    ],
)
def test_what_may_be_a_key_is_told(sealed, tmp_path, change):
    rows = rows_in(files_of(sealed.root)[0], 3)
    assert not read_replies(written(tmp_path / "x.jsonl", rows)).replies.key_like
    rows[2] = change(rows[2])
    assert read_replies(written(tmp_path / "x.jsonl", rows)).replies.key_like


def test_two_processes_find_what_one_finds(sealed, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_LARGE", 0)
    broken = copied(sealed.root, tmp_path / "case")
    path = files_of(broken)[1]
    path.write_bytes(path.read_bytes().replace(b'"outcome":"ok"', b'"outcome":"OK"', 1))
    for root in (sealed.root, broken):
        alone, beside = verify(root), verify(root, workers=2)
        assert alone == beside
    assert {"V02", "V03", "V07"} <= set(beside.failed)


def test_a_case_read_quickly_is_the_case_read_slowly(sealed, monkeypatch):
    quick = verify(sealed.root)
    monkeypatch.setattr("auditor.bundle.scan.read_replies", lambda _: None)
    assert verify(sealed.root) == quick


def test_the_merkle_root_of_what_was_read_is_that_of_the_leaves(sealed):
    index = json.loads((sealed.root / "data/evidence.json").read_bytes())["files"]
    for path in files_of(sealed.root):
        name = path.relative_to(sealed.root / "data").as_posix()
        assert merkle_root(read_replies(path).leaves) == index[name]["merkle_root"]


def test_records_of_a_subject_are_as_many_as_gathered(sealed):
    case = Case(sealed.root)
    for subject in case.read_json("plan.json")["subjects"]:
        paths = sorted((case.data / "records" / subject["name"]).glob("*.jsonl"))
        gathered: list[Replies] = [read_replies(path).replies for path in paths]
        assert sum(sum(one.outcomes.values()) for one in gathered) == len(
            list(iterate_records(case, subject["name"]))
        )
