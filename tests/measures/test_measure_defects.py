"""Known defects of similarity tools, planted on purpose: each must be caught by the contract."""

import sys
from dataclasses import replace
from types import ModuleType

import measure_contract as contract
import numpy as np
import pytest
from measure_worlds import P, T, pair_of, subject

from auditor.errors import RegistryError
from auditor.measures import _run as run
from auditor.measures import get, measure
from auditor.measures._positions import column, probe_means
from auditor.measures._registry import scan

A, B = subject("alpha", 1), subject("beta", 2)
PAIR = pair_of(A, B)
DECLARED = {
    "version": 1,
    "group": "distribution",
    "unit": "nats/token",
    "bounds": (0.0, np.inf),
    "identical": 0.0,
    "closer": "lower",
    "symmetric": False,
    "needs": ("positions",),
}
CAUGHT = (AssertionError, ValueError)


def assert_caught(check, *arguments):
    with pytest.raises(CAUGHT):
        check(*arguments)


def test_the_checks_pass_on_a_sound_measure():
    sound = get("logit-kl-forward")
    contract.assert_self_value(sound, A)
    contract.assert_closer_scores_closer(sound, A, B)
    contract.assert_symmetry_as_declared(sound, A, B)
    contract.assert_same_seed_same_bytes(sound, PAIR)
    contract.assert_empty_is_undefined(sound, PAIR)
    contract.assert_inputs_not_changed(sound, PAIR)
    assert sound.identical == 0.0


def test_a_cross_entropy_called_kl_is_caught():
    entropy = np.array([1.0])

    @measure("kl", **DECLARED)
    def cross_entropy(pair):
        """Return KL plus the entropy that was not taken off."""
        return probe_means(pair, column(pair, "kl_ab") + entropy)

    assert_caught(contract.assert_self_value, cross_entropy, A)


def test_a_wrong_direction_is_caught():
    @measure("kl", **{**DECLARED, "closer": "higher"})
    def backwards(pair):
        """Return KL, said to be higher where models are closer."""
        return probe_means(pair, column(pair, "kl_ab"))

    assert_caught(contract.assert_closer_scores_closer, backwards, A, B)


def test_a_wrong_symmetry_is_caught_either_way():
    @measure("kl", **{**DECLARED, "symmetric": True})
    def one_sided(pair):
        """Return KL, said to be symmetric."""
        return probe_means(pair, column(pair, "kl_ab"))

    @measure("js", **DECLARED)
    def two_sided(pair):
        """Return JS, said not to be symmetric."""
        return probe_means(pair, column(pair, "js"))

    assert_caught(contract.assert_symmetry_as_declared, one_sided, A, B)
    assert_caught(contract.assert_symmetry_as_declared, two_sided, A, B)


def test_bounds_that_are_too_narrow_are_caught():
    @measure("kl", **{**DECLARED, "bounds": (0.0, 0.01)})
    def narrow(pair):
        """Return KL, said to stay below 0.01."""
        return probe_means(pair, column(pair, "kl_ab"))

    assert_caught(contract.assert_within_bounds, narrow, PAIR)


def test_writing_into_the_evidence_is_caught():
    @measure("kl", **DECLARED)
    def clipping(pair):
        """Return KL after clipping it in place."""
        values = column(pair, "kl_ab")
        np.clip(values, 0.0, 1.0, out=values)
        return probe_means(pair, values)

    assert_caught(contract.assert_inputs_not_changed, clipping, PAIR)


def test_writing_into_a_nested_part_of_the_evidence_is_caught():
    @measure("tv", **{**DECLARED, "reduce": "pooled", "needs": ("transcripts",)})
    def drifting(pair):
        """Return a sum after raising the reference's transcript in place."""
        pair.transcripts[0]["logprob"] += 1.0
        return float(pair.transcripts[0]["logprob"].sum())

    own = replace(PAIR, transcripts=tuple(rows.copy() for rows in PAIR.transcripts))
    assert_caught(contract.assert_inputs_not_changed, drifting, own)


def test_an_interval_where_none_can_be_is_caught(monkeypatch):
    unsampled = replace(get("embedding-mmd"), resampled=False)
    contract.assert_within_bounds(unsampled, PAIR)
    sampled = run.apply(get("embedding-mmd"), PAIR, seed=1, resamples=100)
    monkeypatch.setattr(contract, "apply", lambda *_, **__: sampled)
    assert_caught(contract.assert_within_bounds, unsampled, PAIR)


def test_a_number_for_no_probe_is_caught():
    @measure("mmd", **{**DECLARED, "reduce": "pooled"})
    def pooled(pair):
        """Return 0 where there is nothing."""
        return float(pair.positions["tv"].mean()) if len(pair.probes) else 0.0

    @measure("tv", **DECLARED)
    def mean(pair):
        """Return one 0 where there is nothing."""
        return probe_means(pair, column(pair, "tv")) if pair.probes else np.zeros(1)

    assert_caught(contract.assert_empty_is_undefined, pooled, PAIR)
    assert_caught(contract.assert_empty_is_undefined, mean, PAIR)


