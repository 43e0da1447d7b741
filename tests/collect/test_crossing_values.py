"""The numbers of a crossing, against transformers in float64 and against bytes counted by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from collect_world import collected, plan_of, save_model
from crossing_world import crossing_models, crossing_plan, write_records

from auditor.collect.crossed_replies import reply_tokens, scored_rows
from auditor.collect.tempered import tempered_logprobs
from auditor.errors import SubjectError
from auditor.models import open_model
from auditor.models.base import Encoded, Head
from auditor.panel import CROSSING, TEMPERATURES
from auditor.stored import planned_probes, read_array, read_records
from auditor.types import Message, Probe

# Three chats, then three texts to continue; two repeats each.
TOLD = {1: ["", "the end"], 2: ["éa", "é"], 3: ["x", "x"], 4: ["there", ""]}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return the models, the plan and the case of a crossing."""
    root = tmp_path_factory.mktemp("crossing")
    models = crossing_models(root)
    told = write_records(
        root / "told.jsonl", plan_of({"reference": models.reference}, probes=6), TOLD
    )
    plan = crossing_plan(models, told, probes=6)
    names = [subject["name"] for subject in plan["subjects"]]
    case = collected(root / "case", plan)
    return SimpleNamespace(models=models, names=names, case=case)


def rows_of(world, scorer, author=None):
    rows = np.array(read_array(world.case, "crossing", scorer))
    assert rows.dtype == CROSSING
    return rows if author is None else rows[rows["author"] == world.names.index(author)]


@pytest.fixture(scope="module")
def expected(world):
    """Return a function: summed float64 log-probabilities (G,) of the last n of some token ids."""
    import torch
    from transformers import LlamaForCausalLM

    loaded = {}

    def compute(name, ids, n):
        folder = getattr(world.models, name)
        if name not in loaded:
            loaded[name] = LlamaForCausalLM.from_pretrained(folder).eval().double()
        with torch.inference_mode():
            logits = loaded[name](torch.tensor([ids])).logits[0, :-1]
        rows = np.arange(len(ids) - 1 - n, len(ids) - 1)
        return [
            float(torch.log_softmax(logits / tau, dim=1)[rows, ids[-n:]].sum())
            for tau in TEMPERATURES
        ]

    return compute


def prompt_of(probe):
    # What the byte tokenizer's template writes for one turn of a user, without the start token.
    return probe.text or f"user: {probe.messages[0].content}\nassistant: "


@pytest.mark.parametrize(("scorer", "folder"), [("reference", "reference"), ("bytes", "control")])
def test_values_are_those_of_transformers_in_float64_at_each_temperature(
    world, expected, scorer, folder
):
    probes = planned_probes(world.case)
    records = read_records(world.case, "suspect")
    rows = rows_of(world, scorer, "suspect")
    assert len(rows) == 12  # 6 probes, 2 repeats, each with a reply
    for row, record in list(zip(rows, records, strict=True))[::3]:
        reply = list(record["text"].encode())
        ids = [256, *prompt_of(probes[row["probe"]]).encode(), *reply]
        assert row["bytes"] == row["tokens"] == len(reply)
        assert row["logprob"] == pytest.approx(expected(folder, ids, len(reply)), rel=1e-5)


def test_values_of_a_merging_tokenizer_are_those_of_transformers(world, expected):
    probe = planned_probes(world.case)[1]
    (row,) = rows_of(world, "merging", "told")[:1]
    # " the end" begins in the prompt's last space: 261 is "\u0120the", and no merge follows.
    prompt = [byte for turn in probe.messages for byte in turn.content]
    encoded = open_model(str(world.models.merging), device="cpu").encode("".join(prompt) + " ")
    ids = [*encoded.token_ids[:-1], 259, *b" end"]
    assert (row["probe"], row["repeat"]) == (1, 1)
    assert (row["bytes"], row["tokens"]) == (7, 5)
    assert row["logprob"] == pytest.approx(expected("merging", ids, 5), rel=1e-5)


def test_a_token_that_ends_inside_a_character_counts_as_the_replys(world, expected):
    probe = planned_probes(world.case)[2]
    rows = rows_of(world, "merging", "told")
    rows = rows[rows["probe"] == 2]
    # " éa" is the bytes 20 c3 a9 61, of which 256 is 20 c3: 3 bytes of the reply in 3 tokens.
    assert rows["bytes"].tolist() == [3, 2]
    assert rows["tokens"].tolist() == [3, 2]
    content = "".join(turn.content for turn in probe.messages)
    ids = [*open_model(str(world.models.merging), device="cpu").encode(content).token_ids]
    assert rows["logprob"][0] == pytest.approx(expected("merging", [*ids, 256, 0xA9, 97], 3))


