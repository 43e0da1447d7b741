"""What the published statistics read of one model folder: weights, states and predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.controls.comparison.published import ROLES
from auditor.errors import UndefinedError
from auditor.models.base import Head
from auditor.models.forward import check_fit, padded
from auditor.models.vocabulary import Vocabulary
from auditor.types import Array

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PREDICTED = 64
"""Texts at whose every position the two predictions are compared: 2,000 to 7,000 of them."""
_BATCH = 50
_DEPTH = 18 / 32
"""REEF reads layer 18 of 32 (LeaFBench's default); the same relative depth elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """One model on N texts. What it does not offer is None, with the reason in `missing`."""

    vocabulary: Vocabulary
    token_ids: tuple[tuple[int, ...], ...]
    """Sequences of the first texts, at whose positions the predictions are compared."""
    states: "torch.Tensor"
    """(T, D) final hidden states at every position of these, one after another."""
    head: Head
    layer_states: Array
    """(N, D) states of the last token at the relative depth that REEF reads."""
    embeddings: Array
    """(V, D) input embeddings."""
    stds: Array | None
    """(4, L) standard deviations of W_Q, W_K, W_V, W_O."""
    missing: str | None = None


def observe(folder: Path, texts: Sequence[str]) -> Observed:
    """Return what the statistics read of the model in `folder`; it is closed again.

    Raises:
        SubjectError: it cannot be used, or a text does not fit its positions.
    """
    import torch

    from auditor.models import open_model

    model: Any = open_model(str(folder), device="cpu")
    try:
        ids = tuple(tuple(model.encode(text).token_ids) for text in texts)
        stds, why = _profiles(model.module)
        head = model.head()
        return Observed(
            vocabulary=model.vocabulary,
            token_ids=ids[:PREDICTED],
            states=torch.cat(list(model.hidden(ids[:PREDICTED]))),
            # Clones: the module is freed, these stay.
            head=Head(
                weight=head.weight.clone(),
                bias=None if head.bias is None else head.bias.clone(),
                softcap=head.softcap,
                scale=head.scale,
            ),
            layer_states=_layer_states(model.module, ids),
            embeddings=_wide(model.module.get_input_embeddings().weight),
            stds=stds,
            missing=why,
        )
    finally:
        model.close()


def shared_embeddings(a: Observed, b: Observed) -> tuple[Array, Array]:
    """Return (K, Da) and (K, Db): the embeddings of the tokens that stand for the same bytes."""
    ours, theirs = _pieces(a), _pieces(b)
    shared = sorted(ours.keys() & theirs.keys())
    return (
        a.embeddings[[ours[piece] for piece in shared]],
        b.embeddings[[theirs[piece] for piece in shared]],
    )


def mean_js(a: Observed, b: Observed) -> float:
    """Return the mean Jensen-Shannon divergence of the next-token distributions, in nats.

    The statistic of the measure ``logit-js``, over all positions of the texts.

    Raises:
        UndefinedError: the two do not read the texts as the same tokens of one vocabulary.
    """
    from auditor.kernels import linear_agreement
    from auditor.models.vocabulary import relation_of

    rows = (a.head.vocabulary, b.head.vocabulary)
    relation = relation_of(a.vocabulary, b.vocabulary, rows=rows)
    if relation != "identical" or a.token_ids != b.token_ids:
        raise UndefinedError(f"the vocabularies are not the same ({relation}): no divergence")
    found = linear_agreement(
        a.states,
        a.head.weight,
        b.states,
        b.head.weight,
        bias=(a.head.bias, b.head.bias),
        softcap=(a.head.softcap, b.head.softcap),
        scale=(a.head.scale, b.head.scale),
    )
    if found.js is None:
        raise UndefinedError("the kernel gave no divergence")
    return float(found.js.double().mean())


def _pieces(model: Observed) -> dict[bytes, int]:
    """Return {bytes of a token: its lowest id}, special tokens left out."""
    found: dict[bytes, int] = {}
    for token, piece in enumerate(model.vocabulary.pieces[: len(model.embeddings)]):
        if piece is not None and token not in model.vocabulary.special:
            found.setdefault(piece, token)
    return found


def _layer_states(module: "PreTrainedModel", sequences: Sequence[Sequence[int]]) -> Array:
    """Return (N, D). Padding stands at the end, where no token of a causal model looks."""
    import torch

    layer = round(_DEPTH * int(module.config.get_text_config().num_hidden_layers))
    check_fit(module, sequences)
    rows = []
    with torch.inference_mode():
        for start in range(0, len(sequences), _BATCH):
            batch = sequences[start : start + _BATCH]
            ids, mask = padded(batch, max(map(len, batch)), left=False)
            found = module.base_model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states[layer]
            last = torch.tensor([len(sequence) - 1 for sequence in batch])
            rows.append(_wide(found[torch.arange(len(batch)), last]))
    return np.concatenate(rows)


def _profiles(module: "PreTrainedModel") -> tuple[Array | None, str | None]:
    """Return (4, L) standard deviations, or why there are none."""
    layers = [found for part in module.modules() if (found := _attention(part)) is not None]
    depth = int(module.config.get_text_config().num_hidden_layers)
    if len(layers) != depth:
        return None, f"{type(module).__name__} has attention projections of no known form"
    values = [[float(layer[role].double().std(correction=0)) for layer in layers] for role in ROLES]
    return np.array(values), None


def _attention(part: "torch.nn.Module") -> "dict[str, torch.Tensor] | None":
    """Return the four projections of an attention block; None for any other module."""
    children: dict[str, Any] = dict(part.named_children())
    if {"q_proj", "k_proj", "v_proj", "o_proj"} <= children.keys():
        return {role: children[f"{role[0]}_proj"].weight.detach() for role in ROLES}
    if {"c_attn", "c_proj"} <= children.keys():
        # GPT-2 stores (inputs, outputs), queries, keys and values one after another.
        parts = children["c_attn"].weight.detach().chunk(3, dim=1)
        return dict(zip(ROLES, [*parts, children["c_proj"].weight.detach()], strict=True))
    return None


def _wide(values: "torch.Tensor") -> Array:
    wide: Array = values.detach().double().cpu().numpy()
    return wide
