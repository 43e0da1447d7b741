"""The implementations of our own kernels, by the names that the package gives them."""

from typing import get_args

NOT_MEASURED = frozenset({"auto", "reference"})
""""auto" is one of the others; "reference" is the truth that they are compared with."""
COMPILING = frozenset({"turbo"})
"""Their first run compiles for many seconds."""


def agreement_implementations() -> list[str]:
    """Return the implementations of `agreement` and `linear_agreement` to measure."""
    from auditor.kernels.pairwise import Implementation

    return [name for name in get_args(Implementation) if name not in NOT_MEASURED]


def loss_implementations() -> list[str]:
    """Return the implementations of `distillation_loss` to measure."""
    from auditor.kernels.fused import Implementation

    return [name for name in get_args(Implementation) if name not in NOT_MEASURED]
