"""What a shipped pack of controls allows to say of a case: likelihood ratios, power and dose.

A pack is used where the case lies inside its population, and refused with the reasons otherwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from auditor.canon import json_digest
from auditor.data import data_dir
from auditor.errors import InputError, UndefinedError
from auditor.judge.bootstrap import Draws
from auditor.judge.dose import DosedScore, DoseEstimate, dose_curve, estimate_dose
from auditor.judge.error_rates import error_rates
from auditor.judge.fuse import Fused, Fusion, fuse, select_fusion
from auditor.judge.fusion_file import fusion_from_json, fusion_json
from auditor.judge.population import CaseFacts, Population, outside, population_from_json
from auditor.judge.power import SeenDose, power_curve, smallest_seen_dose
from auditor.judge.scores import ScoreRow, score_row

SCHEMA = "auditor/calibration/1"
FILE = "calibration.json"
_DRAWS = Draws(seed=0, resamples=200)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What was fitted to the calibration half of a pack."""

    population: Population
    fusions: tuple[Fusion, ...]
    """One for each access pattern."""
    graded: tuple[str, ...]
    """Architectures of the students whose dose is graded: power is known for these alone."""
    doses: Mapping[str, tuple[DosedScore, ...]]
    """By decisive test: z of students of graded dose that learned from text alone, the kind that is
    harder to see; models without a link have dose 0."""
    controls: tuple[ScoreRow, ...] = ()
    """The score table that everything here was fitted to; empty where it is not kept."""
    lines: tuple[Fusion, ...] = ()
    """One score each: what a line says alone. Shown beside the fusion, never multiplied."""
    reduced: tuple[Fusion, ...] = ()
    """The fusions less one score, without resamples: what each score adds."""

    def as_json(self) -> dict[str, Any]:
        """Return the file of a pack."""
        return {
            "schema": SCHEMA,
            "population": self.population.as_json(),
            "fusions": [fusion_json(fusion) for fusion in self.fusions],
            "graded": list(self.graded),
            "doses": {
                test: [{"dose": s.dose, "score": s.score, "family": s.family} for s in scores]
                for test, scores in sorted(self.doses.items())
            },
            **self._details_json(),
        }

    def _details_json(self) -> dict[str, Any]:
        if not self.controls:
            return {}
        return {
            "controls": [row.as_json() for row in self.controls],
            "lines": [fusion_json(fusion) for fusion in self.lines],
            "reduced": [fusion_json(fusion) for fusion in self.reduced],
        }

    @property
    def digest(self) -> str:
        """Of the file's content."""
        return json_digest(self.as_json())


def calibration_from_json(content: Any) -> Calibration:
    """Return the calibration in a file.

    Raises:
        InputError: it is of another schema, or malformed.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"no calibration of schema {SCHEMA}")
    try:
        return Calibration(
            population=population_from_json(content["population"]),
            fusions=tuple(fusion_from_json(fusion) for fusion in content["fusions"]),
            graded=tuple(content["graded"]),
            doses={
                test: tuple(DosedScore(**score) for score in scores)
                for test, scores in content["doses"].items()
            },
            controls=tuple(map(score_row, content.get("controls", ()))),
            lines=tuple(map(fusion_from_json, content.get("lines", ()))),
            reduced=tuple(map(fusion_from_json, content.get("reduced", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the calibration cannot be read: {error!r}") from error


def shipped_calibrations() -> tuple[Calibration, ...]:
    """Return the calibrations of the shipped packs, by name of the pack."""
    packs = data_dir("probes") / "packs"
    return tuple(read_calibration(path) for path in sorted(packs.glob(f"*/{FILE}")))


def read_calibration(path: Path) -> Calibration:
    """Return the calibration in a file.

    Raises:
        InputError: it is malformed.
    """
    return calibration_from_json(json.loads(path.read_bytes()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The calibration that fits a case, or why none does."""

    calibration: Calibration | None
    reasons: tuple[str, ...] = ()


def choose(calibrations: Sequence[Calibration], facts: CaseFacts) -> Chosen:
    """Return the first calibration whose population holds the case, or why none does."""
    reasons: list[str] = []
    for calibration in calibrations:
        found = outside(calibration.population, facts)
        if not found:
            return Chosen(calibration=calibration)
        reasons.append(f"outside the population {calibration.population.name}: {found[0]}")
    return Chosen(calibration=None, reasons=tuple(reasons) or ("no calibrated population ships",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What a calibration says of one suspect; what it cannot say has its reason."""

    fused: Fused | None = None
    seen: SeenDose | None = None
    dose: DoseEstimate | None = None
    error_rates: tuple[dict[str, Any], ...] = ()
    """Of each decisive test at its threshold, see `auditor.judge.error_rates`."""
    reasons: tuple[str, ...] = ()


def weigh(
    calibration: Calibration,
    scores: Mapping[str, float | None],
    thresholds: Mapping[str, float],
    architecture: str | None,
) -> Weighed:
    """Return likelihood ratios, the dose that would have been seen, and the dose it looks like.

    Args:
        calibration: whose population holds the case.
        scores: by feature: ``replication`` (-log10 p), ``span``, ``sample``, ``idiosyncrasy`` (z).
        thresholds: by decisive test that is defined: z above which imitation is read.
        architecture: of the suspect; dose and power are stated for graded ones only.
    """
    reasons: list[str] = []
    if architecture not in calibration.graded:
        reasons.append(
            f"dose and power are known for {', '.join(calibration.graded)} students only"
        )
        thresholds = {}
    fused = _attempt(lambda: fuse(select_fusion(calibration.fusions, scores), scores), reasons)
    seen: list[SeenDose] = []
    doses: list[DoseEstimate] = []
    for test, threshold in thresholds.items():
        graded, score = calibration.doses.get(test, ()), scores.get(FEATURE_OF[test])
        seen += _attempts(partial(_seen, graded, threshold), reasons)
        if score is not None and score > threshold:
            doses += _attempts(partial(_looks_like, graded, score), reasons)
    return Weighed(
        fused=fused,
        # Either test may see a dose; the interval of the more certain estimate is kept.
        seen=min(seen, key=lambda found: found.dose, default=None),
        dose=min(doses, key=_width, default=None),
        error_rates=tuple(error_rates(calibration.doses, thresholds)),
        reasons=tuple(reasons),
    )


FEATURE_OF = {"sample-llr": "sample", "idiosyncratic-agreement": "idiosyncrasy"}
"""Feature that a decisive test is fused as."""


def _seen(graded: Sequence[DosedScore], threshold: float) -> SeenDose:
    return smallest_seen_dose(power_curve(graded, threshold, _DRAWS))


def _looks_like(graded: Sequence[DosedScore], score: float) -> DoseEstimate:
    return estimate_dose(score, dose_curve(graded))


def _width(found: DoseEstimate) -> float:
    return found.interval[1] - found.interval[0]


def _attempts(compute: Any, reasons: list[str]) -> list[Any]:
    found = _attempt(compute, reasons)
    return [] if found is None else [found]


def _attempt(compute: Any, reasons: list[str]) -> Any:
    try:
        return compute()
    except UndefinedError as error:
        reasons.append(error.message)
        return None
