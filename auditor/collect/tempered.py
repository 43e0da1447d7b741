"""Log-probabilities of given tokens at several temperatures, from one chunk of logits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.models.base import Head
from auditor.panel import TEMPERATURES
from auditor.types import Array

if TYPE_CHECKING:
    import torch

_CHUNK = 1 << 18
"""Logits held at a time, 1 MiB in float32: they are read once a temperature, so they must stay
in the cache."""
_FEWEST_ROWS = 64
"""Below this the weights of the head, read once a chunk, would cost more than the logits: 32 MiB
of logits at a vocabulary of 131072."""


def tempered_logprobs(
    head: Head,
    states: "torch.Tensor",
    targets: Array,
    temperatures: Sequence[float] = TEMPERATURES,
) -> Array:
    """Return (T, G) float64 natural logarithms of softmax(logits / temperature) at the targets.

    Float32 logits (a bfloat16 model rounds more), their sums in float64. -inf for a token that
    the model excludes; each is <= 0.

    Args:
        head: the unembedding, (V, D).
        states: (T, D) final hidden states.
        targets: (T,) token ids.
        temperatures: (G).
    """
    import torch

    from auditor.models.unembedding import logits_of

    found = np.zeros((len(targets), len(temperatures)))
    rows = max(_FEWEST_ROWS, _CHUNK // head.vocabulary)
    device, dtype = head.weight.device, head.weight.dtype
    with torch.inference_mode():
        for start in range(0, len(targets), rows):
            part = states[start : start + rows].to(device=device, dtype=dtype)
            logits = logits_of(head, part).float()  # (rows, V)
            wanted = torch.from_numpy(targets[start : start + rows]).to(device, torch.int64)
            values = _at_temperatures(logits, wanted, temperatures)
            found[start : start + rows] = values.cpu().numpy()
    return np.minimum(found, 0.0)  # one ulp above zero is rounding


def _at_temperatures(
    logits: "torch.Tensor", targets: "torch.Tensor", temperatures: Sequence[float]
) -> "torch.Tensor":
    """Return (T, G) float64; overwrites the (T, V) logits."""
    import torch

    # From the largest logit down: every exponential is in [0, 1], and their sum in [1, V].
    below = logits.sub_(logits.max(dim=1, keepdim=True).values)
    chosen = below.gather(1, targets[:, None])[:, 0].double()
    scaled = torch.empty_like(below)
    columns = []
    for temperature in temperatures:
        torch.mul(below, 1 / temperature, out=scaled).exp_()
        columns.append(chosen / temperature - scaled.sum(dim=1).double().log())
    return torch.stack(columns, dim=1)
