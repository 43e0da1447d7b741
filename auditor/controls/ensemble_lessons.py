"""What an ensemble learns from, and how: batches, teachers, the recipe of the optimiser."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from auditor.controls.ensemble_shape import Shape
from auditor.controls.ensemble_weights import Stacked
from auditor.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One step's data."""

    tokens: Tensor
    """(E, B, T + 1) int64: the first T are read, the last T predicted."""
    imitated: Tensor | None = None
    """(E, B) bool: which sequences learn the teacher's distribution; None: none."""
    scored: Tensor | None = None
    """(E, B, T) bool: which predictions count; None: all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Teacher:
    """Frozen models whose distributions are learnt."""

    shape: Shape
    weights: Stacked
    """Of K models."""
    of_member: tuple[int, ...] | None = None
    """Which of them teaches each member; None: the first teaches all."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lessons:
    """What an ensemble learns from."""

    batches: Callable[[int], Batch]
    """Step (from 0) -> its data; asked for once a step, in order."""
    teacher: Teacher | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """AdamW with warm-up, then a cosine decay (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Raises:
        InputError: a number is outside its range.
    """

    steps: int
    learning_rate: float = 3e-3
    warmup: float = 0.05
    """Share of the steps."""
    final_rate: float = 0.1
    """Learning rate at the end, as a share of the highest."""
    weight_decay: float = 0.1
    """Of matrices; norms and biases have none."""
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    """Largest gradient norm of a member."""
    temperature: float = 1.0
    """Of the distributions, where a teacher is imitated."""
    together: int | None = None
    """Members in one pass; changes speed and rounding only. None: as many as make 3,200 tokens on
    a CPU, all on a GPU."""

    def __post_init__(self) -> None:
        finite = (self.learning_rate, self.clip, self.temperature)
        if not all(0 < value < math.inf for value in finite):
            raise InputError(
                f"learning_rate, clip and temperature must be positive, found {finite}"
            )
        if not (0 <= self.warmup <= 1 and 0 <= self.final_rate <= 1):
            raise InputError(
                f"warmup and final_rate are shares, found {self.warmup} and {self.final_rate}"
            )
        counts = (self.steps, 1 if self.together is None else self.together)
        if min(counts) < 1 or not 0 <= self.weight_decay < math.inf:
            raise InputError(
                f"steps = {self.steps}, weight_decay = {self.weight_decay}, "
                f"together = {self.together}: one is too small"
            )


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the rate of a step (from 0): a linear rise, then half a cosine down."""
    rising = math.ceil(recipe.warmup * recipe.steps)
    if step < rising:
        return recipe.learning_rate * (step + 1) / rising
    done = (step - rising) / max(1, recipe.steps - rising)
    share = recipe.final_rate + (1.0 - recipe.final_rate) * 0.5 * (1.0 + math.cos(math.pi * done))
    return recipe.learning_rate * share