def test_of_a_text_to_continue_only_the_reply_is_scored(world, expected):
    probe = planned_probes(world.case)[3]
    assert probe.kind == "text"
    rows = rows_of(world, "bytes", "told")
    rows = rows[rows["probe"] == 3]
    ids = [256, *probe.text.encode(), ord("x")]
    assert rows["bytes"].tolist() == rows["tokens"].tolist() == [1, 1]
    assert rows["logprob"][0] == pytest.approx(expected("control", ids, 1), rel=1e-5)


def test_rows_stand_in_order_of_author_probe_and_repeat(world):
    for scorer in ("reference", "bytes", "merging"):
        rows = rows_of(world, scorer)
        order = [(row["author"], row["probe"], row["repeat"]) for row in rows]
        assert order == sorted(set(order))
    # Not failed (probes 0 and 5) and not empty (1 repeat 0, 4 repeat 1).
    told = rows_of(world, "reference", "told")
    places = list(zip(told["probe"].tolist(), told["repeat"].tolist(), strict=True))
    assert places == [(1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0)]


def test_equal_replies_have_equal_rows(world):
    # The twin has the reference's weights, so it says the same; so do both repeats of a record.
    for scorer in ("reference", "bytes", "merging"):
        one, two = rows_of(world, scorer, "reference"), rows_of(world, scorer, "twin")
        assert (one["logprob"] == two["logprob"]).all()
        x = rows_of(world, scorer, "told")["logprob"][3:5]
        assert (x[0] == x[1]).all()


def test_positive_controls_are_authors_and_do_not_score(world):
    assert read_array(world.case, "crossing", "twin") is None
    assert read_array(world.case, "crossing", "suspect") is None
    authors = set(rows_of(world, "bytes")["author"].tolist())
    assert authors == set(range(len(world.names)))


@pytest.mark.parametrize(
    ("ends", "border", "limit", "found"),
    [
        # Prompt of 3 bytes, reply of 2, a token a byte: the last two are scored.
        ((1, 2, 3, 4, 5), 3, None, (3, 2)),
        # A token over bytes 2 to 4 reaches across: it is scored, and spells 1 byte of the reply.
        ((1, 2, 4, 5), 3, None, (2, 2)),
        # One token for prompt and reply, nothing before it: nothing can be scored.
        ((5,), 3, None, None),
        # A start token (no bytes) predicts it.
        ((0, 5), 3, None, (1, 2)),
        # An empty prompt without a start token: the first token is given, 1 byte is scored.
        ((1, 2), 0, None, (1, 1)),
        # An empty reply.
        ((1, 2, 3), 3, None, None),
        # Cut after 4 tokens: 1 byte of the reply is left; cut inside the prompt: none.
        ((1, 2, 3, 4, 5), 3, 4, (3, 1)),
        ((1, 2, 3, 4, 5), 3, 2, None),
        # A character of 2 bytes in two tokens, as a tokenizer without bytes reports it: both end
        # after it. The second spells nothing.
        ((1, 3, 3), 1, None, (1, 2)),
    ],
)
def test_scored_tokens_and_bytes_at_the_border(ends, border, limit, found):
    reply = reply_tokens(Encoded(token_ids=tuple(range(len(ends))), byte_ends=ends), border, limit)
    assert (reply and (reply.first, reply.bytes)) == found


def test_log_probabilities_at_temperatures_by_hand():
    import torch

    # D = 1: logits are state times weight. State ln 2, weights 0, 1, 2: odds 1 : 2 : 4, and at
    # temperature t the odds are 1 : 2^(1/t) : 4^(1/t).
    head = Head(weight=torch.tensor([[0.0], [1.0], [2.0]]))
    states = torch.full((2, 1), float(np.log(2)))
    found = tempered_logprobs(head, states, np.array([1, 2]))
    for column, tau in enumerate(TEMPERATURES):
        odds = np.array([1.0, 2 ** (1 / tau), 4 ** (1 / tau)])
        assert found[:, column] == pytest.approx(np.log(odds[1:] / odds.sum()), abs=1e-6)


