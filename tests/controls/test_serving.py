"""What a host does to replies: each way is what it says, on a real tiny model."""

import json
from dataclasses import replace

import pytest

from auditor.controls.serving import (
    REFUSAL,
    WAYS,
    Host,
    diluted,
    plain,
    record,
    refusals,
    refusing_at_random,
    refusing_in_varied_words,
    refusing_unlikely_prompts,
    routing_chats,
    with_system_prompt,
)
from auditor.models import open_model
from auditor.models.recorded import read_records_file
from auditor.types import Decoding, Message, Probe

TEXTS = ("Once upon a time", "One day, a boy", "xq#9]}vv@@zk", "The old woman said")
PROBES = (
    *(Probe(id=f"t{i}", category="text", text=text) for i, text in enumerate(TEXTS)),
    *(
        Probe(
            id=f"c{i}", category="chat", messages=(Message(role="user", content=f"What is {i}?"),)
        )
        for i in range(4)
    ),
)


@pytest.fixture(scope="module")
def host() -> Host:
    return Host(
        model=open_model("tiny:teacher"),
        other=open_model("tiny:independent"),
        probes=PROBES,
        decoding=Decoding(max_new_tokens=12),
        seed=3,
    )


@pytest.fixture(scope="module")
def own(host) -> list[str]:
    return plain(1.0)(host)


@pytest.fixture(scope="module")
def others(host) -> list[str]:
    return plain(1.0)(replace(host, model=host.other))


def test_a_low_temperature_is_close_to_greedy(host):
    assert plain(1e-4)(host) == plain(0.0)(host)
    assert plain(1.0)(host) != plain(0.0)(host)


def test_chats_are_routed_and_texts_are_not(host, own, others):
    assert routing_chats(host) == own[:4] + others[4:]


def test_dilution_takes_each_reply_from_one_of_the_two(host, own, others):
    found = diluted(host)
    assert all(reply in (a, b) for reply, a, b in zip(found, own, others, strict=True))
    assert found not in (own, others)


def test_canned_refusals_replace_replies_and_leave_the_rest(host, own):
    found = refusing_at_random(host)
    assert 0 < found.count(REFUSAL) < len(found)
    assert all(reply in (REFUSAL, mine) for reply, mine in zip(found, own, strict=True))


def test_varied_refusals_never_repeat_and_are_counted(host, own, tmp_path):
    found = refusing_in_varied_words(host)
    refused = [reply for reply, mine in zip(found, own, strict=True) if reply != mine]
    assert 0 < len(refused) == len(set(refused)) < len(found)
    assert refusals(record(host, "varied refusals 30 %", tmp_path / "said.jsonl")) == len(refused)


def test_the_filter_refuses_the_prompt_that_makes_no_sense(host):
    found = refusing_unlikely_prompts(host)
    assert found[2] == REFUSAL
    # A quarter of 8 prompts.
    assert found.count(REFUSAL) == 2


def test_a_system_prompt_changes_the_replies(host, own):
    assert with_system_prompt(host) != own


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_recorded_in_order_and_can_be_examined(host, tmp_path, way):
    path = record(host, way, tmp_path / "replies.jsonl")
    replies = read_records_file(path).replies
    assert [reply.probe_id for reply in replies] == [probe.id for probe in PROBES]
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert refusals(path) == sum(text.startswith(REFUSAL[:-1]) for text in texts)
