"""The part `method` of a recipe."""

from typing import Annotated, Any, Literal

from pydantic import (
    ByteSize,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from auditor.distill.embedding_recipe import EmbeddingChoice
from auditor.distill.recipe_alignment import OWN_LOSSES
from auditor.distill.recipe_part import Count, Part, Share

KINDS = ("baseline", "sequence", "logits", "on-policy", "hidden", "embedding")
AlignmentName = Literal["matched-vocabulary", "span-kl", "uld", "auto"]
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


class OnPolicyChoice(Part):
    """The student answers the prompts itself, and the teacher weighs every token of it."""

    loss: Literal["full", "policy-gradient"] = "full"
    """``full``: the divergence of the whole distributions; ``policy-gradient``: the teacher's
    log-probability of the drawn token over the student's, as advantage."""
    share: Share = 1.0
    """Of the steps that are on-policy; the others train on the teacher's answers."""
    max_new_tokens: Count = 128
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    clip: Annotated[float, Field(gt=0.0)] | None = None
    """Policy gradient: how far the ratio to the drawing student may be from 1, as in PPO."""
    clamp: Annotated[float, Field(gt=0.0)] | None = 10.0
    """Policy gradient: largest advantage, nats."""
    discount: Share = 0.0
    """Policy gradient: 0 weighs each token by itself, 1 by the rest of the answer too."""


class HiddenChoice(Part):
    """Match hidden states of pairs of layers, through a trained projection."""

    weight: Annotated[float, Field(gt=0.0)] = 1.0
    distance: Literal["cosine", "mse"] = "cosine"
    pairs: list[tuple[int, int]] | None = None
    """(student layer, teacher layer), counted from 1; spread evenly if absent."""


class AttentionChoice(Part):
    """Match the last layer's attention, and relations among its queries, keys or values."""

    weight: Annotated[float, Field(gt=0.0)] = 1.0
    attention: bool = True
    relations: tuple[Literal["query", "key", "value"], ...] = ("value",)
    heads: Count | None = None
    """Relation heads, where the models' own numbers differ."""


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
    alignment: AlignmentName | None = None
    """For teacher and student of different tokens: ``matched-vocabulary``, the divergence over the
    tokens both have and one category for all others, where a token of each starts at the same byte;
    ``span-kl``, the log-probabilities of the spans of text both spell; ``uld``, the sorted
    probabilities. ``auto``: span-kl where the vocabularies differ. Absent: they may not differ."""
    cache: CacheChoice | None = None
    """Train from captured distributions; absent: the teacher is asked at every step."""
    on_policy: OnPolicyChoice | None = None
    """For kind on-policy; its defaults if absent."""
    hidden: HiddenChoice | None = None
    """Added to the loss of kind logits; for kind hidden, to the cross-entropy on the text."""
    attention: AttentionChoice | None = None
    """As `hidden`."""
    embedding: EmbeddingChoice | None = None
    """For kind embedding; its defaults if absent."""
    alpha: Share = 0.0
    """Weight of the cross-entropy on the tokens themselves; the divergence weighs 1 - alpha."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_kind(cls, values: Any) -> Any:
        """Fill in what follows from the kind: on-policy training seeks modes by reverse KL."""
        if not isinstance(values, dict):
            return values
        defaults: dict[Any, dict[str, Any]] = {
            "on-policy": {"divergence": "reverse-kl", "on_policy": {}},
            "embedding": {"embedding": {}},
        }
        return {**defaults.get(values.get("kind"), {}), **values}

    @model_serializer(mode="wrap")
    def _without_the_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an alignment that is absent, so that older digests stay equal.

        Where one is a loss of its own, leave out the divergence, which may not be given.
        """
        values: dict[str, Any] = handler(self)
        unused = {"alignment": self.alignment is None, "divergence": self.alignment in OWN_LOSSES}
        return {name: value for name, value in values.items() if not unused.get(name)}

    @property
    def reads_teacher(self) -> bool:
        """Whether the teacher's weights are asked while the student trains, or before for all."""
        return self.kind in ("logits", "on-policy", "hidden")

    @property
    def answers_itself(self) -> bool:
        """Whether the student answers all prompts, so that the teacher writes nothing."""
        return self.on_policy is not None and self.on_policy.share == 1.0

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in KINDS:
            raise ValueError(f"{value!r} is not available; choose one of: {', '.join(KINDS)}")
        return value
