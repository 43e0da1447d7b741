import math

import numpy as np
import pytest
from scipy.stats import chi2, norm

from auditor.errors import UndefinedError
from auditor.judge.scope import Part, heterogeneity_p, runs, scope


def parts(*values):
    return [Part(name=f"c{number}", p=value) for number, value in enumerate(values)]


def test_a_part_shows_after_holm_over_the_parts():
    # Of four: .01 * 4 = .04 shows; .02 * 3 = .06 does not.
    found = scope(parts(0.02, 0.01, 0.5, 0.9))
    assert [part.adjusted for part in found.parts] == pytest.approx([0.06, 0.04, 1.0, 1.0])
    assert found.shown == ("c1",)


def test_a_link_in_nearly_all_parts_is_broad():
    found = scope(parts(1e-5, 1e-6, 1e-4, 1e-5, 0.3))
    assert found.extent == "broad"
    assert found.sentence == "The link shows in 4 of 5 parts: broad."


def test_a_link_in_some_parts_that_differ_is_targeted():
    found = scope(parts(1e-9, 1e-8, 0.4, 0.6, 0.8))
    assert found.extent == "targeted"
    assert found.heterogeneity_p < 0.05
    assert found.sentence.endswith("targeted at c0, c1.")


def test_a_part_that_does_not_show_is_no_difference_by_itself():
    # .004 * 5 = .02 shows, .03 does not; z of 2.65 and 1.88 differ by chance.
    found = scope(parts(0.004, 0.03, 0.03, 0.03, 0.03))
    assert found.shown == ("c0",)
    assert found.extent == "undecided"
    assert "cannot be told" in found.sentence


def test_a_link_in_more_than_half_and_not_nearly_all_is_undecided():
    assert scope(parts(1e-9, 1e-9, 1e-9, 0.5, 0.6)).extent == "undecided"


def test_no_link_shows_nowhere():
    found = scope(parts(0.3, 0.6, 0.9))
    assert (found.extent, found.shown) == ("none", ())
    assert found.sentence == "The link shows in none of 3 parts taken singly."


def test_a_part_without_a_value_keeps_its_reason_and_counts_in_nothing():
    given = [*parts(0.02, 0.6), Part(name="code", p=None, reason="no probe was answered")]
    found = scope(given)
    assert found.tested == 2
    assert found.parts[2].reason == "no probe was answered"
    assert not found.parts[2].shows
    # Two tests, not three: .02 * 2 = .04.
    assert found.shown == ("c0",)


def test_one_part_is_neither_broad_nor_targeted():
    assert scope(parts(1e-9)).extent == "undecided"
    assert scope([]).extent == "none"


def test_heterogeneity_by_hand():
    # z = 0 and 2: mean 1, Q = 2, one degree of freedom.
    assert heterogeneity_p([0.5, float(norm.sf(2))]) == pytest.approx(chi2.sf(2, 1))
    assert heterogeneity_p([0.2, 0.2, 0.2]) == pytest.approx(1.0)
    assert heterogeneity_p([0.2]) is None


def test_heterogeneity_is_uniform_where_parts_are_alike():
    random = np.random.RandomState(0)
    z = 3 + random.normal(size=(2000, 6))
    found = np.array(
        [heterogeneity_p((0.5 * np.vectorize(math.erfc)(row / 2**0.5)).tolist()) for row in z]
    )
    assert (found < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_p_values_of_zero_and_one_stay_finite():
    found = scope(parts(0.0, 1.0))
    assert found.extent == "targeted"
    assert 0 <= found.heterogeneity_p < 1e-10


def test_what_is_no_p_value_is_refused():
    with pytest.raises(UndefinedError, match="outside"):
        scope(parts(0.5, 1.5))


def test_copied_layers_are_given_as_runs():
    layers = [f"layer {i}" for i in range(6)]
    shown = ["layer 1", "layer 2", "layer 4", "layer 5"]
    assert runs(layers, shown) == (("layer 1", "layer 2"), ("layer 4", "layer 5"))
    assert runs(layers, layers) == (("layer 0", "layer 5"),)
    assert runs(layers, []) == ()
