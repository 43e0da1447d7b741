"""What a real server refuses of the questions about its access, and what it offers all the same."""

import contextlib
import json

import pytest

from auditor.errors import AccessError, ServerError
from auditor.models import parse
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import open_audited
from auditor.models.server_access import find_access
from auditor.models.server_address import server_address
from auditor.models.server_budget import Budget, Limits
from auditor.models.server_client import ServerClient
from auditor.models.server_patience import Patience
from auditor.types import Access

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"


def offered(spec, log=None, kinds=("chat",)):
    model = open_audited(
        parse(spec),
        log=ExchangeLog(log),
        kinds=kinds,
        most=Access.TOPK,
        budget=Budget(Limits()),
    )
    with contextlib.closing(model):
        return model.offered


def test_log_probabilities_that_are_forbidden_leave_the_text(proxy, tmp_path):
    proxy.control(forbidden="logprobs")
    log = tmp_path / "log.jsonl"
    found = offered(proxy.spec(), log)
    assert (found.logprobs, found.echo, found.level) == ({"chat": None}, None, Access.TEXT)
    told = [json.loads(line) for line in log.read_bytes().splitlines()]
    # 20, 5, none; then an echo, which asks for log-probabilities too.
    assert [row["status"] for row in told[:4]] == [403, 403, 200, 403]


def test_log_probabilities_that_are_forbidden_and_demanded_end_the_work(proxy):
    proxy.control(forbidden="logprobs")
    with pytest.raises((AccessError, ServerError), match="403"):
        offered(proxy.spec(top_logprobs=3))
    assert len(proxy.received()) == 1


def test_a_key_that_may_nothing_is_still_told_apart(proxy):
    proxy.control(refusing={CHAT: 403})
    with pytest.raises(ServerError, match="403") as caught:
        offered(proxy.spec())
    assert "check the key" in caught.value.hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_path_that_is_closed_has_no_echo(proxy, status):
    proxy.control(refusing={TEXT: status})
    found = offered(proxy.spec())
    assert found.echo is None
    assert found.level is Access.TOPK  # the chat shows some


def test_a_path_that_goes_on_failing_has_no_echo(proxy):
    proxy.control(refusing={TEXT: 500})
    address = server_address(proxy.model, {"base_url": proxy.root + "/v1"})
    client = ServerClient(address, ExchangeLog(), Patience(attempts=2, first=0.01))
    with contextlib.closing(client):
        found = find_access(client, proxy.model, {"chat"}, None)
    assert (found.echo, found.level) == (None, Access.TOPK)


def test_texts_that_are_asked_for_need_their_path(proxy):
    proxy.control(refusing={TEXT: 401})
    with pytest.raises(ServerError, match="401"):
        offered(proxy.spec(), kinds=("chat", "text"))
