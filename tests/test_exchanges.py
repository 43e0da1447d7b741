"""What a log says of a server: in the order of time, whatever the order of its lines."""

import json
from pathlib import Path

from traced_memory import peak

from auditor.exchanges import served_facts


def line(sent: str, model: str, mark: str | None = None, **changes) -> str:
    """Return an answered attempt; `usage` and `more` are fields of its body."""
    reply = {"model": model, "usage": changes.pop("usage", None), "more": changes.pop("more", "")}
    if mark is not None:
        reply["system_fingerprint"] = mark
    entry = {
        "request": {"path": "/completions", "body": {"model": changes.pop("asked", "m")}},
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
