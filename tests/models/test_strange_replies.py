"""Answers of any JSON: read or refused, and never a crash."""

import json

import pytest

from auditor.canon import whole_json
from auditor.errors import ServerError, SubjectError
from auditor.models.openai_replies import read_reply, reply_content
from auditor.models.server_patience import Patience
from auditor.models.server_refusals import server_words
from auditor.types import Decoding, Probe

DEEP = b"[" * 200_000
ASKED = Probe(id="t", category="x", text="One")


def chat(**token):
    """Return a reply of one token with these fields."""
    shown = {"token": "a", "logprob": -1.0, "top_logprobs": [], **token}
    return {"choices": [{"message": {"content": "a"}, "logprobs": {"content": [shown]}}]}


@pytest.mark.parametrize(
    "token",
    [
        {"logprob": -(10**400)},
        {"top_logprobs": [{"token": "a", "logprob": -(10**400)}]},
        {"bytes": 10**30},
        {"bytes": [10**30]},
        {"bytes": "a"},
        {"bytes": 3},  # not three zeros
    ],
)
def test_a_token_that_is_none_makes_no_reply(token):
    with pytest.raises(ServerError, match="not that of an OpenAI-compatible server"):
        read_reply(chat(**token))
    assert reply_content(json.dumps(chat(**token)).encode()) is None


def test_half_a_character_in_a_token_is_read_as_in_any_text():
    content = reply_content(json.dumps(chat(token="\ud83d")).encode())
    (position,) = read_reply(content).positions
    assert position.chosen.piece == "\ufffd".encode()


def nested(levels):
    content = chat()
    for _ in range(levels):
        content = {**chat(), "more": content}
    return json.dumps(content).encode()


def read_below(calls, body):
    """Read a reply again with so many more calls under way."""
    return read_below(calls - 1, body) if calls else whole_json(json.loads(body))


def test_a_nested_reply_is_accepted_where_it_can_be_read_again():
    bodies = [nested(levels) for levels in range(0, 600, 10)]
    accepted = [body for body in bodies if reply_content(body) is not None]
    assert 0 < len(accepted) < len(bodies)
    assert read_below(200, accepted[-1]) == json.loads(accepted[-1])


def test_words_without_end_are_shown_from_their_start():
    assert server_words(DEEP) == "[" * 300
    assert server_words(b'{"error": ' + DEEP) == '{"error": ' + "[" * 290


@pytest.mark.parametrize("status", [200, 400])
def test_a_body_nested_without_end_is_refused_in_words(connect, server, status):
    fault = {"status": status, "raw": DEEP.decode()}
    server.control(fault, fault)
    model = connect(patience=Patience(attempts=2, first=0.01, longest=0.01))
    error = ServerError if status == 200 else SubjectError
    with pytest.raises(error, match=r"\[\[\[\["):
        model.reply(ASKED, 0, Decoding(max_new_tokens=1), 0)
