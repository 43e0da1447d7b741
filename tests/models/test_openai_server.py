"""Replies and log-probabilities of a real server process, beside the same model run here."""

import contextlib

import numpy as np
import pytest

from auditor.errors import AccessError
from auditor.models import identify, open_model
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import reply_seed
from auditor.types import Access, Decoding, Message, Probe

CHAT = Probe(id="c", category="x", messages=(Message(role="user", content="hi there"),))
TEXT = Probe(id="t", category="x", text="Once upon")
GREEDY = Decoding(temperature=0.0, max_new_tokens=6)


def texts(model, probes, n=1, decoding=GREEDY, seed=0):
    return [sample.text for sample in model.sample(probes, n, decoding, seed)]


def test_greedy_replies_are_those_of_the_model_itself(connect, server, llama):
    there = [*connect().sample([CHAT, TEXT], 1, GREEDY, 0)]
    here = [*llama.sample([CHAT, TEXT], 1, GREEDY, 0)]
    assert [s.text for s in there] == [s.text for s in here]
    assert [s.finish_reason for s in there] == [s.finish_reason for s in here]
    assert [s.probe_id for s in there] == ["c", "t"]


def local_logprobs(module, prompt, answer):
    """Float64 (T, V) log-probabilities of each token of `answer` by one forward pass."""
    import torch

    with torch.inference_mode():
        logits = module(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1, :259]
    return torch.log_softmax(logits, -1).numpy()


# Strings merge where they stand for parts of characters: of them the likeliest alone is sure.
@pytest.mark.parametrize(
    ("probe", "k", "strings"),
    [(CHAT, 5, False), (TEXT, 5, False), (TEXT, 1, True)],
    ids=["chat", "text", "strings"],
)
def test_log_probabilities_are_those_of_the_model_itself(
    connect, server, folders, llama, probe, k, strings
):
    from auditor.models.loading import load_transformers

    server.control(strings=strings)
    reply = connect(top_logprobs=k).reply(probe, 0, Decoding(max_new_tokens=12), seed=4)
    module = load_transformers(str(folders["llama"]), device="cpu").module.double()
    drawn = []
    for position in reply.positions:  # the byte of a token is its id here
        if len(position.chosen.piece) > 1:
            break
        drawn.append(position.chosen.piece[0])
    assert len(drawn) > 1
    expected = local_logprobs(module, llama.prompt(probe).token_ids, drawn)
    for row, token, position in zip(expected, drawn, reply.positions, strict=False):
        assert position.chosen.logprob == pytest.approx(row[token], abs=1e-9)
        found = [token.logprob for token in position.top]
        assert found == pytest.approx(np.sort(row)[::-1][:k].tolist(), abs=1e-9)


def test_a_server_shows_text_only_until_more_is_asked(connect, server):
    assert identify(server.spec()).access is Access.TEXT
    with contextlib.closing(open_model(server.spec())) as opened:
        assert opened.ref == identify(server.spec())
    assert connect().ref.access is Access.TEXT
    assert connect(top_logprobs=2).ref.access is Access.TOPK
    assert server.received() == []


def test_further_fields_stand_in_every_request_for_a_reply(server):
    spec = server.spec() + '&extra_body={"min_p":0,"top_k":7}'
    with contextlib.closing(open_model(spec)) as model:
        texts(model, [CHAT, TEXT])
    bodies = [row["body"] for row in server.received()]
    assert [(body["min_p"], body["top_k"]) for body in bodies] == [(0, 7)] * 2


def test_fewer_log_probabilities_than_asked_are_refused_after_one_call(connect, server):
    server.control(most=3)
    model = connect(top_logprobs=5)
    with pytest.raises(AccessError, match=r"asked for 5 .* gave 3") as caught:
        texts(model, [CHAT, TEXT], n=4)
    assert "method.cache.k: 3" in caught.value.hint
    assert len(server.received()) == 1


def test_a_server_without_log_probabilities_is_refused_after_one_call(connect, server):
    server.control(logprobs="none")
    with pytest.raises(AccessError, match="without log-probabilities") as caught:
        texts(connect(top_logprobs=5), [CHAT, TEXT])
    assert "method sequence" in caught.value.hint
    assert len(server.received()) == 1


def test_a_reply_is_drawn_by_the_seed_of_its_probe_and_repeat(connect, server):
    decoding = Decoding(max_new_tokens=5)
    drawn = texts(connect(), [CHAT, TEXT], 3, decoding, seed=7)
    again = texts(connect(server.spec(concurrency=1)), [TEXT], 3, decoding, seed=7)
    assert drawn[3:] == again
    assert len(set(drawn[:3])) > 1
    bodies = [entry["body"] for entry in server.received()]
    assert {body["seed"] for body in bodies if "prompt" in body} == {
        reply_seed(7, "t", repeat) for repeat in range(3)
    }
    assert all(0 <= body["seed"] < 2**31 for body in bodies)


def test_what_was_answered_is_not_asked_again(connect, server, tmp_path):
    path = tmp_path / "exchanges.jsonl"
    first = texts(connect(log=ExchangeLog(path)), [CHAT, TEXT], 2)
    assert len(server.received()) == 4
    log = ExchangeLog(path)
    assert len(log) == 4
    again = texts(connect(log=log), [CHAT, TEXT], 3)
    assert len(server.received()) == 6
    assert [*again[:2], *again[3:5]] == first


@pytest.mark.parametrize("what", ["encode", "score", "hidden", "head", "tensors"])
def test_what_a_server_cannot_show_is_refused(connect, server, what):
    model = connect()
    with pytest.raises(AccessError, match="behind a server"):
        getattr(model, what)(*([] if what in ("head", "tensors") else ["x"]))
