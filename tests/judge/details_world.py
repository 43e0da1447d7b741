"""A calibration small enough to compute by hand, and a case around it."""

import math

import numpy as np

from auditor.judge.bootstrap import Draws
from auditor.judge.bounds import Bounds
from auditor.judge.calibration import Calibration
from auditor.judge.dose import DosedScore
from auditor.judge.evidence import Subjects
from auditor.judge.fuse import Feature, Fusion, FusionRecipe
from auditor.judge.population import Population
from auditor.judge.regression import Coefficients

PAIR = "imitation:independent"
LN10 = math.log(10.0)


def fit(*slopes: float) -> Coefficients:
    """Return a fit whose log10 LR of imitation is the sum of slope times score."""
    zeros = np.zeros((2, len(slopes)))
    zeros[1] = np.array(slopes) * LN10
    return Coefficients(intercepts=np.zeros(2), slopes=zeros)


def fusion(slopes: dict[str, float], *, cap: float = 1.5, folds=None, drawn=(0.5, 1.5)) -> Fusion:
    """Return a fusion of raw scores; its resamples multiply every slope by one of `drawn`."""
    own = tuple(slopes.values())
    return Fusion(
        recipe=FusionRecipe(
            features=tuple(Feature(name=name) for name in slopes),
            draws=Draws(seed=0, resamples=len(drawn)),
        ),
        classes=("independent", "imitation"),
        families={"independent": 40, "imitation": 30, "replication": 0},
        means=np.zeros(len(own)),
        scales=np.ones(len(own)),
        ranges=np.array([[-9.0, 9.0]] * len(own)),
        coefficients=fit(*own),
        replicates=tuple(fit(*(factor * slope for slope in own)) for factor in drawn),
        bounds={PAIR: Bounds(lower=-cap, upper=cap, families=(30, 40))},
        refused={},
        digest="sha256:0",
        folds={} if folds is None else {name: fit(*some) for name, some in folds.items()},
    )


def calibration() -> Calibration:
    """Return a calibration of two scores: 0.2 log10 units a z of each."""
    return Calibration(
        population=Population(
            name="hand", parameters=None, vocabulary=None, architectures=None, tokenizers=None,
            access=(), null_families=(0, 99), suites=(), measures=(),
        ),
        fusions=(
            fusion(
                {"sample": 0.2, "idiosyncrasy": 0.2},
                folds={"one": (0.1, 0.2), "two": (0.3, 0.2), "three": (0.2, 0.2)},
            ),
        ),
        graded=("Llama",),
        doses={
            "sample-llr": tuple(
                DosedScore(dose=dose, score=score, family=f"f{dose}{score}")
                for dose, scores in ((0.0, (-1.0, 0.0, 1.0)), (1.0, (5.0, 6.0, 7.0)))
                for score in scores
            ),
            "idiosyncratic-agreement": (),
        },
        lines=(fusion({"sample": 0.5}, cap=1.0), fusion({"idiosyncrasy": 0.1}, cap=0.0)),
    )  # fmt: skip


def subjects(families: dict[str, str]) -> Subjects:
    """Return a case of one suspect with a control for each {name: family}, architectures alike."""
    controls = tuple(
        {"name": name, "role": "independent", "family": family} for name, family in families.items()
    )
    return Subjects(
        suspects=("suspect",),
        controls=controls,
        architectures=dict.fromkeys(("suspect", *families), "Llama"),
    )
