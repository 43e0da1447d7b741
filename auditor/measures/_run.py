"""Apply measures to a pair: what counts, the value, its interval, and the record of both."""

import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version

import numpy as np

from auditor.canon import finite
from auditor.errors import RegistryError, UndefinedError
from auditor.measures._registry import Field, Measure, all_measures, get
from auditor.measures._resample import (
    Interval,
    derived_seed,
    half_sample_interval,
    mean_interval,
)
from auditor.measures._rows import present
from auditor.outputs import OF_THE_PAIR, Pair
from auditor.types import Array, Measurement


def measure_pair(
    pair: Pair, *, seed: int, resamples: int = 1000, names: Sequence[str] | None = None
) -> tuple[Measurement, ...]:
    """Return one Measurement a measure, sorted by name, without the place among controls.

    Probes of weight 0 (identity questions) enter none of them.

    Args:
        pair: reference and suspect on the same probes.
        seed: of the intervals; the same seed gives the same bytes.
        resamples: of each interval; 0 for none.
        names: measures to apply, all by default.

    Raises:
        InputError: a name is unknown.
        RegistryError: the set of measures is not well formed.
    """
    counted = np.flatnonzero([probe.weight > 0 for probe in pair.probes])
    if 0 < len(counted) < len(pair.probes):
        pair = pair.take(counted.tolist())
    chosen = all_measures()
    if names is not None:
        wanted = {get(name).name for name in names}
        chosen = tuple(one for one in chosen if one.name in wanted)
    return tuple(apply(one, pair, seed=seed, resamples=resamples) for one in chosen)


@dataclass(frozen=True, slots=True)
class _Draws:
    """How an interval is drawn."""

    seed: int
    resamples: int


@dataclass(frozen=True, slots=True)
class _Estimate:
    """A value with its interval, and where both come from."""

    value: float
    interval: Interval | None
    probes: int
    method: str


def apply(measure: Measure, pair: Pair, *, seed: int, resamples: int = 1000) -> Measurement:
    """Return the result of one measure, or the reason why it is undefined."""
    unmeasured = Measurement(
        measure=measure.id,
        group=measure.group,
        unit=measure.unit,
        closer=measure.closer,
        value=None,
        interval=None,
        probes=0,
        inputs=input_files(measure, pair),
    )
    draws = _Draws(derived_seed(seed, measure.id), resamples)
    try:
        usable = usable_probes(measure, pair)
        raw = measure(usable)
        estimate = (_pooled if measure.reduce == "pooled" else _mean)(measure, usable, raw, draws)
    except UndefinedError as error:
        return replace(unmeasured, undefined=error.message)
    ran = _library(measure.library)
    drawn = "" if estimate.interval is None else f"; {resamples} {estimate.method}"
    return replace(
        unmeasured,
        # NaN and infinity are refused (ValueError): a measure that gives one is wrong.
        value=finite(estimate.value),
        interval=None if estimate.interval is None else _within(estimate.interval, measure.bounds),
        probes=estimate.probes,
        implementation=ran + drawn,
    )


def _pooled(measure: Measure, pair: Pair, raw: Array | float, draws: _Draws) -> _Estimate:
    value, probes = float(raw), len(pair.probes)
    if not measure.resampled:
        own = measure.interval
        interval = None if own is None else own(pair, draws.seed, draws.resamples)
        return _Estimate(value, interval, probes, "resamples of its own units")
    interval = half_sample_interval(
        value, probes, _on_subsets(measure, pair), seed=draws.seed, resamples=draws.resamples
    )
    return _Estimate(value, interval, probes, "half-samples")


def _mean(measure: Measure, pair: Pair, raw: Array | float, draws: _Draws) -> _Estimate:
    values = _per_probe(measure, raw, len(pair.probes))
    if not len(values):
        raise UndefinedError(f"it applies to none of the {len(pair.probes)} probes")
    interval = mean_interval(values, seed=draws.seed, resamples=draws.resamples)
    # An exactly rounded sum does not depend on the order of the probes.
    return _Estimate(math.fsum(values) / len(values), interval, len(values), "bootstrap resamples")


@cache
def _library(name: str) -> str:
    """Return the name and version of what does a measure's arithmetic."""
    return f"{name} {platform.python_version() if name == 'python' else version(name)}"


