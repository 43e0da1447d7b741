"""Bad input of a watch is named before anything is asked or paid."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watch_world import SPEC, colour_server, plain_baseline, stored_baseline

from auditor.cli.main import run


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return stored_baseline(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give either --enrol FILE or --baseline FILE"),
        (["--baseline", "missing.json"], "cannot be read"),
        (["--enrol", "there.json"], "there.json exists"),
        (["--enrol", "new.json", "--temperature", "0"], "a temperature of 0"),
        (["--enrol", "new.json", "--cells", "2"], "2 questions"),
        (["--enrol", "new.json", "--draws", "5"], "5 draws"),
        (["--enrol", "new.json", "--candidates", "3"], "3 questions"),
        (
            ["--enrol", "new.json", "--candidates", "5", "--cells", "8"],
            "8 questions of 5 candidates",
        ),
        (["--baseline", "there.json"], "no baseline of schema"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.json").write_text("{}")
    assert run(["watch", SPEC, *words]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_a_watch_without_queries_is_refused(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", SPEC, "--baseline", str(stored), "--queries", "0"]) == 2
    assert "0 queries" in capsys.readouterr().err


def test_an_impossible_alpha_is_refused(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", SPEC, "--baseline", str(stored), "--alpha", "1"]) == 2
    assert "an alpha of 1.0" in capsys.readouterr().err


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = json.loads(json.dumps(plain_baseline()))
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda b: b.pop("power"), 'lacks "power"'),
        (lambda b: b.pop("cells"), 'lacks "cells"'),
        (lambda b: b.update(temperature=-1), "/temperature"),
        (lambda b: b["cells"][1]["messages"][0].update(role="tool"), "/cells/1/messages/0/role"),
        (lambda b: b["cells"][1]["groups"].clear(), "/cells/1/groups"),
        (lambda b: b["cells"][1]["groups"].append({"passes": [], "ceilings": []}), "wanted 1"),
        (lambda b: b["cells"][1]["answers"].append("x"), "each of 4 answers"),
        (lambda b: b["cells"][1].update(answers=["red", "red"]), "one stands there twice"),
        (lambda b: b["cells"][1]["groups"][0]["ceilings"].pop(), "each of 3 answers"),
        (lambda b: b["cells"][1]["groups"][0]["passes"].pop(), "wanted 1 passes, found 0"),
        (lambda b: b["cells"][1]["groups"][0].update(ceilings=[0.3, 0.3, 0.3]), "ceilings"),
        (lambda b: b["cells"][1]["groups"][0].update(ceilings=[0.0, 0.9, 0.9]), "ceilings"),
        (lambda b: b["cells"][1]["groups"][0].update(passes=[[0.5, 0.3, 0.1]]), "add up to 1"),
    ],
)
def test_a_broken_baseline_is_named_before_anything_is_asked(
    change: Callable[[dict[str, Any]], object],
    said: str,
    stored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored.write_text(json.dumps(changed(change)))
    log = tmp_path / "watch.jsonl"
    with colour_server() as server:
        words = ["watch", server.spec, "--baseline", str(stored), "--log", str(log), "--json"]
        assert run(words) == 2
        assert server.received == []
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert f"{stored} is broken" in message
    assert said in message
    assert not log.exists()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        json.dumps({**plain_baseline(), "temperature": float("nan")}),
        json.dumps(plain_baseline()).replace("0.75", "NaN"),
        json.dumps(plain_baseline()).replace("0.75", "-Infinity"),
    ],
)
def test_a_baseline_that_is_no_json_is_named(
    content: str, stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored.write_text(content)
    assert run(["watch", SPEC, "--baseline", str(stored)]) == 2
    assert "is no JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "word", "other"),
    [
        ("--enrol", ["--alpha", "0.01"], "--baseline"),
        ("--enrol", ["--queries", "5"], "--baseline"),
        ("--enrol", ["--log", "watch.jsonl"], "--baseline"),
        ("--enrol", ["--dtype", "float32"], "--baseline"),
        ("--baseline", ["--also", SPEC], "--enrol"),
        ("--baseline", ["--candidates", "80"], "--enrol"),
        ("--baseline", ["--cells", "8"], "--enrol"),
        ("--baseline", ["--draws", "60"], "--enrol"),
        ("--baseline", ["--temperature", "0.5"], "--enrol"),
    ],
)
def test_an_option_of_the_other_mode_is_refused(
    mode: str, word: list[str], other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", SPEC, mode, str(tmp_path / "file.json"), *word]) == 2
    assert f"{word[0]} goes with {other} only" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", ["-1", "5000000000"])
def test_a_seed_that_cannot_be_is_refused(
    seed: str, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.json"
    for words in (["--enrol", str(target)], ["--baseline", str(stored)]):
        assert run(["watch", SPEC, *words, "--seed", seed]) == 2
        assert f"a seed of {seed}" in capsys.readouterr().err
    assert not target.exists()


def test_a_place_that_cannot_be_written_is_refused_before_enrolling(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with colour_server() as server:
        assert run(["watch", server.spec, "--enrol", str(stored / "new.json")]) == 2
        assert server.received == []
    assert "no folder that may be written to" in capsys.readouterr().err


def test_other_weights_beside_the_subject_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, also = tmp_path / "both.json", "tiny:zoo/gpt2-00"
    words = ["--candidates", "80", "--cells", "8", "--also", also]
    assert run(["watch", SPEC, "--enrol", str(target), *words]) == 0
    said = f"{also} has other weights than {SPEC}"
    assert f"warning: {said}" in capsys.readouterr().out
    content = json.loads(target.read_bytes())
    assert [said in warning for warning in content["warnings"]] == [True]
    assert run(["watch", SPEC, "--baseline", str(target), "--queries", "1"]) in (0, 3)
