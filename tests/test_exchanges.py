"""What a log says of a server: in the order of time, whatever the order of its lines."""

import json
from pathlib import Path

import pytest
from traced_memory import peak

from auditor.canon import canonical_json
from auditor.exchanges import reply_usage, served_facts
from auditor.served_limits import served_limits


def line(sent: str, model: object, mark: object = None, **changes) -> str:
    """Return an answered attempt; `usage` and `more` are fields of its body."""
    reply = {"model": model, "usage": changes.pop("usage", None), "more": changes.pop("more", "")}
    if mark is not None:
        reply["system_fingerprint"] = mark
    entry = {
        "request": {
            "path": changes.pop("path", "/completions"),
            "body": {"model": changes.pop("asked", "m")},
        },
        "sent": sent,
        "answered": True,
        "status": 200,
        "body": json.dumps(reply),
    }
    return json.dumps({**entry, **changes}) + "\n"


def facts_of(path: Path, *lines: str) -> dict:
    path.write_text("".join(lines))
    return served_facts(path)


def test_names_follow_the_times_of_the_requests(tmp_path):
    facts = facts_of(
        tmp_path / "log.jsonl",
        line("03", "b", "two", usage={"prompt_tokens": 5, "completion_tokens": 7}),
        line("01", "a", "one", usage={"prompt_tokens": 2, "completion_tokens": 1}),
        line("04", "a", "two", asked="last"),
        line("02", "a", "one", answered=False, status=500),
        line("02", "a", answered=False, error="ReadTimeout"),
    )
    assert facts == {
        "asked": "last",
        "attempts": 5,
        "failed": {"ReadTimeout": 1, "answered 500": 1},
        # a at 01, b at 03, a at 04: two changes; one until 01, two from 03 on: one.
        "models": [
            {"value": "a", "replies": 2, "first": "01", "last": "04"},
            {"value": "b", "replies": 1, "first": "03", "last": "03"},
        ],
        "fingerprints": [
            {"value": "one", "replies": 1, "first": "01", "last": "01"},
            {"value": "two", "replies": 2, "first": "03", "last": "04"},
        ],
        "changes": {"models": 2, "fingerprints": 1},
        "changed": {"models": ["a", "b"], "fingerprints": ["one", "two"]},
        "usage": {"prompt_tokens": 7, "completion_tokens": 8, "unreported": 1},
    }


def test_of_requests_sent_at_once_the_order_is_that_of_the_log(tmp_path):
    log = [line("01", name, asked=name) for name in "bab"]
    facts = facts_of(tmp_path / "log.jsonl", *log, line("00", "c", asked="c"))
    assert [row["value"] for row in facts["models"]] == ["c", "b", "a"]
    assert facts["changes"] == {"models": 3, "fingerprints": 0}
    assert facts["asked"] == "b"
    assert facts["fingerprints"] == []


def test_of_no_attempts_nothing_is_known(tmp_path):
    facts = served_facts(tmp_path / "absent.jsonl")
    assert (facts["asked"], facts["attempts"], facts["models"]) == ("", 0, [])


def test_memory_holds_no_bodies(tmp_path):
    peaks = []
    for size in (0, 20_000):
        path = tmp_path / f"{size}.jsonl"
        path.write_text("".join(line(f"{n:04d}", "a", more="x" * size) for n in range(200)))
        peaks.append(peak(lambda path=path: served_facts(path)))
    # 200 bodies are 4 MB; one is there as a line, an entry, bytes and a reply.
    assert peaks[1] - peaks[0] < 250_000


NAN = float("nan")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["m"], '["m"]'),
        ({}, "{}"),
        ({"b": 1, "a": NAN}, '{"a": NaN, "b": 1}'),
        (NAN, "NaN"),
        (2**70, "1180591620717411303424"),
        (False, "false"),
        ("\ud800", "\ufffd"),
        (["\ud800"], '["\\ud800"]'),
    ],
)
def test_whatever_a_server_calls_itself_is_text(tmp_path, given, shown):
    facts = facts_of(tmp_path / "log.jsonl", line("01", given, given), line("02", "m", "one"))
    assert [row["value"] for row in facts["models"]] == [shown, "m"]
    assert [row["value"] for row in facts["fingerprints"]] == [shown, "one"]
    canonical_json({**facts, "limits": served_limits("suspect", facts)})
    assert f"named another in its replies: {shown} (1 replies)" in served_limits("s", facts)[0]


@pytest.mark.parametrize("name", [None, ""])
def test_a_reply_without_a_model_names_no_other(tmp_path, name):
    log = [line("01", "m", "one"), line("02", name, name), line("03", "m", "one")]
    facts = facts_of(tmp_path / "log.jsonl", *log)
    assert facts["changes"] == {"models": 0, "fingerprints": 0}
    assert [row["value"] for row in facts["fingerprints"]] == ["one", None]
    (limit,) = served_limits("suspect", facts)
    assert "asked for the model m and named none in 1 replies" in limit


def test_a_change_is_one_between_replies_of_a_path(tmp_path):
    chat, text = "/chat/completions", "/completions"
    facts = facts_of(
        tmp_path / "log.jsonl",
        line("01", "m", "one", path=chat),
        line("02", "m", "other", path=text),
        line("03", "m", None, path=chat),
        line("04", "m", "one", path=chat),
        line("05", "m", "other", path=text),
        line("06", "m", "two", path=chat),
    )
    # one, one, two at the chats; other, other at the texts.
    assert facts["changes"] == {"models": 0, "fingerprints": 1}
    (limit,) = served_limits("suspect", facts)
    assert "changed the system fingerprint 1 times while it was asked (one, then two)" in limit


def test_a_change_behind_two_paths_is_one(tmp_path):
    paths = ("/chat/completions", "/completions")
    marks = [(mark, path) for mark in ("one", "two") for path in paths]
    log = [line(f"{n}", "m", mark, path=path) for n, (mark, path) in enumerate(marks)]
    facts = facts_of(tmp_path / "log.jsonl", *log)
    assert facts["changes"]["fingerprints"] == 1
    assert facts["changed"]["fingerprints"] == ["one", "two"]


def test_names_without_end_are_cut_in_a_sentence(tmp_path):
    log = [line(f"{n:02d}", "m", f"{n}" + "x" * 1000) for n in range(7)]
    facts = facts_of(tmp_path / "log.jsonl", *log)
    assert facts["changes"]["fingerprints"] == 6
    (limit,) = served_limits("suspect", facts)
    assert "then 4xxx" in limit
    assert "x... and 2 more)" in limit
    assert len(limit) < 1500


@pytest.mark.parametrize(
    ("sent", "back", "read"),
    [
        (2**53 - 1, 0, (2**53 - 1, 0)),
        (2**53, 1, None),
        (1, 2**60, None),
        (-1, 1, None),
        (1, 2.0, None),
        (True, 1, None),
    ],
)
def test_a_count_that_no_json_number_holds_is_none(sent, back, read):
    assert reply_usage({"usage": {"prompt_tokens": sent, "completion_tokens": back}}) == read


def test_a_sum_that_no_json_number_holds_leaves_the_reply_out(tmp_path):
    most = {"prompt_tokens": 2**53 - 3, "completion_tokens": 1}
    few = {"prompt_tokens": 2, "completion_tokens": 1}
    log = [line("01", "m", usage=most), line("02", "m", usage=most), line("03", "m", usage=few)]
    facts = facts_of(tmp_path / "log.jsonl", *log)
    counts = {"prompt_tokens": 2**53 - 1, "completion_tokens": 2, "unreported": 1}
    assert facts["usage"] == counts
