"""Failures of a real server: which are retried, which are refused, and what stays on record."""

import contextlib
import datetime
import json
import time
from pathlib import Path

import pytest

from auditor.errors import CaseError, MissingExtraError, ServerError, SubjectError
from auditor.models import open_model, parse
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_server
from auditor.models.server_connection import MOST_BYTES
from auditor.models.server_pace import asked_wait
from auditor.models.server_patience import Patience
from auditor.types import Decoding, Probe

TEXT = Probe(id="t", category="x", text="Once upon")
GREEDY = Decoding(temperature=0.0, max_new_tokens=2)
HASTY = Patience(attempts=3, first=0.01, longest=1.0, timeout=90.0)


def ask(server, log=None, patience=HASTY, **options):
    model = open_server(parse(server.spec(**options)), log=log, patience=patience)
    with contextlib.closing(model):
        return model.reply(TEXT, 0, GREEDY, 0)


def rows(path: Path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"cut": True}, {"raw": '{"choices": ['}, {"raw": "[]"}],
    ids=["500", "503", "cut", "half", "list"],
)
def test_a_failure_that_passes_is_asked_again(server, tmp_path, fault):
    server.control(fault)
    log = tmp_path / "log.jsonl"
    assert ask(server, ExchangeLog(log)).text
    first, second = rows(log)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert (first["answered"], second["answered"]) == (False, True)
    assert first.get("error") == ("RemoteProtocolError" if "cut" in fault else None)
    assert first.get("body") == fault.get("raw", None if "cut" in fault else first.get("body"))


def test_a_server_that_asks_for_time_gets_it(server, tmp_path):
    server.control({"status": 429, "headers": {"retry-after": "0.4"}})
    log = tmp_path / "log.jsonl"
    assert ask(server, ExchangeLog(log)).text
    first, second = (datetime.datetime.fromisoformat(row["sent"]) for row in rows(log))
    # Own back-off would be 0.02 s at most.
    assert (second - first).total_seconds() >= 0.4


def test_a_server_that_asks_for_too_much_time_ends_the_work(server):
    server.control({"status": 429, "headers": {"retry-after": "3600"}})
    with pytest.raises(ServerError, match="429") as caught:
        ask(server)
    assert "repeat the command later" in caught.value.hint
    assert len(server.received()) == 1


def test_a_spent_quota_is_not_asked_again(server):
    raw = json.dumps({"error": {"message": "pay first", "code": "insufficient_quota"}})
    server.control({"status": 429, "raw": raw})
    with pytest.raises(ServerError, match="pay first"):
        ask(server)
    assert len(server.received()) == 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"status": 500}, "500: a fault"),
        ({"cut": True}, "RemoteProtocolError"),
        ({"raw": "<"}, "<"),
    ],
)
def test_a_failure_that_stays_is_refused_after_all_attempts(server, fault, message):
    server.control(fault, fault, fault, fault)
    with pytest.raises(ServerError, match=message):
        ask(server)
    assert len(server.received()) == HASTY.attempts


# RFC 9110, 10.2.3: seconds, or a date.
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_time_to_wait(headers, seconds):
    now = datetime.datetime(2015, 10, 21, 7, 28, tzinfo=datetime.UTC)
    assert asked_wait(headers, now) == seconds


def test_nobody_there_is_refused_at_once(connect):
    start = time.monotonic()
    with pytest.raises(ServerError, match="ConnectError") as caught:
        connect("openai:m?base_url=http://127.0.0.1:1/v1").reply(TEXT, 0, GREEDY, 0)
    assert time.monotonic() - start < 5
    assert "base_url" in caught.value.hint


def test_wrong_path_and_wrong_model_are_told_apart(connect, server):
    with pytest.raises(ServerError, match="404") as caught:
        connect(server.spec().replace("/v1", "/v2")).reply(TEXT, 0, GREEDY, 0)
    assert "ends with /v1" in caught.value.hint
    with pytest.raises(ServerError, match="has no model 'other'") as caught:
        connect(server.spec("other")).reply(TEXT, 0, GREEDY, 0)
    assert "it has: tiny-model" in caught.value.hint
    server.control(padding=MOST_BYTES)  # a list of models without end
    with pytest.raises(ServerError, match="has no model 'other'") as caught:
        connect(server.spec("other")).reply(TEXT, 0, GREEDY, 0)
    assert "ask the server for the names" in caught.value.hint


SECRET = "sk-0123456789abcdef"  # noqa: S105


