"""What every measure must do, as functions that raise AssertionError where one does not."""

import hashlib
import itertools
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from measure_worlds import P, Subject, blend, pair_of, reordered, with_weights

from auditor.canon import canonical_json
from auditor.errors import UndefinedError
from auditor.measures import Measure
from auditor.measures._registry import GROUPS
from auditor.measures._run import apply, usable_probes
from auditor.outputs import OF_THE_PAIR, Pair
from auditor.types import Measurement

ROUNDING = 1e-9
SECTIONS = ("Formula:", "Range:", "Degenerate:", "Pitfalls:")


def value_of(measure: Measure, pair: Pair) -> float:
    found = apply(measure, pair, seed=0, resamples=0)
    assert found.value is not None, f"{measure.id} is undefined: {found.undefined}"
    return found.value


def at_a_limit(measure: Measure, *values: float) -> bool:
    """Say whether all values are the same finite bound of the measure."""
    return any(all(value == limit for value in values) for limit in measure.bounds)


def has_interval(measure: Measure) -> bool:
    """Say whether the value has an interval: over probes, or over units of its own."""
    return measure.resampled or measure.interval is not None


def assert_self_value(measure: Measure, reference: Subject) -> None:
    value = value_of(measure, pair_of(reference, reference))
    if measure.identical is not None:
        assert value == pytest.approx(measure.identical, abs=1e-12)


def assert_closer_scores_closer(measure: Measure, reference: Subject, other: Subject) -> None:
    values = [
        value_of(measure, pair_of(reference, blend(reference, other, share)))
        for share in (0.0, 0.5, 1.0)
    ]
    steps = np.diff(values) * (1 if measure.closer == "higher" else -1)
    # A p-value cannot go below that of its relabellings: there it says "far" of both.
    stuck = [at_a_limit(measure, *two) for two in itertools.pairwise(values)]
    assert ((steps > ROUNDING) | stuck).all(), f"0, 50, 100 % copied: {values}"
    assert steps.sum() > ROUNDING


def assert_within_bounds(measure: Measure, *pairs: Pair) -> None:
    low, high = measure.bounds
    for pair in pairs:
        found = apply(measure, pair, seed=1, resamples=100)
        assert found.value is not None, found.undefined
        assert low <= found.value <= high
        assert (found.interval is not None) == has_interval(measure)
        if found.interval is None:
            continue
        assert low <= found.interval[0] <= found.value <= found.interval[1] <= high


def assert_symmetry_as_declared(measure: Measure, a: Subject, b: Subject) -> None:
    forth, back = value_of(measure, pair_of(a, b)), value_of(measure, pair_of(b, a))
    if measure.symmetric:
        assert forth == pytest.approx(back, abs=ROUNDING)
    else:
        differs = forth != pytest.approx(back, abs=1e-6)
        assert differs or at_a_limit(measure, forth, back), "declared asymmetric, and is not"


def assert_probe_order_irrelevant(measure: Measure, pair: Pair) -> None:
    order = np.random.RandomState(5).permutation(len(pair.probes))
    assert value_of(measure, reordered(pair, order)) == pytest.approx(
        value_of(measure, pair), abs=1e-12
    )


def assert_repeats_may_differ(measure: Measure, a: Subject, b: Subject) -> None:
    assert_within_bounds(measure, pair_of(a, b, repeats=1), pair_of(a, a, repeats=2))


def assert_same_seed_same_bytes(measure: Measure, pair: Pair) -> None:
    first, second, other = (apply(measure, pair, seed=seed, resamples=60) for seed in (3, 3, 4))
    assert _bytes(first) == _bytes(second)
    assert first.value == other.value, "the value is drawn at random"
    assert (first.interval is not None) == has_interval(measure)
    if measure.resampled:
        assert first.interval != other.interval, "the seed changes nothing"


def assert_interval_from_few_probes_is_none(measure: Measure, pair: Pair) -> None:
    few = apply(measure, pair.take(range(7)), seed=0)
    assert few.interval is None or measure.interval is not None
    assert few.value is None or few.probes <= 7