def test_log_probabilities_do_not_depend_on_the_chunks(monkeypatch):
    import torch

    from auditor.collect import tempered

    torch.manual_seed(0)
    head, states = Head(weight=torch.randn(50, 8)), torch.randn(301, 8)
    targets = np.arange(301) % 50
    whole = tempered_logprobs(head, states, targets)
    monkeypatch.setattr(tempered, "_CHUNK", 100)
    assert tempered_logprobs(head, states, targets) == pytest.approx(whole, abs=1e-5)
    assert whole.max() <= 0.0


def test_excluded_token_and_no_token():
    import torch

    head = Head(weight=torch.zeros(3, 1), bias=torch.tensor([0.0, 0.0, -float("inf")]))
    found = tempered_logprobs(head, torch.zeros(2, 1), np.array([0, 2]))
    # Two ids are left, equally likely at every temperature.
    assert found[0] == pytest.approx(-np.log(2))
    assert np.isneginf(found[1]).all()
    assert tempered_logprobs(head, torch.zeros(0, 1), np.array([], dtype=int)).shape == (0, 6)


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a model that learned 24 positions."""
    from crossing_world import save_positions

    return open_model(str(save_positions(tmp_path_factory.mktemp("short"), 24)), device="cpu")


def test_reply_beyond_the_learned_positions_is_left_out_alone(short):
    # The prompt "user: \nassistant: " is 18 bytes and a start token: 24 positions leave 5 for the
    # reply, whose last byte is predicted and not read.
    rows = scored_rows(short, chat(""), ["a" * 5, "a" * 6, "a" * 7])
    assert rows["tokens"].tolist() == [5, 6, 0]
    assert rows["bytes"].tolist() == [5, 6, 0]
    assert (rows["logprob"][:2] < 0).all()
    assert (rows["logprob"][2] == 0).all()


def chat(text):
    return Probe(id="p", category="c", messages=(Message(role="user", content=text),))


def test_prompt_that_the_template_refuses_leaves_no_row(short, monkeypatch):
    def refuse(probe):
        raise SubjectError("no system role")

    monkeypatch.setattr(short, "render", refuse)
    assert scored_rows(short, chat("hello"), ["a"])["tokens"].tolist() == [0]


def test_reading_prompts_with_every_reply_gives_the_same_numbers(world, monkeypatch):
    model = open_model(str(world.models.merging), device="cpu")
    replies = ["the end", "éa", "a longer reply", "t"]
    shared = scored_rows(model, chat("Say something."), replies)
    monkeypatch.setattr(model, "_shares_prefixes", False)
    whole = scored_rows(model, chat("Say something."), replies)
    assert (shared["tokens"] == whole["tokens"]).all()
    assert shared["logprob"] == pytest.approx(whole["logprob"], rel=1e-5)


def test_longest_sequence_cuts_the_reply(world):
    model = open_model(str(world.models.reference), device="cpu")
    # A start token and 23 bytes of prompt: 25 leave one of the reply.
    rows = scored_rows(model, chat("hello"), ["abc"], limit=25)
    assert (rows["tokens"][0], rows["bytes"][0]) == (1, 1)
    whole = scored_rows(model, chat("hello"), ["a"])
    assert rows["logprob"] == pytest.approx(whole["logprob"], rel=1e-6)


def test_scorer_whose_head_is_wide_is_scored_alike(tmp_path):
    # A vocabulary above the chunk: rows are held back to the fewest.
    model = open_model(str(save_model(tmp_path / "m", 5, extra_tokens=300)), device="cpu")
    rows = scored_rows(model, chat("hello"), ["abc", "a"])
    alone = scored_rows(model, chat("hello"), ["abc"])
    assert rows["logprob"][0] == pytest.approx(alone["logprob"][0], rel=1e-5)


def test_first_token_of_a_model_without_a_start_token_has_no_score(world):
    # What it thinks of the reference's text: read in the pass over the same sequences.
    probe = planned_probes(world.case)[3]
    reply = next(
        r["text"] for r in read_records(world.case, "reference") if r["probe_id"] == probe.id
    )
    encoded = open_model(str(world.models.merging), device="cpu").encode(probe.text + reply)
    rows = read_array(world.case, "scores", "merging")
    rows = rows[rows["probe"] == 3]
    assert rows["token"].tolist() == list(encoded.token_ids[1:])
    assert rows["byte_end"].tolist() == list(encoded.byte_ends[1:])
