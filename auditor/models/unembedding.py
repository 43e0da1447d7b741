"""The head of a transformers module as plain tensors, checked against the module itself."""

from typing import TYPE_CHECKING, Any

from auditor.errors import AccessError
from auditor.models.base import Head
from auditor.models.forward import last_states
from auditor.models.offloaded import input_device, real_weight

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def head_of(module: "PreTrainedModel", vocabulary: int) -> Head:
    """Return the unembedding of `module`, cut to `vocabulary` rows.

    Softcap from ``final_logit_softcapping``; scale from ``logit_scale`` (a factor) or
    ``logits_scaling`` (a divisor in Granite, a factor in others: the one that reproduces the
    module's logits is taken).

    Raises:
        AccessError: no form reproduces the module's own logits: a head of another kind.
    """
    owner: Any = module
    layer = owner.get_output_embeddings()
    if layer is None or getattr(layer, "weight", None) is None:
        raise _unknown(module)
    weight = real_weight(layer)[:vocabulary]
    bias = None if getattr(layer, "bias", None) is None else real_weight(layer, "bias")
    softcap = getattr(module.config.get_text_config(), "final_logit_softcapping", None)
    for scale in _scales(module):
        head = Head(
            weight=weight,
            bias=None if bias is None else bias[:vocabulary],
            softcap=None if softcap is None else float(softcap),
            scale=scale,
        )
        if _reproduces(head, module):
            return head
    raise _unknown(module)


def logits_of(head: Head, hidden: "torch.Tensor") -> "torch.Tensor":
    """Return (T, V) logits of (T, D) hidden states, in the type of the head."""
    import torch

    logits = torch.nn.functional.linear(hidden, head.weight, head.bias)
    if head.scale != 1:
        logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits


def _scales(module: "PreTrainedModel") -> list[float]:
    config = module.config.get_text_config()
    factor = getattr(config, "logit_scale", None)
    if factor is not None:
        return [float(factor)]
    divisor = getattr(config, "logits_scaling", None)
    if divisor is not None:
        return [1 / float(divisor), float(divisor)]
    return [1.0]


def _reproduces(head: Head, module: "PreTrainedModel") -> bool:
    import torch

    ids = torch.arange(min(4, head.vocabulary), device=input_device(module))[None, :]  # (1, 4)
    with torch.inference_mode():
        hidden = last_states(module, {"input_ids": ids})[0]
        expected = module(input_ids=ids, use_cache=False).logits[0, :, : head.vocabulary].float()
        found = logits_of(head, hidden.to(head.weight.device)).float().to(expected.device)
    # One rounding of the storage type may differ, relative to the largest logit.
    tolerance = 8 * torch.finfo(head.weight.dtype).eps * float(expected.abs().max().clamp(min=1))
    return bool((found - expected).abs().max() <= tolerance)


def _unknown(module: "PreTrainedModel") -> AccessError:
    return AccessError(
        f"the head of {type(module).__name__} is not a plain unembedding",
        hint="audit it at text access, through its recorded outputs (records:FILE.jsonl)",
    )
