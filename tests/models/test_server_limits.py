"""A real server that limits requests, and bodies of replies that have no end or cannot be read."""

import contextlib
import json
import re
import sys
import time

import pytest

from auditor.errors import ServerError, SubjectError
from auditor.models import open_model, parse
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_server
from auditor.models.server_patience import Patience
from auditor.types import Decoding, Probe

GREEDY = Decoding(temperature=0.0, max_new_tokens=2)
ONCE = Patience(attempts=1, timeout=2.0)


def probes(count):
    return [Probe(id=f"p{i}", category="x", text="Once upon") for i in range(count)]


def rows(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def ask(spec, log=None, patience=None):
    with contextlib.closing(open_server(parse(spec), log=log, patience=patience)) as model:
        return model.reply(*probes(1), 0, GREEDY, 0)


def test_a_limit_that_lets_one_through_at_a_time_ends_nothing(proxy, connect):
    proxy.control(window=0.3)
    # In the window of each answer the others may be refused, more often than there are attempts.
    model = connect(proxy.spec(concurrency=8), patience=Patience(attempts=3, first=0.05))
    assert sum(model.fetch(probes(10), 1, GREEDY, 0)) == 10
    assert len(proxy.answered()) == 10
    assert len(proxy.received()) > 10


def test_a_limit_that_lets_nobody_through_ends_the_work_and_names_the_remedy(proxy):
    limit = {"kind": "status", "status": 429, "headers": {"retry-after": "0"}}
    proxy.control(*[limit] * 9)
    start = time.monotonic()
    with pytest.raises(ServerError, match="answered 429") as caught:
        ask(proxy.spec(), patience=Patience(attempts=4, first=0.2))
    # A wait of 0 is asked for; the back-off is 0.2 + 0.4 + 0.8 at least.
    assert time.monotonic() - start >= 1.4
    assert len(proxy.received()) == 4
    assert "&concurrency=1" in caught.value.hint


def test_after_a_pause_they_go_one_after_another_until_one_is_answered(proxy, connect):
    model = connect(proxy.spec(concurrency=4))
    limit = {"kind": "status", "status": 429, "headers": {"retry-after": "0.5"}}
    slow = {"kind": "slow", "seconds": 0.4}
    # All four are refused; then the first alone takes 0.4 s.
    proxy.control(*[limit] * 4, slow, seconds=0.05)
    assert sum(model.fetch(probes(4), 1, GREEDY, 0)) == 4
    assert [row["under_way"] for row in proxy.received()][4:6] == [1, 1]


def test_a_body_that_is_not_what_its_header_says_is_asked_again_and_recorded(server, tmp_path):
    server.control({"raw": '{"choices": []}', "headers": {"content-encoding": "gzip"}})
    log = tmp_path / "log.jsonl"
    assert ask(server.spec(), ExchangeLog(log)).text
    first, second = rows(log)
    assert (first["error"], first["answered"]) == ("DecodingError", False)
    assert second["answered"]


def test_what_fails_unforeseen_after_sending_is_recorded(server, tmp_path, monkeypatch):
    def unforeseen(*_):
        raise RecursionError("too deep")

    monkeypatch.setattr("auditor.models.server_client.reply_content", unforeseen)
    log = tmp_path / "log.jsonl"
    with pytest.raises(RecursionError):
        ask(server.spec(), ExchangeLog(log))
    (row,) = rows(log)
    assert (row["error"], row["answered"]) == ("RecursionError", False)


def test_a_reply_that_drips_is_left_after_the_time_for_one(proxy, tmp_path):
    proxy.control({"kind": "endless", "piece": "drop ", "pause": 0.2})
    log = tmp_path / "log.jsonl"
    start = time.monotonic()
    with pytest.raises(ServerError, match="ReplyTooSlowError"):
        ask(proxy.spec(), ExchangeLog(log), ONCE)
    assert time.monotonic() - start < 3 * ONCE.timeout
    (row,) = rows(log)
    assert (row["error"], row["answered"]) == ("ReplyTooSlowError", False)
    assert row["body"].startswith("drop drop drop")
    assert "status" not in row  # it may have been paid


def test_a_reply_without_end_is_not_read_on(proxy, tmp_path):
    proxy.control({"kind": "endless", "piece": "x", "times": 2**20})
    log = tmp_path / "log.jsonl"
    with pytest.raises(ServerError, match="ReplyTooLongError"):
        ask(proxy.spec(), ExchangeLog(log), Patience(attempts=1))
    (row,) = rows(log)
    assert (row["error"], row["answered"]) == ("ReplyTooLongError", False)
    assert row["body"] == "x" * 2**16


def test_a_key_in_a_body_that_was_cut_is_not_kept_in_part(proxy, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "0123456789abcdef")
    # The next piece would have ended the key.
    proxy.control({"kind": "endless", "piece": "0123456789abcde", "pause": 2.5})
    log = tmp_path / "log.jsonl"
    with pytest.raises(ServerError):
        ask(proxy.spec(), ExchangeLog(log), Patience(attempts=1, timeout=4.0))
    assert "0123456789abcde" * 2 not in log.read_text()
    assert not rows(log)[0]["body"].endswith("0123456789abcde")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        (
            "ALL_PROXY",
            "socks5://me:word@127.0.0.1:1",
            r"pip install 'httpx\[socks\]', or unset ALL",
        ),
        ("https_proxy", "gopher://me:word@127.0.0.1:1", "or unset https_proxy"),
        ("SSL_CERT_FILE", "/nonexistent.pem", "file of certificates"),
    ],
)
def test_what_the_environment_says_of_the_network_must_be_usable(monkeypatch, name, value, remedy):
    monkeypatch.setenv(name, value)
    if "socks" in value:
        monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(SubjectError, match=name) as caught:
        open_model("openai:m?base_url=http://127.0.0.1:1/v1")
    assert re.search(remedy, caught.value.hint)
    assert "word" not in caught.value.message + caught.value.hint