def usable_probes(measure: Measure, pair: Pair) -> Pair:
    """Return the pair on the probes that count and have what the measure needs on both sides.

    Raises:
        UndefinedError: a field is missing, or no probe is left; the message says which.
    """
    for field in measure.needs:
        pair.require(field)
    keep = np.array([probe.weight > 0 for probe in pair.probes])
    if not keep.any():
        raise UndefinedError("every probe has weight 0 and enters no conclusion")
    for field in measure.needs:
        keep &= _present(field, pair)
        if not keep.any():
            raise UndefinedError(f"no probe that counts has {field} of both subjects")
    return pair if keep.all() else pair.take(np.flatnonzero(keep).tolist())


def _present(field: Field, pair: Pair) -> Array:
    """Return (P,) bool: the field holds a probe on both sides.

    A vector of NaN, or of zeros (which has no direction), is a missing one.
    """
    count = len(pair.probes)
    if field in ("positions", "choices") and (rows := getattr(pair, field)) is not None:
        return np.bincount(rows["probe"], minlength=count) > 0
    found = np.ones(count, dtype=bool)
    if field in OF_THE_PAIR:
        return found
    for side in (pair.reference, pair.suspect):
        values = getattr(side, field)
        if field == "texts":
            found &= np.array([len(replies) > 0 for replies in values])
        elif field in ("topk", "answers"):
            found &= np.bincount(values["probe"], minlength=count) > 0
        else:
            found &= present(values)
    return found


def _per_probe(measure: Measure, raw: Array | float, probes: int) -> Array:
    """Return the values of the probes that the measure applies to."""
    values = np.asarray(raw)
    if values.shape != (probes,) or values.dtype != np.float64:
        raise RegistryError(
            f"{measure.source}: {measure.id} returned {values.dtype} of shape {values.shape} "
            f"for {probes} probes; a mean measure returns (P,) float64"
        )
    return values[~np.isnan(values)]


def _on_subsets(measure: Measure, pair: Pair) -> Callable[[Array], Array]:
    if measure.subsets is not None:
        subsets = measure.subsets
        return lambda chosen: subsets(pair, chosen)
    return lambda chosen: np.array(
        [measure(pair.take(np.flatnonzero(row).tolist())) for row in chosen], dtype=np.float64
    )


def _within(interval: Interval, bounds: Interval) -> Interval:
    """Return the interval cut to the values that are possible at all."""
    for end in interval:
        finite(end)
    return max(interval[0], bounds[0]), min(interval[1], bounds[1])


def input_files(measure: Measure, pair: Pair) -> tuple[str, ...]:
    """Return the files of the case that the fields come from, relative to its data folder.

    A control that lacks an array (say, since its tokenizer is another one) adds none.
    """
    suspect = pair.suspect.subject
    both = (pair.reference.subject, suspect)
    pool = tuple(control.name for control in pair.pool)
    answering = pool if "pool" in measure.needs else ()

    def having(field: str) -> tuple[str, ...]:
        return tuple(one.name for one in pair.pool if getattr(one, field) is not None)

    scorers = () if pair.crossing is None else pair.crossing.scorers
    lists = [f"arrays/topk/{subject}.npy" for subject in (*both, *having("topk"))]
    # One row compares the two models, so it is stored with the suspect alone.
    positions = [f"arrays/agreement/{suspect}.npy"]
    own = () if pair.own is None else (suspect,)
    files: dict[Field, list[str]] = {
        "positions": positions,
        "choices": lists if pair.positions is None and pair.choices is not None else positions,
        "texts": [f"records/{subject}" for subject in (*both, *answering)],
        "embeddings": [f"arrays/embeddings/{subject}.npy" for subject in both],
        "hidden": [f"arrays/hidden/{subject}.npy" for subject in both],
        "topk": lists,
        "answers": [f"arrays/answers/{subject}.npy" for subject in (*both, *having("answers"))],
        "pool": [f"arrays/agreement/{subject}.npy" for subject in having("positions")],
        "crossing": [f"arrays/crossing/{subject}.npy" for subject in scorers],
        "own": [f"arrays/own/{subject}.npy" for subject in own],
        "neurons": [f"arrays/neurons/{suspect}.npy"],
        "span": [f"arrays/span/{suspect}.npy"],
        "weight_cka": [f"arrays/weight_cka/{suspect}.npy"],
        "transcripts": [
            f"arrays/transcript/{subject}.npy" for subject in (*both, *having("transcript"))
        ],
        "rederivation": [f"arrays/rederivation/{suspect}.npy"],
        "merge": [f"arrays/merge/{suspect}.npy"],
    }
    return tuple(name for field in measure.needs for name in files[field])
