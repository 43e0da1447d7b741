"""The numbers in a collected case, against the models themselves in float64."""

import numpy as np
import pytest
from collect_world import PROBES

from auditor.answered import load_outputs
from auditor.pairing import load_pair
from auditor.stored import planned_probes, read_array, read_records


@pytest.fixture(scope="module")
def logits(models):
    """Return a function: float64 logits (T, V) of a model folder on token ids, by transformers."""
    import torch
    from transformers import LlamaForCausalLM

    loaded = {}

    def compute(name, ids):
        if name not in loaded:
            loaded[name] = LlamaForCausalLM.from_pretrained(models.root / name).eval().double()
        with torch.inference_mode():
            return loaded[name](torch.tensor([ids])).logits[0].numpy()

    return compute


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def first_reply(case, subject, probe):
    return [r for r in read_records(case, subject) if r["repeat"] == 0][probe]


def test_a_model_compared_with_itself_has_divergence_exactly_zero(case):
    positions = load_pair(case, "reference", "itself").positions
    assert len(positions) > 100
    for name in ("kl_ab", "kl_ba", "js", "tv"):
        assert (positions[name] == 0).all()
    assert (positions["argmax_a"] == positions["argmax_b"]).all()


def test_positions_are_those_that_predict_the_reply_or_the_text(case):
    positions = load_pair(case, "reference", "other").positions
    for index, probe in enumerate(planned_probes(case)):
        record = first_reply(case, "reference", index)
        expected = list(record["token_ids"])
        if probe.kind == "text":
            # The start token is given; every byte of the text is predicted.
            expected = [*probe.text.encode(), *expected]
        assert positions["token"][positions["probe"] == index].tolist() == expected


def test_agreement_is_that_of_the_two_models_in_float64(case, logits):
    positions = load_pair(case, "reference", "other").positions
    for index in (0, PROBES - 1):
        record = first_reply(case, "reference", index)
        rows = positions[positions["probe"] == index]
        ids = record["prompt_ids"] + record["token_ids"]
        p, q = (
            log_softmax(logits(name, ids))[len(ids) - 1 - len(rows) : -1]
            for name in ("reference", "other")
        )
        kl = (np.exp(p) * (p - q)).sum(axis=1)
        assert rows["kl_ab"] == pytest.approx(kl, rel=1e-4)
        chosen = q[np.arange(len(rows)), rows["token"]]
        assert rows["logp_b"] == pytest.approx(chosen, rel=1e-4)


def test_top_tokens_and_their_tail_are_those_of_the_model(case, logits):
    rows = read_array(case, "topk", "other")
    rows = rows[rows["probe"] == 0]
    record = first_reply(case, "reference", 0)
    ids = record["prompt_ids"] + record["token_ids"]
    logp = log_softmax(logits("other", ids))[len(ids) - 1 - len(rows) : -1]
    order = np.argsort(-logp, axis=1)[:, :20]
    assert rows["ids"].tolist() == order.tolist()
    assert rows["logprobs"] == pytest.approx(np.take_along_axis(logp, order, 1), rel=1e-4)
    # 259 ids, 20 of them listed: the tail is the sum over the other 239.
    rest = np.exp(np.sort(logp, axis=1)[:, :239]).sum(axis=1)
    assert rows["tail"] == pytest.approx(rest, rel=1e-4)


def test_scores_are_the_log_probabilities_of_the_reply_bytes(case, logits):
    index = PROBES - 1
    probe = planned_probes(case)[index]
    record = first_reply(case, "reference", index)
    scores = read_array(case, "scores", "other")
    rows = scores[scores["probe"] == index]
    # A text probe: text and reply are scored, byte by byte; 256 is the start token.
    content = (probe.text + record["text"]).encode()
    assert bytes(rows["token"].astype(np.uint8)) == content
    assert rows["byte_end"].tolist() == list(range(1, len(content) + 1))
    logp = log_softmax(logits("other", [256, *content]))
    chosen = [logp[i, token] for i, token in enumerate(content)]
    assert rows["logprob"] == pytest.approx(chosen, rel=1e-4)


def test_scores_of_a_chat_cover_the_reply_only(case):
    scores = read_array(case, "scores", "foreign")
    reply = first_reply(case, "reference", 0)["text"].encode()
    rows = scores[scores["probe"] == 0]
    assert bytes(rows["token"].astype(np.uint8)) == reply
    assert rows["byte_end"].tolist() == list(range(1, len(reply) + 1))


def test_mean_states_average_the_scored_positions(case, models):
    import torch
    from transformers import LlamaForCausalLM

    module = LlamaForCausalLM.from_pretrained(models.other).eval()
    record = first_reply(case, "reference", 0)
    ids = record["prompt_ids"] + record["token_ids"]
    with torch.inference_mode():
        states = module.model(torch.tensor([ids])).last_hidden_state[0]
    reply = len(record["token_ids"])
    expected = states[len(ids) - 1 - reply : -1].mean(dim=0).numpy()
    found = load_outputs(case, "other").hidden
    assert found.shape == (PROBES, 32)
    assert found[0] == pytest.approx(expected, abs=1e-5)
