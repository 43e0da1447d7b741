"""Shapes, weights and oracles that the tests of ensembles share; all axes differ in size."""

import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM

from auditor.controls.ensemble_shape import Shape, config_of
from auditor.controls.ensemble_weights import init_weights, member_weights

V, D, T, B, E = 37, 12, 9, 4, 3
SIZES = {"vocabulary": V, "hidden": D, "layers": 2, "heads": 3, "intermediate": 20, "positions": 11}
SHAPES = {
    "llama": Shape(architecture="llama", **SIZES),
    "llama-tied": Shape(architecture="llama", tied=True, **SIZES),
    "gpt2": Shape(architecture="gpt2", tied=True, **SIZES),
}


def rough_weights(shape, members=E, seed=0):
    """Weights far from their start, so that norms, biases and attention all matter."""
    weights = init_weights(shape, range(members))
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in weights.items()
    }


def random_tokens(members=E, length=T + 1, seed=1, sequences=B):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(V, (members, sequences, length), generator=generator)


def module_of(shape, weights, member):
    """The transformers model of one member."""
    kind = LlamaForCausalLM if shape.architecture == "llama" else GPT2LMHeadModel
    module = kind(config_of(shape))
    module.load_state_dict(member_weights(shape, weights, member))
    return module


def logits_of(module, tokens):
    return module(tokens, use_cache=False).logits
