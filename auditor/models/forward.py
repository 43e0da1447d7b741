"""One forward pass over padded sequences, up to the states that the head reads."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.errors import AccessError, SubjectError
from auditor.models.offloaded import input_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def final_states(
    module: "PreTrainedModel", sequences: Sequence[Sequence[int]], *, padding_side: str = "right"
) -> list["torch.Tensor"]:
    """Return (T, D) final hidden states of each sequence, after the last norm.

    Padding changes results by no more than rounding, on either side. An empty sequence has
    (0, D) states.

    Raises:
        SubjectError: a sequence does not fit the model, or its type overflows.
    """
    import torch

    check_fit(module, sequences)
    longest, device = max(map(len, sequences), default=0), input_device(module)
    if longest == 0:
        return [
            torch.zeros(0, _embeddings(module).shape[1], dtype=module.dtype, device=device)
            for _ in sequences
        ]
    ids, mask = padded(sequences, longest, left=padding_side == "left")
    inputs = {"input_ids": ids, "attention_mask": mask, **_positions(module, mask, padding_side)}
    with torch.inference_mode():
        states = last_states(module, {name: tensor.to(device) for name, tensor in inputs.items()})
    spans = [_span(len(sequence), longest, padding_side) for sequence in sequences]
    found = [states[row, first:last].clone() for row, (first, last) in enumerate(spans)]
    for span in found:
        refuse_overflow(span)
    return found


def refuse_overflow(values: "torch.Tensor") -> None:
    """Refuse NaN, which a model gives where its storage type is too narrow.

    Raises:
        SubjectError: there is one.
    """
    if bool(values.isnan().any()):
        raise SubjectError(
            "the model computes NaN, so its weights or its type overflow",
            hint="give --dtype float32 (or bfloat16); if it stays, the weights are damaged",
        )


def last_states(module: "PreTrainedModel", inputs: dict[str, "torch.Tensor"]) -> "torch.Tensor":
    """Return (B, T, D) states of the body of the model, after its last norm.

    Raises:
        AccessError: the architecture does not show them.
    """
    states = getattr(module.base_model(**inputs, use_cache=False), "last_hidden_state", None)
    if states is None:
        raise AccessError(
            f"{type(module).__name__} does not show its final hidden states",
            hint="audit it at text access, through its recorded outputs (records:FILE.jsonl)",
        )
    return states


def padded(
    sequences: Sequence[Sequence[int]], longest: int, *, left: bool
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Return (B, T) ids, 0 where padded, and the (B, T) mask of the real ones."""
    import torch

    ids = torch.zeros(len(sequences), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        first, last = _span(len(sequence), longest, "left" if left else "right")
        ids[row, first:last] = torch.tensor(sequence, dtype=torch.long)
        mask[row, first:last] = 1
    return ids, mask


def check_fit(module: "PreTrainedModel", sequences: Sequence[Sequence[int]], new: int = 0) -> None:
    """Refuse sequences that the model cannot take, with `new` tokens to follow.

    Raises:
        SubjectError: too long for a table of learned positions, or an id without an embedding.
    """
    rows = embedding_rows(module)
    largest = max((max(sequence, default=0) for sequence in sequences), default=0)
    if largest >= rows:
        raise SubjectError(
            f"token id {largest} is beyond the {rows} embeddings of the model",
            hint="use the tokenizer that belongs to the model",
        )
    limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    longest = max((len(sequence) for sequence in sequences), default=0) + new
    # Looking for a table of positions costs as much as a small pass.
    if limit is not None and longest > limit and learned_positions(module) is not None:
        raise SubjectError(
            f"{longest} tokens do not fit the {limit} positions that the model learned",
            hint="use shorter probes or fewer new tokens",
        )


def embedding_rows(module: "PreTrainedModel") -> int:
    """Return the number of token ids that the model has an embedding for."""
    return int(_embeddings(module).shape[0])


def learned_positions(module: "PreTrainedModel") -> int | None:
    """Return how many positions a table of the model holds; None for computed (rotary) ones."""
    import torch

    limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    if limit is None:
        return None
    words = module.get_input_embeddings()
    # OPT and its kin keep two more rows than positions.
    tables = (m for m in module.modules() if isinstance(m, torch.nn.Embedding) and m is not words)
    return limit if any(0 <= m.num_embeddings - limit <= 2 for m in tables) else None


def _positions(
    module: "PreTrainedModel", mask: "torch.Tensor", side: str
) -> dict[str, "torch.Tensor"]:
    # Right-padded tokens sit at the positions a model counts by itself; left-padded ones do not.
    # Models without positions (ALiBi, recurrent) take no such argument.
    accepted = inspect.signature(module.base_model.forward).parameters
    if side != "left" or "position_ids" not in accepted:
        return {}
    return {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}


def _embeddings(module: "PreTrainedModel") -> "torch.Tensor":
    table: Any = module.get_input_embeddings()
    weight: torch.Tensor = table.weight  # (rows, D)
    return weight


def _span(length: int, longest: int, side: str) -> tuple[int, int]:
    return (longest - length, longest) if side == "left" else (0, length)
