"""The distillation recipe: what a YAML file may say, checked before any work."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from auditor.canon import json_digest
from auditor.distill.recipe_errors import recipe_error
from auditor.errors import RecipeError

KINDS = ("baseline", "sequence", "logits")
Divergence = Literal["forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd"]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Names = Annotated[list[str], Field(min_length=1)]


class _Part(BaseModel):
    """A mapping of the recipe: unknown keys are refused, values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Init(_Part):
    """A student with random weights."""

    architecture: Literal["llama", "gpt2"]
    hidden: Count
    layers: Count
    heads: Count
    kv_heads: Count | None = None
    """Key-value heads of a llama student; as many as `heads` if absent."""
    ffn: Count | None = None
    """Width of the feed-forward block; if absent 4 hidden (gpt2) or 8/3 hidden, to 16 (llama)."""
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


class Shrink(_Part):
    """A student made of some of the teacher's layers."""

    layers: Count
    """How many are kept: uniformly spaced, the first and the last among them."""


class Student(_Part):
    """Where the student's weights come from: exactly one of the three."""

    init: Init | None = None
    from_: str | None = Field(default=None, alias="from")
    shrink: Shrink | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(part is not None for part in (self.init, self.from_, self.shrink)) != 1:
            raise ValueError("give exactly one of: init, from, shrink")
        return self


class CorpusChoice(_Part):
    """Text written by a seeded rule of this package: see `auditor.distill.corpus`."""

    name: str
    seed: int = 0
    documents: Count


class Sampling(_Part):
    """How the teacher's answers to the prompts are drawn; temperature 0 is greedy."""

    temperature: Annotated[float, Field(ge=0.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    max_new_tokens: Count = 128
    samples: Count = 1
    seed: int = 0


class Data(_Part):
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

    @field_validator("prompts", "text", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if self.prompts is None and self.text is None and self.corpus is None:
            raise ValueError("give at least one of: prompts, text, corpus")
        return self


class Method(_Part):
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


class Train(_Part):
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
    seed: int = Field(default=0, ge=0, lt=2**31)


class Recipe(_Part):
    """One distillation run."""

    teacher: str | None = None
    student: Student
    data: Data
    method: Method
    train: Train
    permission: str | None = None
    _folder: Path = PrivateAttr(default_factory=Path)

    @field_validator("teacher", mode="before")
    @classmethod
    def _no_teacher(cls, value: Any) -> Any:
        return None if value == "none" else value

    @model_validator(mode="after")
    def _fits_method(self) -> Self:
        problem = _contradiction(self)
        if problem:
            raise ValueError(problem)
        return self

    def path(self, name: str) -> Path:
        """Return a file named in the recipe; relative names start at the recipe's folder."""
        return self._folder / name

    def subject(self, spec: str) -> str:
        """Return a specifier of the recipe whose relative path starts at the recipe's folder."""
        scheme, colon, rest = spec.partition(":")
        if colon and scheme in ("local", "gguf", "records"):
            return f"{scheme}:{self.path(str(Path(rest).expanduser()))}"
        # A scheme's own word wins over a file of that name, as everywhere else.
        if not colon and spec != "smollm2" and self.path(spec).exists():
            return str(self.path(spec))
        return spec

    def as_json(self) -> dict[str, Any]:
        """Return the recipe with every default filled in."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def digest(self) -> str:
        """Digest of what the recipe says. Files it names have digests of their own."""
        return json_digest(self.as_json())


def _contradiction(recipe: Recipe) -> str | None:
    """Return what does not go together, as a sentence; None where all does."""
    kind, data, student = recipe.method.kind, recipe.data, recipe.student
    rules = {
        "method baseline has no teacher: remove the key teacher": kind == "baseline"
        and recipe.teacher is not None,
        f"method {kind} needs a teacher": kind != "baseline" and recipe.teacher is None,
        "student.shrink keeps layers of a teacher, and method baseline has none": kind == "baseline"
        and student.shrink is not None,
        "student.init.tokenizer is 'teacher' and there is no teacher: give bytes or a model": (
            recipe.teacher is None
            and student.init is not None
            and student.init.tokenizer == "teacher"
        ),
        "method sequence trains on the teacher's answers: give data.prompts": kind == "sequence"
        and data.prompts is None,
        "method baseline has nobody to answer data.prompts: give data.text or data.corpus": (
            kind == "baseline" and data.prompts is not None
        ),
        "data.max_length is longer than student.init.max_length": student.init is not None
        and data.max_length > student.init.max_length,
        f"method {kind} has one loss: method.alpha is for logits": kind != "logits"
        and recipe.method.alpha > 0,
    }
    return next((sentence for sentence, broken in rules.items() if broken), None)


def recipe_from(values: Any, folder: Path = Path()) -> Recipe:
    """Return the recipe that a mapping describes; relative paths start at `folder`.

    Raises:
        RecipeError: an unknown key, a missing or wrong value, a contradiction.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise RecipeError(
            f"a recipe is a mapping, not {type(values).__name__}",
            hint="start with the keys student, data, method, train",
        )
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise recipe_error(error, Recipe) from error
    recipe._folder = folder
    return recipe


def load_recipe(path: Path) -> Recipe:
    """Return the recipe of a YAML file.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or is not a recipe.
    """
    from auditor.distill.recipe_errors import read_yaml

    return recipe_from(read_yaml(path), Path(path).resolve().parent)
