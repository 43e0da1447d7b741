"""Texts that begin alike are read in two parts, with the states of one."""

import pytest

from auditor.errors import AccessError, SubjectError

PREFIX = [5, 3, 60, 7, 7, 1, 22, 9, 13, 2, 40, 8]
ENDINGS = [[4], [4, 9, 30, 2, 11], [50, 1, 6], [17, 17]]
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def configurations():
    from transformers import BloomConfig, GPT2Config, LlamaConfig, MambaConfig, MistralConfig

    return {
        "llama": LlamaConfig(**SIZES),
        "gpt2": GPT2Config(
            vocab_size=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        ),
        # Attention over the last 8 tokens only: fewer than the prefix has.
        "mistral": MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=8),
        # Positions by a bias on distances.
        "bloom": BloomConfig(
            vocab_size=64, hidden_size=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
        ),
        "mamba": MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1),
    }


def model_of(name):
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(configurations()[name]).eval()


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral", "bloom"])
def test_states_in_two_parts_are_those_of_the_whole_text(name):
    from auditor.models.forward import final_states
    from auditor.models.shared_prefix import ending_states, shares_prefixes

    module = model_of(name)
    assert shares_prefixes(module, 64)
    whole = final_states(module, [PREFIX + ending for ending in ENDINGS])
    first, second = ending_states(module, PREFIX, [ENDINGS[:3], ENDINGS[3:]])
    for ending, expected, found in zip(ENDINGS, whole, first + second, strict=True):
        assert found.shape == (len(ending), 32)
        assert float((found - expected[len(PREFIX) :]).abs().max()) < 1e-5


def test_recurrent_model_shares_nothing():
    from auditor.models.shared_prefix import shares_prefixes

    assert not shares_prefixes(model_of("mamba"), 64)


def test_trial_sees_states_that_do_not_fit(monkeypatch):
    from auditor.models import shared_prefix

    module = model_of("llama")
    real = shared_prefix._cache
    # As a cache that forgets its first token.
    monkeypatch.setattr(shared_prefix, "_cache", lambda module, ids: real(module, ids[1:]))
    assert not shared_prefix.shares_prefixes(module, 64)


def test_trial_fits_a_vocabulary_of_two():
    from transformers import LlamaConfig, LlamaForCausalLM

    from auditor.models.shared_prefix import shares_prefixes

    config = LlamaConfig(**{**SIZES, "vocab_size": 2}, bos_token_id=0, eos_token_id=1)
    assert shares_prefixes(LlamaForCausalLM(config).eval(), 2)


def test_text_beyond_the_learned_positions_is_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    from auditor.models.shared_prefix import ending_states

    config = GPT2Config(
        vocab_size=64, n_embd=8, n_layer=1, n_head=1, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    module = GPT2LMHeadModel(config).eval()
    assert len(ending_states(module, PREFIX, [[[1] * 4]])[0][0]) == 4
    with pytest.raises(SubjectError, match="17 tokens do not fit the 16 positions"):
        ending_states(module, PREFIX, [[[1] * 5]])


def test_id_without_an_embedding_is_refused():
    from auditor.models.shared_prefix import ending_states

    module = model_of("llama")
    for prefix, ending in (([64], [1]), ([1], [64])):
        with pytest.raises(SubjectError, match="token id 64 is beyond the 64 embeddings"):
            ending_states(module, prefix, [[ending]])


@pytest.mark.parametrize("budget", [8, 2048])
def test_model_returns_endings_in_order_whatever_the_batches(folders, budget):
    import torch

    from auditor.models import open_model

    model = open_model(str(folders["llama"]), device="cpu", batch_tokens=budget)
    expected = list(model.hidden([PREFIX + ending for ending in ENDINGS]))
    found = model.hidden_after(PREFIX, ENDINGS)
    whole = model.hidden_after([], ENDINGS)
    for ending, states, all_states, alone in zip(ENDINGS, found, expected, whole, strict=True):
        assert torch.allclose(states, all_states[len(PREFIX) :], atol=1e-5)
        assert len(alone) == len(ending)
    assert model.hidden_after(PREFIX, []) == []


def test_recorded_outputs_have_no_states(tmp_path):
    from auditor.models import open_model

    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "p", "text": "t"}\n')
    model = open_model(str(path))
    assert (model.longest, model.shares_prefixes) == (None, False)
    with pytest.raises(AccessError, match="no hidden states"):
        model.hidden_after([1], [[2]])
