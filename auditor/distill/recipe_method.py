"""The part `method` of a recipe."""

from typing import Annotated, Literal

from pydantic import ByteSize, Field, field_validator

from auditor.distill.recipe_part import Part, Share

KINDS = ("baseline", "sequence", "logits")
Divergence = Literal["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]


class CacheChoice(Part):
    """Capture the teacher once, before training; it is not loaded while the student trains."""

    scheme: Literal["dense", "topk", "pps"]
    """``dense``: the teacher's final hidden states, from which its head gives everything; ``topk``:
    the k likeliest tokens and the mass of the rest; ``pps``: an unbiased sample of k tokens."""
    k: Annotated[int, Field(ge=1, le=4096)] = 32
    """Entries of a position, for topk and pps."""
    max_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(8_000_000_000)
    """Refuse to grow beyond this; a number of bytes, or one with a unit: 8GB."""
    path: str | None = None
    """Folder of the cache, to be shared by runs on the same data; RUN/cache if absent."""
    dtype: Literal["float16", "float32"] = "float16"
    """Of dense hidden states."""


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
    cache: CacheChoice | None = None
    """Train from captured distributions; absent: the teacher is asked at every step."""
    alpha: Share = 0.0
    """Weight of the cross-entropy on the tokens themselves; the divergence weighs 1 - alpha."""

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in KINDS:
            raise ValueError(f"{value!r} is not available; choose one of: {', '.join(KINDS)}")
        return value
