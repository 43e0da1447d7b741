"""Pairs of logit tables for the kernel tests, and how close two agreements must be."""

from collections.abc import Callable
from dataclasses import fields

import torch

from auditor.kernels import Agreement

INF = float("inf")
COUNTS = ("rank_a", "rank_b", "ties_a", "ties_b", "argmax_a", "argmax_b", "rank_argmax_a_in_b")
# (relative, absolute) float32 tolerance of each output, for every input type
TOLERANCE = {
    "kl_ab": (1e-5, 1e-13),
    "kl_ba": (1e-5, 1e-13),
    "js": (1e-5, 1e-13),
    "hellinger2": (1e-5, 1e-13),
    "log_bc": (1e-5, 1e-13),
    "tv": (2e-6, 2e-7),  # first order in the rounding of the normalisers
    "entropy_a": (1e-6, 1e-6),
    "entropy_b": (1e-6, 1e-6),
    "cosine": (1e-6, 1e-6),
    "pearson": (1e-6, 1e-6),
    "logp_a": (1e-6, 1e-6),
    "logp_b": (1e-6, 1e-6),
    "lse_a": (1e-6, 1e-6),
    "lse_b": (1e-6, 1e-6),
    "topk_overlap": (1e-6, 0.0),
}


def assert_same_agreement(found: Agreement, exact: Agreement, loosen: float = 1.0) -> None:
    for field in fields(Agreement):
        ours, truth = getattr(found, field.name), getattr(exact, field.name)
        if field.name == "implementation":
            continue
        assert (ours is None) == (truth is None), field.name
        if truth is None:
            continue
        if field.name in COUNTS:
            assert torch.equal(ours, truth), field.name
            continue
        relative, absolute = TOLERANCE[field.name]
        torch.testing.assert_close(
            ours.double(),
            truth,
            rtol=relative * loosen,
            atol=absolute * loosen,
            equal_nan=True,
            msg=lambda text, name=field.name: f"{name}: {text}",
        )


def one_hot(x: torch.Tensor, column: int) -> torch.Tensor:
    table = torch.full_like(x, -50.0)
    table[:, column] = 50.0
    return table


def without(x: torch.Tensor, step: int) -> torch.Tensor:
    x = 3 * x
    x[:, ::step] = -INF
    return x


SHAPES: dict[str, Callable[..., tuple[torch.Tensor, torch.Tensor]]] = {
    "usual": lambda x, y: (3 * x, 3 * x + y),
    "flat": lambda x, y: (0.01 * x, 0.01 * y),
    "peaked": lambda x, y: (12 * x, 10 * y),
    "one-hot": lambda x, y: (one_hot(x, -1), one_hot(y, 0)),
    "offset": lambda x, y: (3 * x - 40, 3 * x + y + 7),
    "large": lambda x, y: (1e4 * x, 1e4 * y),
    "ties": lambda x, y: ((6 * x).round() / 2, (6 * x + 2 * y).round() / 2),
    "two-sided": lambda x, y: (without(x, 3), without(y, 3)),
    "one-sided": lambda x, y: (without(x, 3), without(y, 5)),
}
PATTERNS = ["usual", "flat", "peaked", "one-hot", "offset", "large", "ties"]
IMPOSSIBLE = ["two-sided", "one-sided"]


def logit_pair(
    pattern: str, positions: int, vocabulary: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two logit tables with mass in the last row and column."""
    draw = torch.Generator().manual_seed(seed)
    noise = [torch.randn(positions, vocabulary, generator=draw) for _ in range(2)]
    a, b = SHAPES[pattern](noise[0], noise[1])
    if vocabulary > 1:
        a[-1, -1], b[-1, -1] = a[-1].amax() + 1, b[-1].amax() + 2
    return a, b


def tokens_for(a: torch.Tensor) -> torch.Tensor:
    positions, vocabulary = a.shape
    return (torch.arange(positions) * 7 + vocabulary - 1) % vocabulary
