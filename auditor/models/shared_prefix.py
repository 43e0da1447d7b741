"""States of many texts that begin alike: what they share is read once.

The cache that generation keeps is filled with the shared beginning, and repeated for every text.
"""

import copy
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from auditor.models.forward import check_fit, last_states, padded, refuse_overflow
from auditor.models.offloaded import input_device

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def ending_states(
    module: "PreTrainedModel", prefix: Sequence[int], batches: Sequence[Sequence[Sequence[int]]]
) -> "list[list[torch.Tensor]]":
    """Return (T, D) final hidden states of each ending, read after `prefix`, by batch.

    Equal to what the whole texts give, rounding aside. Memory holds the cache of one batch.

    Args:
        module: one for which `shares_prefixes` holds.
        prefix: at least one token id.
        batches: endings of at least one token id each; a batch is one forward pass.

    Raises:
        SubjectError: a text does not fit the model, or its type overflows.
    """
    import torch

    longest = max((len(ending) for batch in batches for ending in batch), default=0)
    check_fit(module, [prefix], longest)
    for batch in batches:
        check_fit(module, batch)
    found = []
    with torch.inference_mode():
        cache = _cache(module, prefix)
        for number, batch in enumerate(batches, start=1):
            # A pass extends the cache that it is given.
            own = cache if number == len(batches) else copy.deepcopy(cache)
            found.append(_batch_states(module, own, batch))
    return found


def shares_prefixes(module: "PreTrainedModel", vocabulary: int) -> bool:
    """Whether a text in two parts gives the states that it gives whole, on a trial of 6 tokens.

    False for architectures whose cache cannot be repeated, or is none.
    """
    import torch

    ids = [index % vocabulary for index in range(6)]
    with torch.inference_mode():
        whole = last_states(module, {"input_ids": torch.tensor([ids], device=input_device(module))})
        try:
            # Of two lengths, so that padding is tried as well.
            parts = _batch_states(module, _cache(module, ids[:3]), [ids[3:], ids[3:5]])
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False
    expected = whole[0, 3:].float()
    tolerance = 16 * torch.finfo(whole.dtype).eps * float(expected.abs().max().clamp(min=1))
    apart = [(part.float() - expected[: len(part)]).abs().max() for part in parts]
    return all(float(value) <= tolerance for value in apart)


def _cache(module: "PreTrainedModel", prefix: Sequence[int]) -> Any:
    import torch

    ids = torch.tensor([list(prefix)], device=input_device(module))
    return getattr(module.base_model(input_ids=ids, use_cache=True), cache_name(module))


def cache_name(module: "PreTrainedModel") -> str:
    """Return what the body calls its key-value cache, as argument and as field of the output."""
    # transformers 5.24 renamed it; some architectures have the old name alone.
    known = inspect.signature(module.base_model.forward).parameters
    return "cache" if "cache" in known else "past_key_values"


def _batch_states(
    module: "PreTrainedModel", cache: Any, endings: Sequence[Sequence[int]]
) -> "list[torch.Tensor]":
    cache.batch_repeat_interleave(len(endings))
    # Padding comes last, where nothing attends to it, so no mask is needed.
    ids, _ = padded(endings, max(map(len, endings)), left=False)
    inputs: dict[str, Any] = {"input_ids": ids.to(input_device(module)), cache_name(module): cache}
    states = module.base_model(**inputs, use_cache=True).last_hidden_state
    found = [states[row, : len(ending)].clone() for row, ending in enumerate(endings)]
    for span in found:
        refuse_overflow(span)
    return found
