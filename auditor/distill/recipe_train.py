"""The part `train` of a recipe."""

from typing import Annotated, Literal

from pydantic import Field

from auditor.distill.recipe_part import Count, Part


class LoraChoice(Part):
    """Train low-rank adapters in place of the weights; they are merged into them at the end."""

    rank: Count = 8
    alpha: Count | None = None
    """The adapter's product is multiplied by alpha / rank; 1 if absent."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    targets: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)] = "all-linear"
    """Names of layers; all linear ones but the head if absent."""


class Train(Part):
    """The optimisation, in optimizer steps and tokens."""

    steps: Count
    batch_tokens: Count = 2048
    """Tokens of one optimizer step, over all ranks and accumulated parts."""
    accumulate: Count = 1
    """Parts a step is cut into, one after another, to save memory. Changes no result."""
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: Annotated[float, Field(ge=0.0)] = 0.05
    """Steps of linear warm-up; below 1 a share of all steps."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip: Annotated[float, Field(ge=0.0)] = 1.0
    """Largest norm of the gradient; 0 for no limit."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the student's forward passes; its weights and optimizer are always fp32."""
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    save_every: Count | None = None
    """Steps between checkpoints; a tenth of all steps, at least 10, if absent."""
    eval_every: Count | None = None
    """Steps between evaluations on the held-out part; only start and end if absent."""
    lora: LoraChoice | None = None
    """Needs the extra peft."""
    seed: int = Field(default=0, ge=0, lt=2**31)