@pytest.mark.parametrize("where", ["variable", "named", "file"])
def test_keys_come_from_outside_and_go_nowhere_else(server, tmp_path, monkeypatch, where):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    options = {}
    if where == "file":
        (tmp_path / "key").write_text(SECRET + "\n")
        options = {"key_file": tmp_path / "key"}
    else:
        name = "OPENAI_API_KEY" if where == "variable" else "OTHER_KEY"
        monkeypatch.setenv(name, SECRET)
        options = {} if where == "variable" else {"key_env": name}
    server.control(key=SECRET)
    log = tmp_path / "log.jsonl"
    assert ask(server, ExchangeLog(log), **options).text
    assert [entry["authorization"] for entry in server.received()] == [f"Bearer {SECRET}"]
    assert SECRET not in log.read_text()
    assert "key" not in parse(server.spec(**options)).canonical.partition("?")[2]


def test_a_wrong_key_is_refused_and_not_shown(server, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    server.control(key="another")
    log = tmp_path / "log.jsonl"
    with pytest.raises(ServerError, match=r"401: Incorrect API key .*\[key\]") as caught:
        ask(server, ExchangeLog(log))
    assert "OPENAI_API_KEY" in caught.value.hint
    assert SECRET not in caught.value.message + log.read_text()
    assert len(server.received()) == 1


def test_headers_that_identify_an_account_are_not_recorded(server, tmp_path):
    log = tmp_path / "log.jsonl"
    ask(server, ExchangeLog(log))
    (row,) = rows(log)
    assert row["headers"]["x-request-id"] == "request-1"
    assert "set-cookie" not in row["headers"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openai:m", "needs the address"),
        ("openai:?base_url=http://h/v1", "names no model"),
        ("openai:\udcff?base_url=http://h/v1", "no UTF-8 text"),
        ("openai:m?base_url=localhost:8000", "not the address"),
        ("openai:m?base_url=ftp://h/v1", "not the address"),
        ("openai:m?base_url=http://h:x/v1", "not the address"),
        ("openai:m?base_url=http://me:word@h/v1", "holds a user"),
        ("openai:m?base_url=http://h/v1&api_key=s", "no option 'api_key'"),
        ("openai:m?base_url=http://h/v1&key_file=k", "not absolute"),
        ("openai:m?base_url=http://h/v1&key_file=/k&key_env=K", "both name a key"),
        ("openai:m?base_url=http://h/v1&concurrency=0", "concurrency '0'"),
        ("openai:m?base_url=http://h/v1&extra_body=3", "not a JSON object"),
        ("openai:m?base_url=http://h/v1&extra_body={", "not a JSON object"),
        ('openai:m?base_url=http://h/v1&extra_body={"a":NaN}', "that can be sent"),
        ('openai:m?base_url=http://h/v1&extra_body={"a":1e999}', "that can be sent"),
        ('openai:m?base_url=http://h/v1&extra_body={"a":9007199254740993}', "that can be sent"),
        ('openai:m?base_url=http://h/v1&extra_body={"a":"\\ud800"}', "that can be sent"),
        (f"openai:m?base_url=http://h/v1&extra_body={'[' * 5000}", "that can be sent"),
        ('openai:m?base_url=http://h/v1&extra_body={"seed":1}', "names seed, which the plan"),
        ('openai:m?base_url=http://h/v1&extra_body={"Key":"word"}', "may be a key"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(spec, said):
    with pytest.raises(SubjectError, match=said) as caught:
        parse(spec)
    assert "word" not in caught.value.message


def test_the_canonical_form_names_model_and_server_alone():
    spec = parse("openai:org/m@1?base_url=https://h:1/v1/&concurrency=3&key_env=K")
    assert spec.canonical == "openai:org/m@1?base_url=https://h:1/v1"
    assert parse(spec.canonical).canonical == spec.canonical


def test_what_is_added_to_every_request_is_part_of_the_identity():
    spec = parse('openai:m?base_url=http://h/v1&extra_body={"top_k": 0, "min_p": 0.0}')
    assert spec.canonical == 'openai:m?base_url=http://h/v1&extra_body={"min_p":0,"top_k":0}'
    assert parse(spec.canonical).canonical == spec.canonical


def test_a_key_that_is_named_must_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(SubjectError, match="NO_KEY holds no key"):
        open_model("openai:m?base_url=http://h/v1&key_env=NO_KEY")
    with pytest.raises(SubjectError, match="cannot be read"):
        open_model(f"openai:m?base_url=http://h/v1&key_file={tmp_path / 'none'}")


def test_half_a_line_is_cut_off_and_a_changed_one_refused(server, tmp_path):
    log = tmp_path / "log.jsonl"
    ask(server, ExchangeLog(log))
    whole = log.read_bytes()
    log.write_bytes(whole + whole[: len(whole) // 2])
    assert len(ExchangeLog(log)) == 1
    assert log.read_bytes() == whole
    log.write_bytes(whole.replace(b'"Once upon"', b'"Once again"') + whole)
    with pytest.raises(CaseError, match="line 1"):
        ExchangeLog(log)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx", None)
    with pytest.raises(MissingExtraError) as caught:
        open_model("openai:m?base_url=http://h/v1")
    assert "auditor[api]" in caught.value.hint
