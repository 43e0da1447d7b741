"""The part `method` of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from auditor.distill.recipe_part import Part, Share

KINDS = ("baseline", "sequence", "logits")
Divergence = Literal["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]


class Method(Part):
    """The loss. Formulas: distillation losses of `auditor.kernels`."""

    kind: str
    divergence: Divergence = "forward-kl"
    beta: Share | None = None
    """Mixing weight of jsd (0.5 if absent), skew-kl and skew-rkl (0.1 if absent)."""
    normalise: bool = False
    """Divide jsd by beta (1 - beta), so that it tends to the two KLs."""
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    """Divides both models' logits before the divergence."""
    t_squared: bool = False
    """Multiply the divergence by temperature^2, which keeps the size of its gradient."""
    alpha: Share = 0.0
    """Weight of the cross-entropy on the tokens themselves; the divergence weighs 1 - alpha."""

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in KINDS:
            raise ValueError(f"{value!r} is not available; choose one of: {', '.join(KINDS)}")
        return value
