import pytest
import torch
from transform_models import gpt2, llama, logits, weights

from auditor.controls.transforms_symmetry import fully_permuted, permuted, rotated
from auditor.errors import InputError

MODELS = {
    "llama": lambda: llama(1),
    "tied": lambda: llama(2, tied=True),
    "biased": lambda: llama(3, bias=True),
    "qwen3": lambda: llama(4, kind="qwen3"),
    "gpt2": lambda: gpt2(5),
}


@pytest.fixture(scope="module", params=MODELS)
def module(request):
    return MODELS[request.param]()


def moved(before, after):
    """Return the tensors that are not the same any more."""
    return {name for name, value in weights(before).items() if not torch.equal(
        value, weights(after)[name])}  # fmt: skip


@pytest.mark.parametrize("parts", ["neurons", "heads", "residual", "all"])
def test_another_order_computes_the_same(module, parts):
    changed = permuted(module, parts, seed=3)
    assert moved(module, changed)
    torch.testing.assert_close(logits(changed), logits(module), atol=1e-4, rtol=0)


def test_only_the_units_that_were_named_move():
    module = llama(1)
    neurons = moved(module, permuted(module, "neurons", seed=0))
    assert neurons == {
        f"model.layers.{layer}.mlp.{part}_proj.weight"
        for layer in range(2)
        for part in ("gate", "up", "down")
    }
    heads = moved(module, permuted(module, "heads", seed=0))
    assert {name.split(".")[3] for name in heads} == {"self_attn"}
    # Everything but the order of the rows that tokens own.
    assert len(moved(module, permuted(module, "all", seed=0))) == len(weights(module))


def test_a_permuted_copy_holds_the_same_numbers():
    module = llama(1)
    for name, value in weights(permuted(module, "all", seed=9)).items():
        assert torch.equal(
            value.flatten().sort().values, weights(module)[name].flatten().sort().values
        )


def test_one_seed_gives_one_order_and_the_model_is_not_changed():
    module = gpt2(5)
    before = {name: value.clone() for name, value in weights(module).items()}
    one, two, other = (permuted(module, "all", seed=seed) for seed in (3, 3, 4))
    assert moved(one, two) == set()
    assert moved(one, other)
    assert all(torch.equal(value, before[name]) for name, value in weights(module).items())


@pytest.mark.parametrize("name", ["llama", "tied", "biased", "qwen3"])
def test_a_rotated_copy_computes_the_same_with_plain_norms(name):
    module = MODELS[name]()
    turned = rotated(module, seed=1)
    torch.testing.assert_close(logits(turned), logits(module), atol=1e-4, rtol=0)
    assert bool((weights(turned)["model.norm.weight"] == 1).all())
    # No residual dimension is left where it was, up to sign.
    e, f = (weights(one)["model.embed_tokens.weight"] for one in (module, turned))
    cosines = torch.nn.functional.normalize(e, dim=0).T @ torch.nn.functional.normalize(f, dim=0)
    assert float(cosines.abs().max()) < 0.9


def test_a_tied_model_that_is_rotated_gets_a_head_of_its_own(tmp_path):
    from transformers import AutoModelForCausalLM

    turned = rotated(llama(2, tied=True), seed=1)
    turned.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(again), logits(turned))
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)


@pytest.mark.parametrize("name", ["tied", "gpt2"])
def test_a_fully_permuted_copy_computes_the_same(name):
    module = MODELS[name]()
    changed = fully_permuted(module, seed=2)
    torch.testing.assert_close(logits(changed), logits(module), atol=1e-4, rtol=0)
    assert moved(module, changed) == set(weights(module))


def test_models_without_the_structure_are_refused():
    import transformers as t

    module = t.AutoModelForCausalLM.from_config(
        t.PhiConfig(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                    num_attention_heads=2, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    )  # fmt: skip
    with pytest.raises(InputError, match=r"cannot be told apart.*place of") as caught:
        permuted(module, "neurons")
    assert "Llama" in caught.value.hint
    with pytest.raises(InputError, match="'gpt2' cannot be rotated"):
        rotated(gpt2(1))
    # Norms after the blocks do not commute with a rotation.
    with pytest.raises(InputError, match="'gemma2' cannot be rotated"):
        rotated(llama(1, kind="gemma2"))
    with pytest.raises(InputError, match="unknown parts 'ears'"):
        permuted(llama(1), "ears")


def test_norms_after_a_block_may_be_permuted():
    module = llama(6, kind="gemma2")
    torch.testing.assert_close(
        logits(permuted(module, "all", seed=1)), logits(module), atol=1e-4, rtol=0
    )
