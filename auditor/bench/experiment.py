"""What is measured: candidates that compute the same outputs from the same inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.bench.bars import Bar

Outputs = dict[str, "Tensor"]
"""Outputs by name. Candidates that compute the same thing use the same name."""
Run = Callable[[], Outputs]
OURS = "auditor"
"""First word of the names of our rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to measure."""

    device: str = "cpu"
    threads: int = 1
    runs: int = 5
    """Timed runs of each candidate, after one that is not counted."""
    small: bool = False
    """Tiny shapes, and nothing that compiles: a check of the bench itself, no measurement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Where a candidate comes from."""

    module: str
    """Its import name."""
    distribution: str
    """Its name for pip."""


AUDITOR = Package(module="auditor", distribution="auditor")
TORCH = Package(module="torch", distribution="torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to compute the outputs."""

    name: str
    computes: str
    """Which part of the outputs it computes, in words."""
    prepare: Callable[[], Run]
    """Imports what is needed and returns the work to time.

    Raises `KernelUnavailableError` with the reason where it cannot run.
    """
    package: Package = AUDITOR
    compiles: bool = False
    """Whether the first run compiles for many seconds."""
    kept_bytes: int = 0
    """Memory that it keeps from run to run: counted as part of the peak of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Candidates over one set of inputs."""

    title: str
    shape: Mapping[str, int]
    candidates: tuple[Candidate, ...]
    truth: Callable[[], Outputs]
    """Float64 values; outputs that it lacks are not compared."""
    rows: "Tensor | None" = None
    """Positions that per-position truth holds; None: all."""
    elementwise: bool = False
    """Whether an error is relative to each value, not to the largest of its output."""
    timed: bool = True
    bars: tuple["Bar", ...] = field(default=())
