"""Registry, framework and intervals."""

import math
import subprocess
import sys

import numpy as np
import pytest
from measure_worlds import pair_of, small_pair, subject, with_weights
from scipy import stats

from auditor.errors import InputError, RegistryError, UndefinedError
from auditor.measures import all_measures, get, measure
from auditor.measures._resample import (
    derived_seed,
    half_sample_interval,
    half_samples,
    mean_interval,
)
from auditor.measures._run import apply, measure_pair
from auditor.outputs import POSITION

DECLARED = {
    "version": 1,
    "group": "text",
    "unit": "share",
    "bounds": (0.0, 1.0),
    "identical": 1.0,
    "closer": "higher",
    "symmetric": True,
    "needs": ("texts",),
}


def test_all_measures_are_sorted_and_scanned_once():
    names = [one.name for one in all_measures()]
    assert names == sorted(names)
    assert all_measures() is all_measures()


def test_a_measure_is_found_by_name_and_by_version():
    assert get("logit-js") is get("logit-js@1")


def test_an_unknown_measure_is_named_with_its_neighbours():
    with pytest.raises(InputError, match="unknown measure 'logit-jss'") as caught:
        get("logit-jss")
    assert "logit-js" in caught.value.hint


def test_another_version_is_refused():
    with pytest.raises(InputError, match="logit-js@7") as caught:
        get("logit-js@7")
    assert "logit-js@1" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"version": 0}, "version"),
        ({"group": "vibes"}, "group"),
        ({"needs": ()}, "needs"),
        ({"needs": ("weights",)}, "needs"),
        ({"identical": 2.0}, "identical"),
        ({"subsets": lambda pair, chosen: chosen}, "subsets"),
    ],
)
def test_a_contradictory_declaration_is_refused(change, fault):
    with pytest.raises(RegistryError, match=fault):

        @measure("bad", **{**DECLARED, **change})
        def bad(pair):
            """Return nothing."""


