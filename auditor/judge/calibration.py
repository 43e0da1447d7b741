"""What a shipped pack of controls allows to say of a case: likelihood ratios, power and dose.

A pack is used where the case lies inside its population, and refused with the reasons otherwise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.canon import json_digest
from auditor.data import data_dir
from auditor.errors import InputError, UndefinedError
from auditor.judge.bootstrap import Draws
from auditor.judge.dose import DosedScore, DoseEstimate, dose_curve, estimate_dose
from auditor.judge.fuse import Fused, Fusion, fuse, select_fusion
from auditor.judge.fusion_file import fusion_from_json, fusion_json
from auditor.judge.population import CaseFacts, Population, outside, population_from_json
from auditor.judge.power import SeenDose, power_curve, smallest_seen_dose

SCHEMA = "auditor/calibration/1"
FILE = "calibration.json"
_DRAWS = Draws(seed=0, resamples=200)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """What was fitted to the calibration half of a pack."""

    population: Population
    fusions: tuple[Fusion, ...]
    """One for each access pattern."""
    doses: Mapping[str, tuple[DosedScore, ...]]
    """``text`` and ``logits``: z of the sample LLR of students of graded dose, 0 included."""

    def as_json(self) -> dict[str, Any]:
        """Return the file of a pack."""
        return {
            "schema": SCHEMA,
            "population": self.population.as_json(),
            "fusions": [fusion_json(fusion) for fusion in self.fusions],
            "doses": {
                via: [{"dose": s.dose, "score": s.score, "family": s.family} for s in scores]
                for via, scores in sorted(self.doses.items())
            },
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
            doses={
                via: tuple(DosedScore(**score) for score in scores)
                for via, scores in content["doses"].items()
            },
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
    reasons: tuple[str, ...] = ()


def weigh(
    calibration: Calibration, scores: Mapping[str, float | None], threshold: float | None
) -> Weighed:
    """Return likelihood ratios, the dose that would have been seen, and the dose it looks like.

    Args:
        calibration: whose population holds the case.
        scores: by feature: ``replication`` (-log10 p), ``span`` and ``sample`` (z).
        threshold: z of the sample LLR above which imitation is read; None where there is none.
    """
    reasons: list[str] = []
    fused = _attempt(lambda: fuse(select_fusion(calibration.fusions, scores), scores), reasons)
    text = calibration.doses.get("text", ())
    seen = None
    if threshold is not None:
        seen = _attempt(lambda: smallest_seen_dose(power_curve(text, threshold, _DRAWS)), reasons)
    sample = scores.get("sample")
    dose = None
    if sample is not None and threshold is not None and sample > threshold:
        dose = _attempt(lambda: estimate_dose(sample, dose_curve(text)), reasons)
    return Weighed(fused=fused, seen=seen, dose=dose, reasons=tuple(reasons))


def _attempt(compute: Any, reasons: list[str]) -> Any:
    try:
        return compute()
    except UndefinedError as error:
        reasons.append(error.message)
        return None
