"""Other tools and published statistics that are run on the same models: what each one is.

An opponent is asked whether a suspect comes from a reference. Its answer becomes one
`PeerResult` a reading: some tools give two answers to one question, which may disagree.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerResult:
    """What one reading of an opponent says about one pair. Nothing here is evidence of ours."""

    reading: str
    """``modeldna``, ``weightscope-lineage``, ``raw-jsd``, ..."""
    version: str
    """Of the tool; ``published`` for a statistic that has no package."""
    score: float | None = None
    """Higher means closer. None where there is no number, see `failure`."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """By question, where a tool answers each with a score of its own; `score` counts elsewhere."""
    stated: Mapping[str, float] = field(default_factory=dict)
    """Base-10 logarithm of the likelihood ratio that the tool itself states, by question
    (`auditor.controls.comparison.summary.QUESTIONS`); of a probability p, that of p / (1 - p)."""
    verdict: str | None = None
    """The tool's own word; None where it prints none."""
    accuses_replication: bool | None = None
    """Whether the verdict says that the weights derive from the reference's. None: no verdict,
    or one that does not speak of weights."""
    accuses_any: bool | None = None
    """Whether the verdict asserts any link. An abstention asserts none. None: no verdict."""
    seconds: float | None = None
    """Processor time of this pair, without starting and loading the tool. Waiting does not count,
    so that a busy machine changes nothing."""
    failure: str | None = None
    """Why there is no score. Where there is no answer at all the verdict is None too."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The numbers that the verdict was made of."""


MODELS = threading.Lock()
"""Held while a model is open in this process: loading it changes settings of the whole process."""


class Opponent(Protocol):
    """Anything that can be asked about a pair of model folders."""

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of the results that `compare` returns, in order."""
        ...

    def compare(self, suspect: Path, reference: Path) -> tuple[PeerResult, ...]:
        """Return one result a reading; a failure is a result that says why."""
        ...

    def close(self) -> None:
        """End its process and free its memory."""
        ...


def failures(readings: tuple[str, ...], version: str, why: str) -> tuple[PeerResult, ...]:
    """Return one result a reading that says only why there is none."""
    return tuple(PeerResult(reading=name, version=version, failure=why) for name in readings)
