"""The same weights run otherwise: number type, attention, batches, cache, system message."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.enrolment.asking import SYSTEMS
from auditor.models.shared_prefix import cache_name
from auditor.models.transformers_model import TransformersModel

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
ATTENTION = ("eager", "sdpa")
BATCHES = (1, 3, 7, 16)
"""Sequences in a batch."""
_PADDED = (("left", False), ("left", True), ("right", False))
"""On which side the shorter ones are padded, and whether the last token of the prompt is read after
the others, from the key-value cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How a deployment computes."""

    dtype: str
    attention: str
    batch: int
    side: str
    cached: bool
    system: str | None = None

    def __str__(self) -> str:
        cache = "cache" if self.cached else "no cache"
        front = "system message" if self.system else "no system message"
        return (
            f"{self.dtype}, {self.attention}, batches of {self.batch} padded {self.side}, "
            f"{cache}, {front}"
        )


def honest(dtype: str, attention: str, batches: Sequence[int]) -> Iterator[Running]:
    """Yield the deployments of a number type and an attention."""
    for batch, (side, cached), system in itertools.product(batches, _PADDED, SYSTEMS):
        if batch > 1 or side == "left":
            yield Running(
                dtype=dtype,
                attention=attention,
                batch=batch,
                side=side,
                cached=cached,
                system=system,
            )


def first_logits(
    model: TransformersModel, prompts: Sequence[Sequence[int]], how: Running
) -> "list[torch.Tensor]":
    """Return (V,) logits of the first token of each reply, as the module itself computes them."""
    found: list[torch.Tensor] = []
    for start in range(0, len(prompts), how.batch):
        found += list(_batch_logits(model, prompts[start : start + how.batch], how))
    return found


def _batch_logits(
    model: TransformersModel, prompts: Sequence[Sequence[int]], how: Running
) -> "torch.Tensor":
    """Return (B, V) logits after the last token of each prompt."""
    import torch

    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        span = slice(longest - len(prompt), longest) if how.side == "left" else slice(len(prompt))
        ids[row, span] = torch.tensor(prompt)
        mask[row, span] = 1
    places = (mask.cumsum(dim=1) - 1).clamp(min=0)
    module: Any = model.module
    split = longest - 1 if how.cached and longest > 1 else 0
    with torch.inference_mode():
        past: dict[str, Any] = {}
        keyword = cache_name(module)
        if split:
            found = module(
                input_ids=ids[:, :split],
                attention_mask=mask[:, :split],
                position_ids=places[:, :split],
                use_cache=True,
            )
            past = {keyword: getattr(found, keyword)}
        logits = module(
            input_ids=ids[:, split:],
            attention_mask=mask,
            position_ids=places[:, split:],
            **past,
            use_cache=how.cached,
        ).logits
    last = mask.sum(dim=1) - 1 - split if how.side == "right" else torch.full((len(ids),), -1)
    kept: torch.Tensor = logits[torch.arange(len(ids)), last, : model.vocabulary.size]
    return kept
