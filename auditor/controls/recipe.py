"""What a pack of control models is made of: tokenizers, shapes, texts, training, groups.

One file says how every model of the pack came to be, and one command makes them again.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auditor.errors import RecipeError

SCHEMA = "auditor/control-recipe/1"
Class = Literal["reference", "independent", "sibling", "imitation", "replication"]


class Strict(BaseModel):
    """Unknown keys are refused, values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


R = TypeVar("R", bound=Strict)


class TextChoice(Strict):
    """Documents of a seeded corpus (`auditor.distill.corpus`)."""

    corpus: str
    seed: int | Literal["own"]
    """``own``: every member of a group gets documents of its own."""
    documents: int = Field(ge=1)


class TokenizerChoice(Strict):
    """``bytes``, or a byte-level BPE trained on some documents."""

    kind: Literal["bytes", "bpe"]
    vocabulary: int | None = Field(default=None, ge=300)
    """Number of ids, specials included; BPE only."""
    texts: tuple[TextChoice, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> "TokenizerChoice":
        trained = self.kind == "bpe"
        if any(given != trained for given in (self.vocabulary is not None, len(self.texts) > 0)):
            raise ValueError("a bpe tokenizer needs vocabulary and texts, a bytes tokenizer none")
        return self


class ShapeChoice(Strict):
    """The architecture and size of a model."""

    architecture: Literal["llama", "gpt2"]
    tokenizer: str
    hidden: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    intermediate: int = Field(ge=8)
    positions: int = Field(ge=16)


class Training(Strict):
    """AdamW with warm-up and cosine decay; every model of the pack is trained alike."""

    steps: int = Field(ge=1)
    sequences: int = Field(ge=1)
    """In one step."""
    length: int = Field(ge=8)
    """Tokens of a sequence."""
    learning_rate: float = Field(gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    ensemble: int = Field(default=8, ge=1)
    """Models trained together; it changes the speed only."""


class Teaching(Strict):
    """How the members of a group learn from another model."""

    teachers: str
    """Name of a group; member i learns from member i modulo its size."""
    via: Literal["logits", "text"]
    dose: float = Field(default=1.0, ge=0, le=1)
    """Share of the training sequences that are imitation."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the teacher's samples (text) or of its distribution (logits)."""
    paraphrase: bool = False
    """Whether the teacher's text is reworded first."""


class Transform(Strict):
    """A change of weights without training (`auditor.controls.transforms`)."""

    kind: str
    options: dict[str, Any] = {}
    partner: str | None = None
    """Group of the second parent of a merge; member i takes its member i."""


class Group(Strict):
    """Models that were made in the same way, apart from their seeds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    role: Class
    count: int = Field(ge=1)
    shape: str | None = None
    """None: that of the model it starts from."""
    text: str | None = None
    """Name of the documents it trains on."""
    teaching: Teaching | None = None
    start: str | None = None
    """Group whose member i the weights start from; None: random weights."""
    steps: tuple[int, ...] | None = None
    """Training steps of the members, in turn; None: those of the pack."""
    transform: Transform | None = None
    shipped: int = Field(default=0, ge=0)
    """The first so many members of the calibration half ship with their weights, as controls."""

    @model_validator(mode="after")
    def _consistent(self) -> "Group":
        if self.transform is not None:
            if self.start is None or self.text or self.teaching:
                raise ValueError(f"{self.name}: a transform needs start, and trains on nothing")
        elif self.text is None:
            raise ValueError(f"{self.name}: text is missing")
        if (self.shape is None) == (self.start is None):
            raise ValueError(f"{self.name}: give shape, or start to take over a model's")
        return self


class PackRecipe(Strict):
    """A whole pack."""

    schema_: Annotated[Literal["auditor/control-recipe/1"], Field(alias="schema")]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = Field(ge=0, lt=2**31)
    tokenizers: dict[str, TokenizerChoice]
    shapes: dict[str, ShapeChoice]
    texts: dict[str, TextChoice]
    training: Training
    groups: tuple[Group, ...]
    exhibits: tuple[str, ...] = ()
    """Members that ship as suspects of known truth; they are no controls."""

    @model_validator(mode="after")
    def _named(self) -> "PackRecipe":
        seen: set[str] = set()
        for group in self.groups:
            _known(group, "shape", group.shape, self.shapes)
            _known(group, "text", group.text, self.texts)
            partner = group.transform.partner if group.transform else None
            teachers = group.teaching.teachers if group.teaching else None
            for what, name in (
                ("start", group.start),
                ("partner", partner),
                ("teachers", teachers),
            ):
                _known(group, what, name, seen)
            if group.name in seen:
                raise ValueError(f"two groups are named {group.name}")
            seen.add(group.name)
        for name, shape in self.shapes.items():
            if shape.tokenizer not in self.tokenizers:
                raise ValueError(f"shape {name}: no tokenizer is named {shape.tokenizer!r}")
        return self


def _known(group: Group, what: str, name: str | None, names: Any) -> None:
    if name is not None and name not in names:
        known = ", ".join(sorted(names)) or "none yet"
        raise ValueError(f"{group.name}: {what} {name!r} is not defined before it (known: {known})")


def load_pack_recipe(path: Path) -> PackRecipe:
    """Return the recipe in a YAML file.

    Raises:
        RecipeError: the file cannot be read, or a key is unknown, missing or out of range; the
            message names the first fault.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as YAML: {error}") from error
    return checked(content, PackRecipe, path, hint=f"schema {SCHEMA}; see the shipped pack's")


def checked(content: Any, kind: type[R], path: Path, *, hint: str) -> R:
    """Return the recipe that the content of a file describes.

    Raises:
        RecipeError: a key is unknown, missing or out of range; the message names the first fault.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the recipe"
        raise RecipeError(f"{path}: {where}: {first['msg']}", hint=hint) from error
