"""What a server withholds is no answer, what it names is kept, and no reply is paid twice."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from watch_world import colour_server, plain_baseline, said, stored_baseline

from auditor.cli.main import run
from auditor.data import data_dir
from auditor.held import held


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()[1:]]


def watched(spec: str, baseline: Path, *words: str) -> int:
    return run(["watch", spec, "--baseline", str(baseline), "--seed", "1", *words])


@pytest.mark.parametrize(
    ("outcome", "changes"),
    [("filtered", {"finish": "content_filter"}), ("refusal", {"refusal": "I cannot say."})],
)
def test_a_reply_that_was_filtered_or_refused_is_no_answer(
    outcome: str, changes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, log = stored_baseline(tmp_path), tmp_path / "watch.jsonl"

    def every_second(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return said(body, text=None, **changes) if number % 2 else said(body)

    with colour_server(every_second) as server:
        for _ in range(2):  # goes on with the log
            assert watched(server.spec, baseline, "--queries", "40", "--log", str(log)) == 0
        assert "40 more replies were filtered or refused" in capsys.readouterr().out
        assert watched(server.spec, baseline, "--queries", "1", "--log", str(log), "--json") == 0
        found = json.loads(capsys.readouterr().out)
        seeds = [body["seed"] for body in server.received]
    assert (found["queries"], found["withheld"]) == (41, 40)
    schema = json.loads((data_dir("reports") / "schema" / "watch-3.json").read_bytes())
    jsonschema.Draft202012Validator(schema).validate(found)
    assert len(set(seeds)) == len(seeds) == 81  # a withheld reply uses its seed up
    withheld = [line for line in lines(log) if "cell" not in line]
    assert {line["outcome"] for line in withheld} == {outcome}
    assert len(withheld) == 40
    assert not any("answer" in line for line in withheld)


def test_a_watch_ends_where_every_reply_is_withheld(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, log = stored_baseline(tmp_path), tmp_path / "watch.jsonl"
    with colour_server(lambda _, body: said(body, text=None, finish="content_filter")) as server:
        assert watched(server.spec, baseline, "--log", str(log)) == 2
        assert "filtered or refused the last 20 replies" in capsys.readouterr().err
        assert len(lines(log)) == len(server.received) == 20
        assert watched(server.spec, baseline, "--log", str(log)) == 2
        assert len(server.received) == 21  # asked once more, in vain
        server.decide = lambda _, body: said(body)
        assert watched(server.spec, baseline, "--queries", "5", "--log", str(log)) == 0


def test_the_name_of_the_model_that_answers_is_kept_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, log = stored_baseline(tmp_path), tmp_path / "watch.jsonl"
    with colour_server(lambda _, body: said(body, name="other")) as server:
        assert watched(server.spec, baseline, "--queries", "3", "--log", str(log)) == 0
        assert "calls the model that answered 'other', asked was 'm'" in capsys.readouterr().out
        assert {(line["model"], line["fingerprint"]) for line in lines(log)} == {("other", "fp")}
        server.decide = lambda _, body: said(body)
        words = ("--queries", "3", "--log", str(log), "--json")
        assert watched(server.spec, baseline, *words) == 0
        served = json.loads(capsys.readouterr().out)["served"]
        assert served == {"asked": "m", "models": ["m", "other"], "fingerprints": ["fp"]}
        assert watched(server.spec, baseline, "--queries", "3") == 0
        assert "calls the model" not in capsys.readouterr().out


def test_one_log_takes_one_watch_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, log = stored_baseline(tmp_path), tmp_path / "watch.jsonl"
    with colour_server() as server:
        assert watched(server.spec, baseline, "--queries", "3", "--log", str(log)) == 0
        before = log.read_bytes()
        with held(log, "--log"):
            assert watched(server.spec, baseline, "--queries", "3", "--log", str(log)) == 2
        assert "another process may work on it" in capsys.readouterr().err
        assert (log.read_bytes(), len(server.received)) == (before, 3)
        assert watched(server.spec, baseline, "--queries", "3", "--log", str(log)) == 0


def test_without_a_log_nothing_is_said_to_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with colour_server() as server:
        spec = server.spec
    assert watched(spec, stored_baseline(tmp_path)) == 2
    told = capsys.readouterr().err
    assert "gave no reply" in told
    assert "are kept" not in told
    assert "give --log FILE to keep the answers" in told


def test_a_recording_is_no_endpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"probe_id": c["probe"], "messages": c["messages"], "text": "blue", "repeat": 0}
        for c in plain_baseline()["cells"]
    ]
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_text("\n".join(json.dumps(row) for row in rows))
    assert watched(f"records:{recorded}", stored_baseline(tmp_path)) == 2
    said = capsys.readouterr().err
    assert "each repetition would count as a new answer" in said
    assert "watch the endpoint itself" in said
    assert run(["watch", f"records:{recorded}", "--enrol", str(tmp_path / "new.json")]) == 2
    assert "each repetition" in capsys.readouterr().err


SMALL = ("--candidates", "12", "--cells", "4", "--draws", "30")


def test_an_enrolment_that_was_cut_off_pays_for_no_reply_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new.json"

    def cut(number: int, body: dict[str, Any]) -> dict[str, Any]:
        return said(body, status=401 if number >= 300 else 200)

    with colour_server(cut) as server:
        words = ["watch", server.spec, "--enrol", str(target), *SMALL]
        assert run(words) == 2
        (kept,) = tmp_path.glob("new.json.*.exchanges.jsonl")
        assert f"replies are kept in {kept}" in capsys.readouterr().err
        server.decide = lambda _, body: said(body)
        assert run(words) == 0
        told = capsys.readouterr()
        assert f"goes on with the replies in {kept}" in told.err
        answered = [json.dumps(body) for body in server.received if body["answered"]]
    assert len(answered) == len(set(answered))
    # 12 candidates and 4 questions, 24 and 30 times, with and without a system message
    assert len(answered) == 2 * (12 * 24 + 4 * 30)
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]


def test_an_enrolment_leaves_out_questions_that_are_not_always_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts: list[str] = []

    def some(number: int, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][-1]["content"]
        texts.extend([text] if text not in texts else [])
        return said(body, text=None, finish="content_filter") if text in texts[:5] else said(body)

    with colour_server(some) as server:
        words = ["watch", server.spec, "--enrol", str(tmp_path / "new.json"), *SMALL]
        assert run(words) == 0
        content = json.loads((tmp_path / "new.json").read_bytes())
        asked = {cell["messages"][-1]["content"] for cell in content["cells"]}
        assert asked
        assert not asked & set(texts[:5])
        capsys.readouterr()
        server.decide = lambda _, body: said(body, text=None, finish="content_filter")
        words[3] = str(tmp_path / "none.json")
        assert run(words) == 2
    assert "replies to 12 of 12 questions were filtered" in capsys.readouterr().err
