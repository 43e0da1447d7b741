import json
import shutil

import numpy as np
import pytest
import torch
from scipy import stats

from auditor.errors import SubjectError
from auditor.models import open_model
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.models.sampling import GumbelNoise, sample_stream
from auditor.types import Decoding, Message, Probe

LENGTH = 10


def chat(identity, content):
    return Probe(id=identity, category="x", messages=(Message(role="user", content=content),))


PROBES = [chat("a", "hi"), chat("b", "what is this? " * 3), chat("c", "é🙂")]
TEXT = Probe(id="t", category="x", text="Once upon")


def kept_logits(logits, decoding):
    """Temperature, top-k, top-p by their definitions, in float64; -inf where cut."""
    logits = logits / decoding.temperature
    if decoding.top_k:
        logits = np.where(logits < np.sort(logits)[-decoding.top_k], -np.inf, logits)
    if decoding.top_p < 1:
        order = np.argsort(-logits, kind="stable")
        p = np.exp(logits - logits.max())
        p /= p.sum()
        before = np.cumsum(p[order]) - p[order]
        logits[order[before >= decoding.top_p]] = -np.inf
    return logits


def by_hand(model, probe, repeat, decoding, seed):
    """The same draw, one unpadded forward pass a token, without `generate`."""
    ids = list(model.prompt(probe).token_ids)
    stream, reply = sample_stream(seed, probe.id, repeat), []
    for _ in range(decoding.max_new_tokens):
        with torch.inference_mode():
            logits = model.module(torch.tensor([ids])).logits[0, -1, :259].double().numpy()
        if decoding.temperature:
            logits = kept_logits(logits, decoding) + stream.gumbel(size=259)
        token = int(np.argmax(logits))
        if token == 257:
            break
        ids.append(token)
        reply.append(token)
    return tuple(reply)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(max_new_tokens=LENGTH),
        Decoding(max_new_tokens=LENGTH, temperature=0.0),
        Decoding(max_new_tokens=LENGTH, temperature=0.7, top_k=20),
        Decoding(max_new_tokens=LENGTH, temperature=1.3, top_p=0.8),
    ],
    ids=["plain", "greedy", "top-k", "top-p"],
)
def test_replies_are_the_draws_made_by_hand(opened, name, decoding):
    model, probes = opened[name], [PROBES[0], PROBES[2]]
    for sample in model.sample(probes, 2, decoding, 7):
        probe = next(p for p in probes if p.id == sample.probe_id)
        assert sample.token_ids == by_hand(model, probe, sample.repeat, decoding, 7)


def test_the_batch_does_not_change_the_draw(folders):
    decoding = Decoding(max_new_tokens=LENGTH)
    found = []
    for budget in (16, 200, 100_000):
        model = open_model(str(folders["llama"]), device="cpu", batch_tokens=budget)
        found.append(list(model.sample(PROBES, 3, decoding, 1)))
    assert found[0] == found[1] == found[2]
    alone = list(model.sample([PROBES[1]], 1, decoding, 1))
    assert alone == [s for s in found[0] if s.probe_id == "b" and s.repeat == 0]


def test_order_is_probe_then_repeat(llama):
    found = [(s.probe_id, s.repeat) for s in llama.sample(PROBES, 2, Decoding(max_new_tokens=2), 1)]
    assert found == [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("c", 0), ("c", 1)]
    assert list(llama.sample([], 2, Decoding(), 1)) == []
    assert list(llama.sample(PROBES, 0, Decoding(), 1)) == []


def test_seed_probe_and_repeat_each_change_the_draw(llama):
    decoding = Decoding(max_new_tokens=LENGTH)
    same_text = [chat("a", "hi"), chat("z", "hi")]
    first = list(llama.sample(same_text, 2, decoding, 1))
    other = list(llama.sample(same_text, 2, decoding, 2))
    assert len({s.token_ids for s in first + other}) == 8
    assert first == list(llama.sample(same_text, 2, decoding, 1))


def test_the_global_random_state_plays_no_part(llama):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    first = list(llama.sample(PROBES, 1, Decoding(max_new_tokens=4), 1))
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(4)
    assert list(llama.sample(PROBES, 1, Decoding(max_new_tokens=4), 1)) == first


def test_gumbel_argmax_draws_from_the_softmax():
    # 1500 streams, one step: chi-square with 4 degrees of freedom against p, at level 1e-4.
    p = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    scores = torch.from_numpy(np.log(p)).float().repeat(1500, 1)
    streams = [sample_stream(0, f"probe-{i}", 0) for i in range(1500)]
    noise = GumbelNoise(streams, 5, frozenset())
    drawn = noise(torch.zeros(1500, 1, dtype=torch.long), scores).argmax(1).numpy()
    assert stats.chisquare(np.bincount(drawn, minlength=5), 1500 * p).pvalue > 1e-4


def test_a_stream_is_numpys_frozen_generator_seeded_by_sha256():
    import hashlib

    # RFC 8785 of ["1","a",0] is that text; RandomState takes eight 32-bit words.
    words = np.frombuffer(hashlib.sha256(b'["1","a",0]').digest(), dtype="<u4")
    expected = np.random.RandomState(words).gumbel(size=3)
    np.testing.assert_array_equal(sample_stream(1, "a", 0).gumbel(size=3), expected)


