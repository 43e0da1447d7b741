"""What a log of a watch may hold: what a kill leaves is mended, what is no log is left as it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from watch_world import colour_server, stored_baseline

from auditor.cli.main import run


@pytest.fixture(scope="module")
def spec() -> Iterator[str]:
    with colour_server() as server:
        yield server.spec


def watched(spec: str, folder: Path, log: Path) -> int:
    words = ["--baseline", str(stored_baseline(folder)), "--queries", "2", "--log", str(log)]
    return run(["watch", spec, *words])


def begun(spec: str, folder: Path) -> tuple[Path, list[bytes]]:
    """Return a log of two answers, and its lines."""
    log = folder / "watch.jsonl"
    assert watched(spec, folder, log) == 0
    return log, log.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("kept", [0, 1, 40, 120, -1])
def test_a_head_that_was_not_whole_is_begun_anew(spec: str, tmp_path: Path, kept: int) -> None:
    # -1: all but the end of the line, with the seed
    log, (head, *_) = begun(spec, tmp_path)
    log.write_bytes(head[:kept])
    assert watched(spec, tmp_path, log) == 0
    first, *answers = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert first["schema"] == "auditor/watch-log/2"
    assert len(answers) == 2


@pytest.mark.parametrize("content", [b"notes of mine", b"notes\n", b"[1]\n", b"\n", b"\xff\xfe\n"])
def test_a_file_that_is_no_log_is_left_as_it_is(
    spec: str, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "notes.txt"
    log.write_bytes(content)
    assert watched(spec, tmp_path, log) == 2
    assert "give another --log" in capsys.readouterr().err
    assert log.read_bytes() == content


ANSWER = {"cell": 0, "answer": 0, "text": "red", "time": ""}


@pytest.mark.parametrize(
    "line",
    [
        {**ANSWER, "cell": 4},
        {**ANSWER, "cell": -1},
        {**ANSWER, "cell": True},
        {**ANSWER, "answer": 3},
        {**ANSWER, "answer": -2},
        {**ANSWER, "answer": None},
        {**ANSWER, "model": 1},
        {"cell": 0},
        {"answer": 0},
        {"outcome": "ok"},
        [0, 0],
        None,
    ],
)
def test_a_line_that_no_watch_writes_is_named(
    spec: str, tmp_path: Path, line: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log, lines = begun(spec, tmp_path)
    # None: a second head
    added = lines[0] if line is None else json.dumps(line).encode() + b"\n"
    log.write_bytes(b"".join([*lines, added]))
    assert watched(spec, tmp_path, log) == 2
    assert "watch.jsonl, line 4: not what a watch" in capsys.readouterr().err
    assert log.read_bytes() == b"".join([*lines, added])


@pytest.mark.parametrize("seed", ["1", -1, None, 2**31])
def test_a_head_without_a_seed_is_named(
    spec: str, tmp_path: Path, seed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log, (head, *_) = begun(spec, tmp_path)
    log.write_text(json.dumps({**json.loads(head), "seed": seed}) + "\n")
    assert watched(spec, tmp_path, log) == 2
    assert "line 1: not what a watch" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["missing/watch.jsonl", "file/watch.jsonl", "."])
def test_a_place_for_no_log_is_named(
    spec: str, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert watched(spec, tmp_path, tmp_path / place) == 2
    assert "give --log a file in a folder that exists" in capsys.readouterr().err
