"""A log of exchanges is canonical JSON, loses nothing that it took, and takes no half line."""

import json
from pathlib import Path
from typing import Any

import pytest
from full_disk import room_for
from traced_memory import peak

from auditor.canon import canonical_json, json_digest
from auditor.errors import CaseError, StorageError
from auditor.models.exchange_log import ExchangeLog, kept_headers
from auditor.models.openai_replies import reply_content
from auditor.models.server_request import Request, written
from auditor.spellings import spellings

BODY: dict[str, Any] = {"prompt": "häuser\n", "temperature": 1.0, "top_p": 0.9, "max_tokens": 3}
REPLY = {"status": 200, "headers": {"server": "x"}, "body": '{"choices": []}', "about": None}


def request(number: int) -> Request:
    return written("/completions", {**BODY, "seed": number})


def test_a_request_is_what_canonical_json_makes_of_it():
    asked = request(7)
    body = {**BODY, "seed": 7}
    assert asked.content == canonical_json(body)
    assert asked.line == canonical_json({"path": "/completions", "body": body})
    assert asked.digest == json_digest({"path": "/completions", "body": body})


@pytest.mark.parametrize("depth", [400, 600, 900, 100_000])
def test_a_reply_nested_too_deeply_is_none(depth: int):
    body = b'{"choices": [{"text": "a"}], "more": ' + b"[" * depth + b"]" * depth + b"}"
    content = reply_content(body)
    assert content is None or content["choices"] == [{"text": "a"}]
    assert content is None or depth < 100_000


def test_a_line_is_canonical_json_with_the_request_in_it(tmp_path: Path):
    path = tmp_path / "new" / "log.jsonl"
    log, asked = ExchangeLog(path), request(1)
    log.append(asked, {"error": "ReadTimeout", "seconds": 1.0}, answered=False)
    log.append(asked, {**REPLY, "seconds": 0.25}, answered=True)
    log.close()
    first, second = path.read_bytes().splitlines()
    named = {"request": {"path": asked.path, "body": asked.body}, "request_digest": asked.digest}
    failed = {"error": "ReadTimeout", "seconds": 1.0, "answered": False, "attempt": 1}
    assert first == canonical_json({**named, **failed})
    assert second == canonical_json(
        {**named, **REPLY, "seconds": 0.25, "answered": True, "attempt": 2}
    )


def test_what_is_known_and_how_often_it_was_asked_outlives_the_log(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = ExchangeLog(path)
    log.append(request(1), REPLY, answered=True)
    log.append(request(2), {"status": 500, "body": ""}, answered=False)
    log.close()
    log.append(request(3), REPLY, answered=True)  # opens it again
    log.close()
    again = ExchangeLog(path)
    assert [request(n) in again for n in (1, 2, 3, 4)] == [True, False, True, False]
    assert [again.attempts(request(n)) for n in (1, 2, 3, 4)] == [1, 1, 1, 0]
    assert again.reply(request(3)) == REPLY["body"].encode()
    assert len(again) == 2


def test_a_line_that_the_disk_cuts_is_taken_back_and_the_next_one_is_whole(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = ExchangeLog(path)
    log.append(request(1), REPLY, answered=True)
    before = path.read_bytes()
    with room_for(len(before) + 10), pytest.raises(StorageError):
        log.append(request(2), REPLY, answered=True)
    assert path.read_bytes() == before
    assert request(2) not in log
    log.append(request(3), REPLY, answered=True)
    assert log.reply(request(3)) == REPLY["body"].encode()
    log.close()
    assert [json.loads(line)["answered"] for line in path.read_bytes().splitlines()] == [True, True]


def test_half_a_line_at_the_end_is_cut_off_and_the_next_one_is_whole(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = ExchangeLog(path)
    log.append(request(1), REPLY, answered=True)
    log.close()
    before = path.read_bytes()
    path.write_bytes(before + before[:50])
    again = ExchangeLog(path)
    assert path.read_bytes() == before
    again.append(request(2), REPLY, answered=True)
    assert again.reply(request(2)) == REPLY["body"].encode()
    again.close()


def test_a_line_of_another_request_is_refused_by_its_number(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = ExchangeLog(path)
    for number in (1, 2):
        log.append(request(number), REPLY, answered=True)
    log.close()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second.replace(b'"seed":2', b'"seed":3') + b"half")
    with pytest.raises(CaseError, match="line 2"):
        ExchangeLog(path)


def test_a_log_that_is_opened_again_is_not_held(tmp_path: Path):
    path = tmp_path / "log.jsonl"
    log = ExchangeLog(path)
    for number in range(50):
        log.append(request(number), {**REPLY, "body": "x" * 40_000}, answered=True)
    log.close()
    # 50 bodies are 2 MB.
    assert peak(lambda: ExchangeLog(path)) < 400_000


def test_headers_are_those_of_the_list_and_a_key_in_them_is_taken_out():
    key = "sk-" + "abcdefgh" * 3
    sent = {"Server": f"for {key}", "X-RateLimit-Limit": "9", "set-cookie": "a", "Date": "now"}
    kept = {"date": "now", "server": "for [key]", "x-ratelimit-limit": "9"}
    assert kept_headers(sent, spellings(key)) == kept