def test_importing_the_package_and_listing_it_loads_no_torch():
    code = (
        "import sys, auditor.measures as m; m.all_measures(); "
        "print([n for n in ('torch', 'sacrebleu', 'scipy') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_measure_pair_gives_one_measurement_a_measure_in_registry_order():
    pair = pair_of(subject("alpha", 1), subject("beta", 2))
    found = measure_pair(pair, seed=0, resamples=20, names=["logit-tv", "logit-js@1"])
    assert [one.measure for one in found] == ["logit-js@1", "logit-tv@1"]
    assert found[0].inputs == ("arrays/agreement/beta.npy",)
    assert found[0].implementation == f"numpy {np.__version__}; 20 bootstrap resamples"
    assert found[0].probes == len(pair.probes)


def test_a_measurement_does_not_depend_on_which_others_run():
    pair = pair_of(subject("alpha", 1), subject("beta", 2))
    alone = measure_pair(pair, seed=0, resamples=20, names=["logit-tv"])
    beside = measure_pair(pair, seed=0, resamples=20, names=["logit-js", "logit-tv"])
    assert alone[0] == beside[1]


def test_identity_probes_alone_leave_everything_undefined():
    pair = with_weights(pair_of(subject("alpha", 1), subject("beta", 2)), np.zeros(48))
    found = measure_pair(pair, seed=0, names=["logit-tv", "text-chrf"])
    assert {one.undefined for one in found} == {"every probe has weight 0 and enters no conclusion"}


def test_a_mean_measure_that_returns_another_shape_is_refused():
    @measure("bad", **DECLARED)
    def bad(pair):
        """Return one number, as if pooled."""
        return np.float64(0.5)

    with pytest.raises(RegistryError, match=r"shape \(\) for 1 probes"):
        apply(bad, small_pair(texts=([["a"]], [["a"]])), seed=0)


def test_a_mean_measure_that_returns_float32_is_refused():
    @measure("bad", **DECLARED)
    def bad(pair):
        """Return values that lost half of their digits."""
        return np.full(len(pair.probes), 0.1, dtype=np.float32)

    with pytest.raises(RegistryError, match="returned float32"):
        apply(bad, small_pair(texts=([["a"]], [["a"]])), seed=0)


def test_an_infinite_value_is_refused():
    @measure("bad", **{**DECLARED, "bounds": (0.0, math.inf)})
    def bad(pair):
        """Return infinity."""
        return np.full(len(pair.probes), np.inf)

    with pytest.raises(ValueError, match="may not enter a file"):
        apply(bad, small_pair(texts=([["a"]], [["a"]])), seed=0)


def test_a_pooled_measure_without_a_fast_path_is_recomputed_on_halves():
    @measure("spread", **{**DECLARED, "bounds": (0.0, 9.0), "identical": 0.0, "reduce": "pooled"})
    def spread(pair):
        """Return the range of the total variations."""
        if len(pair.probes) < 2:
            raise UndefinedError("no range")
        return float(np.ptp(pair.positions["tv"]))

    rows = np.zeros(20, dtype=POSITION)
    rows["probe"], rows["tv"] = np.arange(20), np.linspace(0.0, 1.0, 20)
    pair = small_pair(positions=rows, texts=([["a"]] * 20, [["a"]] * 20))
    found = apply(spread, pair, seed=0, resamples=50)
    assert found.value == 1.0
    assert found.implementation.endswith("; 50 half-samples")
    # A half has at most the whole range, so turned around the value: [1, 1 + something].
    assert found.interval[0] == 1.0 < found.interval[1]


def test_the_bootstrap_interval_of_a_mean_matches_scipy():
    values = np.random.RandomState(3).gamma(2.0, size=60)
    ours = mean_interval(values, seed=0, resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", random_state=1
    ).confidence_interval
    # Monte Carlo error of a 2.5 % point with 20,000 draws: about 0.02 standard errors.
    scale = values.std() / math.sqrt(60)
    assert ours == pytest.approx(tuple(theirs), abs=0.08 * scale)


def test_the_bootstrap_does_not_depend_on_the_block_size(monkeypatch):
    import auditor.measures._resample as module

    values = np.random.RandomState(3).normal(size=30)
    whole = mean_interval(values, seed=5, resamples=101)
    monkeypatch.setattr(module, "_BLOCK", 30 * 7)
    assert mean_interval(values, seed=5, resamples=101) == whole


def test_half_samples_hold_half_of_the_probes_each_equally_often():
    chosen = half_samples(9, seed=0, resamples=3000)
    assert chosen.shape == (3000, 9)
    assert (chosen.sum(axis=1) == 4).all()
    # Binomial(3000, 4/9): standard deviation 27; five of them
    assert np.abs(chosen.sum(axis=0) - 3000 * 4 / 9).max() < 136


@pytest.mark.parametrize("n", [13, 80])
def test_half_samples_of_a_mean_have_the_variance_of_the_mean(n):
    # Without replacement Var(half - all) scaled by m/(n - m) is S^2/n, S^2 with n - 1; the width
    # of the interval is then 2 * 1.96 standard errors.
    values = np.random.RandomState(4).normal(size=n)

    def means(chosen):
        return (chosen @ values) / chosen.sum(axis=1)

    low, high = half_sample_interval(values.mean(), n, means, seed=0, resamples=20_000)
    standard_error = values.std(ddof=1) / math.sqrt(n)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.04)


def test_a_statistic_undefined_on_a_half_has_no_interval():
    def undefined(chosen):
        raise UndefinedError("too few")

    assert half_sample_interval(0.5, 20, undefined, seed=0, resamples=10) is None


def test_an_interval_is_cut_at_the_bounds():
    # One probe of 30 differs. In halves that hold it CKA is lower by more than 1 - value, and
    # turned around the value they pass 1.
    x = np.random.RandomState(0).normal(size=(30, 3))
    y = np.concatenate([-0.3 * x[:1], x[1:]])
    found = apply(get("hidden-cka"), small_pair(hidden=(x, y)), seed=0)
    assert 0.8 < found.value < 1.0
    assert found.interval[1] == 1.0


def test_seeds_differ_by_measure_and_by_seed():
    assert len({derived_seed(s, name) for s in (0, 1, -1, 2**70) for name in ("a@1", "b@1")}) == 8
