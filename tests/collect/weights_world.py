"""Tiny transformers models, their replicas, and the neuron rows of a pair, without a case."""

import copy
from pathlib import Path

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from auditor.case import Case
from auditor.collect.activations import NeuronActivations
from auditor.collect.neurons import layer_rows, layer_sides
from auditor.collect.sequences import ForcedText
from auditor.models.base import Head
from auditor.models.projections import mlps_of
from auditor.outputs import OutputSet, Pair
from auditor.types import Access, ModelRef, Probe

VOCABULARY, WIDTH, NEURONS, LAYERS, LENGTH = 96, 32, 48, 2, 14


def llama(seed: int, *, layers: int = LAYERS, neurons: int = NEURONS) -> LlamaForCausalLM:
    """Return a random Llama."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=neurons,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def gpt2(seed: int) -> GPT2LMHeadModel:
    """Return a random GPT-2."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=WIDTH,
        n_inner=NEURONS,
        n_layer=LAYERS,
        n_head=2,
        n_positions=64,
        bos_token_id=None,
        eos_token_id=None,
        initializer_range=0.2,
    )
    return GPT2LMHeadModel(config).eval()


def texts() -> list[ForcedText]:
    """Return 16 random sequences of equal length, all but the first position scored."""
    ids = np.random.RandomState(3).randint(0, VOCABULARY, size=(16, LENGTH)).astype(np.int32)
    return [ForcedText(probe, row, 1) for probe, row in enumerate(ids)]


def sides_of(module, root: Path) -> list:
    """Return the sides of each layer, caught in one pass over `texts`."""
    batch = texts()
    tap = NeuronActivations(Case(root), type(module).__name__, batch, mlps_of(module))
    ids = torch.tensor(np.stack([text.token_ids for text in batch]), dtype=torch.long)
    with tap.writer, tap.watching(batch), torch.inference_mode():
        module(input_ids=ids)
    stored = tap.rows(None, 0)
    head = Head(weight=module.get_output_embeddings().weight.detach())
    return list(layer_sides(module, head, stored))


def pair_of_sides(ours: list, theirs: list, *, gated: bool = True) -> Pair:
    """Return a pair that holds the neuron rows of two models."""
    rows = [
        layer_rows(layer, a, b, gated=gated)
        for layer, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]
    side = OutputSet(
        subject="subject",
        model=ModelRef(spec="tiny:subject", access=Access.WEIGHTS),
        probes=(Probe(id="probe", category="open", text="text"),),
    )
    return Pair(reference=side, suspect=side, neurons=np.concatenate(rows))


@torch.no_grad()
def permuted(module, seed: int = 5):
    """Return a copy whose neurons are in a random order in every layer."""
    found = copy.deepcopy(module)
    random = np.random.RandomState(seed)
    for mlp in mlps_of(found):
        order = torch.from_numpy(random.permutation(mlp.neurons))
        for part in (mlp.gate, mlp.incoming):
            if part is not None:
                part.weight.copy_(part.weight[order])
        if getattr(mlp.incoming.layer, "bias", None) is not None:
            mlp.incoming.layer.bias.copy_(mlp.incoming.layer.bias[order])
        mlp.written.copy_(mlp.written[order])
    return found


@torch.no_grad()
def negated(module):
    """Return a copy of a Llama that computes the same: all up and down projections negated."""
    found = copy.deepcopy(module)
    for layer in found.model.layers:
        layer.mlp.up_proj.weight.neg_()
        layer.mlp.down_proj.weight.neg_()
    return found


@torch.no_grad()
def rotated(module, seed: int = 7):
    """Return a copy of a Llama that computes the same, its residual stream rotated."""
    found = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64))
    turn = turn.float()
    for layer in found.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        readers = {
            layer.input_layernorm: (attention.q_proj, attention.k_proj, attention.v_proj),
            layer.post_attention_layernorm: (mlp.gate_proj, mlp.up_proj),
        }
        for norm, matrices in readers.items():
            for matrix in matrices:
                matrix.weight.copy_((matrix.weight * norm.weight) @ turn)
            norm.weight.fill_(1.0)
        for writer in (attention.o_proj, mlp.down_proj):
            writer.weight.copy_(turn.T @ writer.weight)
    found.model.embed_tokens.weight.copy_(found.model.embed_tokens.weight @ turn)
    found.lm_head.weight.copy_((found.lm_head.weight * found.model.norm.weight) @ turn)
    found.model.norm.weight.fill_(1.0)
    return found


@torch.no_grad()
def gained(module, seed: int = 9):
    """Return the module with gains of its norms that differ from 1, as training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in module.named_parameters():
        if "norm" in name and name.endswith("weight"):
            weight.copy_(0.5 + torch.rand(weight.shape, generator=generator))
    return module


def logits(module) -> torch.Tensor:
    """Return the logits on `texts`."""
    ids = torch.tensor(np.stack([text.token_ids for text in texts()]), dtype=torch.long)
    with torch.inference_mode():
        return module(input_ids=ids).logits
