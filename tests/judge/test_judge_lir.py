"""Equality with the package ``lir`` of the Netherlands Forensic Institute on shared cases."""

import math
import warnings

import numpy as np
import pytest

from auditor.errors import UndefinedError
from auditor.judge.assess import cllr, cllr_cal, cllr_min, dev_pav
from auditor.judge.bounds import elub
from auditor.judge.calibrate import (
    fit_kernel,
    fit_logistic,
    pav_log10_lr,
    scored,
    standardisation,
)
from auditor.judge.curves import empirical_cross_entropy, tippett

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    lir = pytest.importorskip("lir", reason="extra `forensic`")
    from lir.algorithms.bayeserror import elub as lir_elub
    from lir.algorithms.isotonic_regression import IsotonicCalibrator
    from lir.algorithms.kde import KDECalibrator
    from lir.algorithms.logistic_regression import LogitCalibrator
    from lir.data.models import LLRData
    from lir.metrics import cllr as lir_cllr
    from lir.metrics import cllr_cal as lir_cllr_cal
    from lir.metrics import cllr_min as lir_cllr_min
    from lir.metrics.devpav import devpav as lir_devpav
    from lir.plotting.expected_calibration_error import calculate_ece

ASK = np.linspace(-3, 3, 7)


def cases():
    random = np.random.RandomState(0)
    for number in range(16):
        n, m = random.randint(4, 60, 2)
        distance, spread = random.uniform(0, 2), random.uniform(0.5, 3)
        values = np.concatenate(
            [random.normal(distance, spread, n), random.normal(-distance, 1, m)]
        )
        if number % 3 == 0:
            values = np.round(values, 1)  # ties
        yield values, np.array([1] * n + [0] * m)


CASES = list(cases())


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_costs_are_equal(values, labels):
    controls, oracle = scored(values, labels == 1), LLRData(features=values, labels=labels)
    assert cllr(controls) == pytest.approx(lir_cllr(oracle), abs=1e-12)
    assert cllr_min(controls) == pytest.approx(lir_cllr_min(oracle), abs=1e-12)
    assert cllr_cal(controls) == pytest.approx(lir_cllr_cal(oracle), abs=1e-12)


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_dev_pav_is_equal_and_undefined_where_theirs_is_nan(values, labels):
    expected = lir_devpav(values, labels)
    if np.isnan(expected):
        with pytest.raises(UndefinedError):
            dev_pav(scored(values, labels == 1))
    else:
        assert dev_pav(scored(values, labels == 1)) == pytest.approx(float(expected), abs=1e-10)


@pytest.mark.parametrize(("values", "labels"), CASES)
@pytest.mark.parametrize("stretch", [1.0, 4.0])
def test_bounds_are_equal(values, labels, stretch):
    expected = lir_elub(values * stretch, labels)
    found = elub(values[labels == 1] * stretch, values[labels == 0] * stretch)
    assert found == pytest.approx(expected, abs=1e-9)


def test_bounds_of_infinite_ratios_are_equal():
    first, second = np.array([math.inf, 2.0, 1.0, 0.5]), np.array([-math.inf, -1.0, 0.2, -3.0])
    labels = np.array([1] * 4 + [0] * 4)
    assert elub(first, second) == pytest.approx(lir_elub(np.concatenate([first, second]), labels))


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_pav_is_equal(values, labels):
    with np.errstate(divide="ignore"):
        expected = IsotonicCalibrator().fit_transform(values, labels)
    assert pav_log10_lr(scored(values, labels == 1)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_kernel_ratios_are_equal(values, labels):
    expected = KDECalibrator("silverman").fit(values, labels).transform(ASK)
    found = fit_kernel(scored(values, labels == 1)).log10_lr(ASK)
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_logistic_ratios_are_equal_on_standardised_scores(values, labels):
    controls = scored(values, labels == 1)
    mean, scale = standardisation(controls.values, controls.weights)
    oracle = LogitCalibrator(tol=1e-10, max_iter=10_000).fit((values - mean) / scale, labels)
    found = fit_logistic(controls, signed=False).log10_lr(ASK * scale + mean)
    assert found == pytest.approx(oracle.transform(ASK), abs=1e-5)


@pytest.mark.parametrize(("values", "labels"), CASES)
def test_empirical_cross_entropy_is_equal(values, labels):
    found = empirical_cross_entropy(scored(values, labels == 1))
    odds = 10.0**found.log10_prior_odds
    priors = odds / (1 + odds)
    assert found.lr == pytest.approx(calculate_ece(10.0**values, labels, priors), abs=1e-9)
    ones = np.ones(len(values))
    assert found.ignored == pytest.approx(calculate_ece(ones, labels, priors), abs=1e-9)
    pav = 10.0 ** pav_log10_lr(scored(values, labels == 1))
    assert found.pav == pytest.approx(calculate_ece(pav, labels, priors), abs=1e-9)


def test_tippett_points_are_on_their_curve():
    # Their curve of type 1 at x: the share of scores >= x.
    values, labels = CASES[1]
    found = tippett(scored(values, labels == 1))
    for (x, share), own in ((found.first, 1), (found.second, 0)):
        expected = [(values[labels == own] >= point).mean() for point in x]
        assert share == pytest.approx(expected)