def test_a_mean_over_the_wrong_axis_is_caught():
    @measure("tv", **DECLARED)
    def transposed(pair):
        """Return the mean over probes at each position."""
        return column(pair, "tv").reshape(P, T).mean(axis=0)

    with pytest.raises(RegistryError, match=r"shape \(5,\) for 48 probes"):
        contract.value_of(transposed, PAIR)


def test_a_dependence_on_the_order_of_probes_is_caught():
    @measure("tv", **DECLARED)
    def weighted(pair):
        """Return TV with later probes weighing more."""
        return probe_means(pair, column(pair, "tv")) * np.arange(len(pair.probes))

    assert_caught(contract.assert_probe_order_irrelevant, weighted, PAIR)


def test_a_random_value_is_caught():
    @measure("tv", **DECLARED)
    def noisy(pair):
        """Return TV with noise from nowhere."""
        return probe_means(pair, column(pair, "tv")) + np.random.normal(size=len(pair.probes))

    assert_caught(contract.assert_same_seed_same_bytes, noisy, PAIR)


def test_an_unseeded_bootstrap_is_caught(monkeypatch):
    def unseeded(values, *, seed, resamples):
        means = [np.random.choice(values, len(values)).mean() for _ in range(resamples)]
        return float(min(means)), float(max(means))

    monkeypatch.setattr(run, "mean_interval", unseeded)
    assert_caught(contract.assert_same_seed_same_bytes, get("logit-tv"), PAIR)


def test_a_bootstrap_that_ignores_its_seed_is_caught(monkeypatch):
    monkeypatch.setattr(run, "derived_seed", lambda seed, name: 0)
    assert_caught(contract.assert_same_seed_same_bytes, get("logit-tv"), PAIR)


def test_a_fast_path_that_disagrees_is_caught():
    @measure(
        "tv",
        **{**DECLARED, "reduce": "pooled"},
        subsets=lambda pair, chosen: np.full(len(chosen), 0.5),
    )
    def pooled(pair):
        """Return the mean TV, with a fast path that returns something else."""
        return float(column(pair, "tv").mean())

    assert_caught(contract.assert_subsets_agree, pooled, PAIR)


def test_counting_identity_probes_is_caught(monkeypatch):
    monkeypatch.setattr(run, "usable_probes", lambda measure, pair: pair)
    assert_caught(contract.assert_identity_probes_do_not_count, get("logit-tv"), A, B)


def test_a_docstring_without_pitfalls_is_caught():
    @measure("tv", **DECLARED)
    def silent(pair):
        """Return TV.

        Formula: half the sum. Range: [0, 1]. Degenerate: none.
        """
        return probe_means(pair, column(pair, "tv"))

    assert_caught(contract.assert_describes_itself, silent)


FILE = '''
from auditor.measures import measure

@measure("{name}", version=1, group="text", unit="share", bounds=(0.0, 1.0), identical=1.0,
         closer="higher", symmetric=True, needs=("texts",))
def one(pair):
    """Return nothing."""
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that makes a package of measure files and scans it."""

    def scanned(**files: str):
        name = f"planted_{len(list(tmp_path.iterdir()))}_{tmp_path.name.replace('-', '_')}"
        folder = tmp_path / name
        folder.mkdir()
        for stem, content in {"__init__": "", **files}.items():
            (folder / f"{stem}.py").write_text(content, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        module = __import__(name)
        assert isinstance(module, ModuleType)
        return scan(module)

    yield scanned
    for name in [name for name in sys.modules if name.startswith("planted_")]:
        del sys.modules[name]


def test_the_scan_is_sorted_by_name_and_skips_private_files(package):
    found = package(b=FILE.format(name="first"), a=FILE.format(name="second"), _c="1 / 0")
    assert [one.name for one in found] == ["first", "second"]


def test_a_doubly_used_name_names_both_files(package):
    with pytest.raises(RegistryError) as caught:
        package(first=FILE.format(name="twin"), second=FILE.format(name="twin"))
    assert "first.py" in caught.value.message
    assert "second.py" in caught.value.message


@pytest.mark.parametrize("content", ["1 / 0", "def broken(:", "import no_such_library_at_all"])
def test_a_file_that_cannot_be_imported_is_named(package, content):
    with pytest.raises(RegistryError, match=r"broken\.py cannot be imported"):
        package(sound=FILE.format(name="sound"), broken=content)


def test_a_file_without_a_measure_is_named(package):
    with pytest.raises(RegistryError, match=r"empty\.py defines 0 measures"):
        package(empty="X = 1\n")


def test_two_measures_in_one_file_are_refused(package):
    second = FILE.replace("def one", "def two").format(name="two")
    with pytest.raises(RegistryError, match=r"pair\.py defines 2 measures"):
        package(pair=FILE.format(name="one") + second)


def test_a_measure_imported_from_another_file_is_not_counted_twice(package):
    own = FILE.replace("def one", "def two").format(name="second")
    found = package(base=FILE.format(name="first"), user="from .base import one\n" + own)
    assert [one.name for one in found] == ["first", "second"]