def assert_empty_is_undefined(measure: Measure, pair: Pair) -> None:
    empty = pair.take([])
    _assert_undefined(apply(measure, empty, seed=0))
    if not measure.resampled:
        return  # what it reads does not belong to probes
    # The function itself, too: it is public, and must not turn nothing into a number.
    try:
        raw = measure(empty)
    except UndefinedError:
        return
    assert measure.reduce == "mean", f"returned {raw} for no probe"
    assert np.shape(raw) == (0,), f"returned {raw} for no probe"


def assert_missing_is_undefined(measure: Measure, pair: Pair) -> None:
    for field in measure.needs:
        for lacking in _without(pair, field):
            found = apply(measure, lacking, seed=0)
            _assert_undefined(found)
            assert found.undefined == "the reason"
    _assert_undefined(apply(measure, with_weights(pair, np.zeros(P)), seed=0))


def _without(pair: Pair, field: str) -> list[Pair]:
    why = {field: "the reason"}
    if field == "choices":  # of positions, else of lists
        suspect = replace(pair.suspect, topk=None)
        return [replace(pair, why={"positions": "the reason"}, positions=None, suspect=suspect)]
    if field in OF_THE_PAIR:
        return [replace(pair, why=why, **{field: () if field == "pool" else None})]
    return [
        replace(pair, why=why, **{side: replace(getattr(pair, side), **{field: None})})
        for side in ("reference", "suspect")
    ]


def _assert_undefined(found: Measurement) -> None:
    assert found.value is None
    assert found.interval is None
    assert found.undefined
    assert found.probes == 0


def assert_inputs_not_changed(measure: Measure, pair: Pair) -> None:
    before = _digest(pair)
    measure(pair)
    assert _digest(pair) == before


def _digest(pair: Pair) -> str:
    hasher = hashlib.sha256()
    _feed(hasher, pair)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    """Add everything that a pair holds, so that a field added later is watched, too."""
    if isinstance(value, np.ndarray):
        hasher.update(value.tobytes())
    elif is_dataclass(value):
        for field in fields(value):
            _feed(hasher, getattr(value, field.name))
    elif isinstance(value, tuple):
        for part in value:
            _feed(hasher, part)
    else:
        hasher.update(repr(value).encode())


def assert_identity_probes_do_not_count(measure: Measure, a: Subject, b: Subject) -> None:
    # The copied half would raise any measure of probes, if it counted.
    pair = pair_of(a, b)
    mixed = pair_of(a, blend(a, b, 0.5))
    same = np.array([x == y for x, y in zip(pair.suspect.texts, mixed.suspect.texts, strict=True)])
    kept = apply(measure, mixed.take(np.flatnonzero(same).tolist()), seed=2, resamples=50)
    weighted = apply(measure, with_weights(mixed, same), seed=2, resamples=50)
    assert _bytes(weighted) == _bytes(kept)


def assert_subsets_agree(measure: Measure, pair: Pair) -> None:
    """The fast path on many subsets gives what the function gives on each of them."""
    if measure.subsets is None:
        assert measure.reduce in ("mean", "pooled")
        return
    pair = usable_probes(measure, pair)
    chosen = np.random.RandomState(6).random_sample((4, len(pair.probes))) < 0.5
    slow = [measure(pair.take(np.flatnonzero(row).tolist())) for row in chosen]
    np.testing.assert_allclose(measure.subsets(pair, chosen), slow, atol=1e-8)


def assert_describes_itself(measure: Measure) -> None:
    assert measure.source.stem == measure.name.replace("-", "_")
    assert measure.group in GROUPS
    assert measure.unit
    assert measure.summary.endswith(".")
    for section in SECTIONS:
        assert section in measure.documentation, f"the docstring lacks {section}"
    declared = canonical_json(measure.as_json())
    assert measure.id.encode() in declared


def _bytes(found: Measurement) -> bytes:
    return canonical_json(found.as_json())
