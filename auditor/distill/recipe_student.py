"""The part `student` of a recipe."""

from typing import Literal, Self

from pydantic import Field, model_validator

from auditor.distill.recipe_part import Count, Part


class Init(Part):
    """A student with random weights."""

    architecture: Literal["llama", "gpt2", "bert"]
    """``bert`` is for method embedding alone, and the only one it has."""
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count | None = None
    """Key-value heads of a llama student; as many as `heads` if absent."""
    ffn: Count | None = None
    """Width of the feed-forward block; if absent 4 hidden, or 8/3 hidden, to 16 (llama)."""
    tokenizer: str = "teacher"
    """``bytes``, ``teacher`` or the specifier of a model whose tokenizer is taken."""
    max_length: Count = 512
    """Longest sequence the student can read, in tokens."""
    tie: bool = True
    """One matrix for embedding and unembedding."""

    @model_validator(mode="after")
    def _widths(self) -> Self:
        if self.hidden % self.heads or (self.hidden // self.heads) % 2:
            raise ValueError(
                f"hidden ({self.hidden}) must be an even multiple of heads ({self.heads})"
            )
        if self.kv_heads is not None and (
            self.architecture != "llama" or self.heads % self.kv_heads
        ):
            raise ValueError(
                f"kv_heads ({self.kv_heads}) needs architecture llama and must divide heads "
                f"({self.heads})"
            )
        return self


class Shrink(Part):
    """A student made of some of the teacher's layers."""

    layers: Count
    """How many are kept: uniformly spaced, the first and the last among them."""


class Student(Part):
    """Where the student's weights come from: exactly one of the three."""

    init: Init | None = None
    from_: str | None = Field(default=None, alias="from")
    shrink: Shrink | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(part is not None for part in (self.init, self.from_, self.shrink)) != 1:
            raise ValueError("give exactly one of: init, from, shrink")
        return self