def test_a_finished_reply_draws_no_more_noise():
    streams = [sample_stream(0, name, 0) for name in "ab"]
    noise = GumbelNoise(streams, 5, frozenset({3}))
    noise(torch.tensor([[3], [3]]), torch.zeros(2, 5))  # the prompts may end with an end token
    noise(torch.tensor([[3, 3], [3, 4]]), torch.zeros(2, 5))  # the first reply is over
    for stream, steps in zip(streams, (1, 2), strict=True):
        fresh = sample_stream(0, "a" if steps == 1 else "b", 0)
        for _ in range(steps):
            fresh.gumbel(size=5)
        assert stream.gumbel() == fresh.gumbel()


def test_padded_rows_are_never_drawn(folders):
    model = open_model(str(folders["llama"]), device="cpu")
    with torch.no_grad():  # make the 13 padded rows by far the likeliest
        model.module.lm_head.weight[259:] = 50 * model.module.lm_head.weight[:13].abs()
    for temperature in (0.0, 1.0):
        decoding = Decoding(max_new_tokens=6, temperature=temperature)
        for sample in model.sample(PROBES, 2, decoding, 1):
            assert all(token < 259 for token in sample.token_ids)


def test_every_end_token_of_the_generation_config_ends_a_reply(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    plain = open_model(str(folder), device="cpu")
    decoding = Decoding(max_new_tokens=LENGTH, temperature=0.0)
    (before,) = plain.sample([PROBES[0]], 1, decoding, 1)
    stop = before.token_ids[3]
    cut = before.token_ids.index(stop)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": [257, stop]}))
    (after,) = open_model(str(folder), device="cpu").sample([PROBES[0]], 1, decoding, 1)
    assert after.token_ids == before.token_ids[:cut]
    assert (before.finish_reason, after.finish_reason) == ("length", "stop")


def test_the_models_own_decoding_habits_are_not_used(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    decoding = Decoding(max_new_tokens=LENGTH, temperature=0.0)
    expected = [s.token_ids for s in open_model(str(folder)).sample(PROBES, 1, decoding, 1)]
    path = folder / "generation_config.json"
    habits = {"repetition_penalty": 9.0, "do_sample": True, "temperature": 0.1, "top_k": 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | habits))
    model = open_model(str(folder))
    assert [s.token_ids for s in model.sample(PROBES, 1, decoding, 1)] == expected
    assert model.module.generation_config.repetition_penalty == 9.0  # kept for saving


def test_prompts_follow_the_chat_template_and_texts_go_raw(llama):
    found = {s.probe_id: s for s in llama.sample([PROBES[0], TEXT], 1, Decoding(), 1)}
    assert found["a"].prompt == llama.render(PROBES[0]) == "<|bos|>user: hi\nassistant: "
    assert found["a"].prompt_ids == (256, *b"user: hi\nassistant: ")
    assert found["t"].prompt == "Once upon"
    assert found["t"].prompt_ids == (256, *b"Once upon")


def test_the_reply_text_is_the_decoded_ids_without_special_tokens(llama):
    for sample in llama.sample(PROBES, 2, Decoding(max_new_tokens=LENGTH), 5):
        raw = bytes(token for token in sample.token_ids if token < 256)
        assert sample.text == raw.decode(errors="replace")


def test_without_a_template_the_contents_are_joined(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    (folder / "chat_template.jinja").unlink()
    model = open_model(str(folder), device="cpu")
    turns = (Message(role="system", content="be kind"), Message(role="user", content="hi"))
    probe = Probe(id="p", category="x", messages=turns)
    assert model.render(probe) == "be kind\nhi"
    assert model.prompt(probe).token_ids == (256, *b"be kind\nhi")
    assert model.ref.template_digest is None


@pytest.mark.parametrize(
    ("special", "start"),
    [({}, 256), ({"bos_token": None}, 257), ({"bos_token": None, "eos_token": None}, None)],
)
def test_an_empty_text_is_started_with_the_start_token_or_else_the_end_token(
    folders, tmp_path, special, start
):
    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None  # it adds no start token by itself
    for name, value in special.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    model, empty = open_model(str(folder), device="cpu"), Probe(id="e", category="x", text="")
    if start is None:
        with pytest.raises(SubjectError, match="no start token for the empty e"):
            model.prompt(empty)
    else:
        (sample,) = model.sample([empty], 1, Decoding(max_new_tokens=2), 1)
        assert sample.prompt_ids == (start,)


def test_a_template_that_refuses_a_role_names_the_probe(folders, tmp_path):
    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    with pytest.raises(SubjectError, match=r"refuses probe a: .*no system role"):
        open_model(str(folder), device="cpu").render(PROBES[0])


def test_a_reply_beyond_the_learned_positions_is_refused(opened):
    with pytest.raises(SubjectError, match="do not fit the 64 positions"):
        list(opened["gpt2"].sample([TEXT], 1, Decoding(max_new_tokens=60), 1))


def test_overflow_in_generation_is_an_error(folders):
    model = open_model(str(folders["llama"]), device="cpu")
    with torch.no_grad():
        model.module.model.norm.weight[0] = float("nan")
    with pytest.raises(SubjectError, match="computes NaN"):
        list(model.sample([TEXT], 1, Decoding(max_new_tokens=2), 1))
