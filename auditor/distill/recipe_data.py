"""The part `data` of a recipe."""

from typing import Annotated, Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from auditor.distill.filter_choices import Filter
from auditor.distill.recipe_part import Count, Names, Part
from auditor.distill.row_policy import RowPolicy


class CorpusChoice(Part):
    """Text written by a seeded rule of this package: see `auditor.distill.corpus`."""

    name: str
    seed: int = 0
    documents: Count


class Sampling(Part):
    """How the teacher's answers to the prompts are drawn; temperature 0 is greedy."""

    temperature: Annotated[float, Field(ge=0.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    max_new_tokens: Count = 128
    samples: Count = 1
    seed: int = 0


class Data(Part):
    """What the student is trained on, and the part of it that is held out."""

    prompts: Names | None = None
    """JSONL files and ``suite:NAME`` whose prompts the teacher answers."""
    text: Names | None = None
    """Files of text: ``.jsonl`` (key ``text``), or plain with blank lines between documents."""
    corpus: CorpusChoice | None = None
    holdout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    """Share of documents and prompts, chosen by the digest of their text, never trained on."""
    holdout_tokens: Count = 8192
    """At most about this many held-out tokens are measured at each evaluation."""
    max_length: Annotated[int, Field(ge=2)] = 512
    """Tokens of a training sequence; longer texts are cut into several, answers are cut off."""
    packing: bool = True
    """Join short documents to sequences of max_length, an end token between them."""
    sampling: Sampling = Sampling()
    filters: Annotated[list[Filter], Field(min_length=1)] | None = None
    """Texts to leave out, filter by filter in this order: see `auditor.distill.filter_choices`."""
    policy: RowPolicy | None = None
    """What the flags of a row must say: see `auditor.distill.row_policy`."""

    @field_validator("prompts", "text", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if self.prompts is None and self.text is None and self.corpus is None:
            raise ValueError("give at least one of: prompts, text, corpus")
        return self

    @model_serializer(mode="wrap")
    def _without_new_keys(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out keys that recipes did not have before: where absent, digests stay equal."""
        values: dict[str, Any] = handler(self)
        return {
            key: value
            for key, value in values.items()
            if value is not None or key not in ("filters", "policy")
        }
