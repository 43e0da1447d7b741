"""The projections of a module are found by structure, and are what the module computes with."""

import pytest
import torch
import transformers as hf

from auditor.errors import AccessError
from auditor.models.projections import final_norm, mlps_of, query_key_of

WIDTH, NEURONS, LAYERS = 16, 24, 2
SIZES = {
    "vocab_size": 40,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
GROUPED = {**SIZES, "intermediate_size": NEURONS, "num_key_value_heads": 2}
KINDS = {
    "llama": (hf.LlamaConfig, hf.LlamaForCausalLM, GROUPED),
    "phi3": (hf.Phi3Config, hf.Phi3ForCausalLM, GROUPED),
    "gemma2": (hf.Gemma2Config, hf.Gemma2ForCausalLM, {**GROUPED, "head_dim": 4}),
    "gpt_neox": (
        hf.GPTNeoXConfig,
        hf.GPTNeoXForCausalLM,
        {**SIZES, "intermediate_size": NEURONS},
    ),
    "opt": (
        hf.OPTConfig,
        hf.OPTForCausalLM,
        {**SIZES, "ffn_dim": NEURONS, "word_embed_proj_dim": WIDTH},
    ),
    "gpt2": (hf.GPT2Config, hf.GPT2LMHeadModel, {**SIZES, "n_inner": NEURONS}),
}
GATED = ("llama", "phi3", "gemma2")


def module_of(kind: str):
    config, model, sizes = KINDS[kind]
    torch.manual_seed(0)
    return model(config(**sizes)).eval()


def caught(module, layer) -> torch.Tensor:
    """Return what a layer gave when the module ran on some tokens."""
    found = []
    handle = layer.register_forward_hook(lambda _layer, inputs, output: found.append(output))
    with torch.inference_mode():
        module(input_ids=torch.arange(6)[None])
    handle.remove()
    return found[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_has_its_feed_forward_block(kind):
    mlps = mlps_of(module_of(kind))
    assert len(mlps) == LAYERS
    for mlp in mlps:
        assert (mlp.gate is not None) == (kind in GATED)
        assert mlp.neurons == NEURONS
        assert mlp.incoming.weight.shape == (NEURONS, WIDTH)
        assert mlp.written.shape == (NEURONS, WIDTH)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_gate_and_up_are_the_factors_of_the_block(kind):
    module = module_of(kind)
    mlp = mlps_of(module)[1]
    gate = mlp.gate.of_output(caught(module, mlp.gate.layer))
    up = mlp.incoming.of_output(caught(module, mlp.incoming.layer))
    expected = caught(module, mlp.outgoing)
    found = (torch.nn.functional.silu(gate) * up) @ mlp.written
    torch.testing.assert_close(found, expected)


def test_plain_block_reads_and_writes_what_it_says():
    module = module_of("gpt2")
    mlp, block = mlps_of(module)[0], module.transformer.h[0].mlp
    states = torch.randn(5, WIDTH)
    inner = states @ mlp.incoming.weight.T + block.c_fc.bias
    torch.testing.assert_close(block.c_fc(states), inner)
    expected = torch.nn.functional.gelu(inner, approximate="tanh") @ mlp.written
    torch.testing.assert_close(block(states), expected + block.c_proj.bias)


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("llama", (16, 8)), ("phi3", (16, 8)), ("gemma2", (16, 8)), ("opt", (16, 16))],
)
def test_queries_and_keys_have_their_heads(kind, outputs):
    pairs = query_key_of(module_of(kind))
    assert [(tuple(q.shape), tuple(k.shape)) for q, k in pairs] == [
        tuple((count, WIDTH) for count in outputs)
    ] * LAYERS


def test_fused_queries_and_keys_are_taken_apart():
    # Attention scores of one head, from the parts, against those that the module used.
    module = module_of("gpt2")
    states = torch.randn(3, WIDTH)
    fused = module.transformer.h[1].attn.c_attn
    query, key = query_key_of(module)[1]
    torch.testing.assert_close(states @ query.T, (fused(states) - fused.bias)[:, :WIDTH])
    torch.testing.assert_close(states @ key.T, (fused(states) - fused.bias)[:, WIDTH : 2 * WIDTH])
    module = module_of("gpt_neox")
    fused = module.gpt_neox.layers[1].attention.query_key_value
    by_head = (fused(states) - fused.bias).view(3, 4, 3, 4)  # (T, heads, q k v, head width)
    query, key = query_key_of(module)[1]
    torch.testing.assert_close(states @ query.T, by_head[:, :, 0].flatten(1))
    torch.testing.assert_close(states @ key.T, by_head[:, :, 1].flatten(1))


def test_norm_before_the_head_is_found():
    module = module_of("gpt2")
    found = final_norm(module, WIDTH)
    assert found.gain is not None
    assert found.gain.data_ptr() == module.transformer.ln_f.weight.data_ptr()
    assert found.centres
    module = module_of("llama")
    found = final_norm(module, WIDTH)
    assert found.gain.data_ptr() == module.model.norm.weight.data_ptr()
    assert not found.centres
    assert final_norm(module, WIDTH + 1).gain is None


def test_mixture_of_experts_is_refused():
    module = hf.MixtralForCausalLM(
        hf.MixtralConfig(**{**GROUPED, "num_local_experts": 2, "num_experts_per_tok": 1})
    )
    with pytest.raises(AccessError, match="MixtralForCausalLM has 2 layers, and 0 of them"):
        mlps_of(module)
    assert len(query_key_of(module)) == LAYERS


def test_attention_of_no_known_form_is_refused():
    module = hf.FalconForCausalLM(hf.FalconConfig(**SIZES))
    with pytest.raises(AccessError, match="0 of them have a query and key projection"):
        query_key_of(module)
