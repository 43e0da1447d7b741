import math

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.bootstrap import Draws, contrast_interval, family_counts


def world(random, families, probes, *, between, within, shift=0.0):
    """Return (K + 1, P): a model effect, a probe effect and noise; the suspect shifted."""
    models = random.normal(0, between, (families + 1, 1))
    models[0] = shift
    shared = random.normal(0, 1, (1, probes))
    return models + shared + random.normal(0, within, (families + 1, probes))


def test_the_interval_covers_the_contrast_with_the_population():
    random = np.random.RandomState(0)
    covered = []
    for run in range(200):
        values = world(random, 8, 30, between=1.0, within=1.0, shift=2.0)
        low, high = contrast_interval(values, Draws(seed=run, resamples=200))
        covered.append(low <= 2.0 <= high)
    # Nominal 95 %: the standard error of 200 runs is 1.5 %.
    assert np.mean(covered) > 0.91


def test_models_that_differ_widen_it_and_probes_cannot_narrow_it():
    random = np.random.RandomState(1)
    values = world(random, 10, 1000, between=1.0, within=1.0)
    low, high = contrast_interval(values, Draws(seed=0))
    # Between models alone: t_9 (2.262) sd / sqrt(10) to either side.
    expected = 2 * 2.262 * values[1:].mean(axis=1).std(ddof=1) / math.sqrt(10)
    assert high - low == pytest.approx(expected, rel=0.2)


def test_the_same_seed_gives_the_same_interval():
    values = world(np.random.RandomState(2), 5, 12, between=1.0, within=1.0)
    assert contrast_interval(values, Draws(seed=4)) == contrast_interval(values, Draws(seed=4))
    assert contrast_interval(values, Draws(seed=4)) != contrast_interval(values, Draws(seed=5))


def test_a_probe_that_a_model_lacks_is_left_out_for_all():
    values = world(np.random.RandomState(3), 5, 12, between=1.0, within=1.0)
    holed = np.concatenate([values, np.full((6, 1), 1e6)], axis=1)
    holed[3, -1] = math.nan
    assert contrast_interval(holed, Draws(seed=0)) == contrast_interval(values, Draws(seed=0))


@pytest.mark.parametrize("shape", [(3, 20), (9, 7)])
def test_too_few_families_or_probes_are_undefined(shape):
    with pytest.raises(UndefinedError, match=f"{shape[0] - 1} control families and {shape[1]}"):
        contrast_interval(np.random.RandomState(0).normal(size=shape), Draws(seed=0))


def test_each_class_keeps_its_number_of_families():
    counts = family_counts(np.array([0, 0, 0, 1, 1]), list("aabcd"), Draws(seed=0, resamples=50))
    assert counts.shape == (50, 5)
    # Members of family a are drawn together; a + b = 2 and c + d = 2 in every draw.
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 1] + counts[:, 2] == 2).all()
    assert (counts[:, 3] + counts[:, 4] == 2).all()
    assert len(np.unique(counts, axis=0)) > 5
