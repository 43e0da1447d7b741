"""Parts of a plan that say how an audit is carried out and for whom; `auditor.plan_file` has it."""

from typing import Annotated, Literal

from pydantic import Field

from auditor.distill.recipe_part import Count, Part

Text = Annotated[str, Field(min_length=1)]


class Party(Part):
    """Somebody whom the matter is about."""

    name: Text
    role: Text
    """For example ``claimant``, ``provider of the suspect``."""


class Matter(Part):
    """Who asks whom for what: shown in the report as stated, and used for nothing else."""

    number: Text | None = None
    """File number."""
    parties: list[Party] = Field(default_factory=list)
    examiner: Text | None = None
    instructed_by: Text | None = None
    instructions: Text | None = None
    """As received."""


class Sampling(Part):
    """How replies are drawn."""

    repeats: Count = 1
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    max_new_tokens: Count = 48
    system: Text | None = None
    """Message before every chat that brings none of its own."""


class Compute(Part):
    """What the models run on; changes rounding, and on a GPU the drawn replies."""

    device: Text | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    batch_tokens: Count = 2048


class Watch(Part):
    """The model of which the case is to hold a baseline; it takes minutes of a larger one."""

    role: Literal["reference", "suspect"]
    candidates: Count = 400
    """Questions to choose from."""


class Outputs(Part):
    """Where the case goes."""

    folder: Text | None = None
    """Relative to the plan; --out replaces it."""
