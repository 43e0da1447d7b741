"""Histogram and categories of the divergence, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from test_report_samples import pair_of

from auditor.outputs import POSITION, Pair
from auditor.report.divergence import kl_by_kind, kl_histogram


def test_histogram_counts_every_position_once():
    kl = np.array([0.0, 0.0, 1e-3, 0.02, 0.5, 0.5, np.nan, np.inf, -1e-12])
    found = kl_histogram(kl)
    # -1e-12 is rounding below 0; NaN and inf have no value
    assert found.zeros == 3
    assert found.undefined == 2
    assert sum(found.counts) == 4
    assert found.positions == len(kl)
    # finite, cut at 0: 0 0 0 1e-3 0.02 0.5 0.5
    assert found.median == 1e-3


def test_histogram_edges_are_quarters_of_the_decades_around_the_values():
    found = kl_histogram(np.array([0.002, 0.3]))
    # 10^-3 .. 10^0, four bins a decade
    assert found.edges == pytest.approx([10 ** (-3 + i / 4) for i in range(13)])
    # 0.002 = 10^-2.70 in the second bin, 0.3 = 10^-0.52 in the tenth
    assert found.counts == (0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0)


def test_histogram_of_many_decades_has_24_bins():
    assert len(kl_histogram(np.array([1e-12, 1.0])).counts) == 24


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [np.nan]])
def test_histogram_without_a_positive_value_is_empty(values):
    found = kl_histogram(np.array(values, dtype=np.float64))
    assert found.counts == ()
    assert found.positions == len(values)


def pair_with(kl: list[tuple[int, float]], categories: list[str], weights: list[float]) -> Pair:

    pair = pair_of([("a", "b")] * len(categories))
    probes = tuple(
        replace(probe, category=category, weight=weight)
        for probe, category, weight in zip(pair.probes, categories, weights, strict=True)
    )
    rows = np.zeros(len(kl), dtype=POSITION)
    rows["probe"] = [probe for probe, _ in kl]
    rows["kl_ab"] = [value for _, value in kl]
    sides = [replace(side, probes=probes) for side in (pair.reference, pair.suspect)]
    return Pair(reference=sides[0], suspect=sides[1], positions=rows)


def test_kind_is_the_mean_over_probes_of_means_over_positions():
    categories = ["a", "a", "b", "identity"]
    pair = pair_with(
        [(0, 1.0), (0, 3.0), (1, 4.0), (2, 0.5), (2, np.nan), (3, 9.0)],
        categories,
        [1.0, 1.0, 1.0, 0.0],
    )
    found = kl_by_kind(pair, categories)
    # a: (mean(1, 3) + 4) / 2 = 3; b: 0.5, its NaN not counted; weight 0 left out
    assert [(c.name, c.mean, c.probes, c.positions) for c in found] == [
        ("a", 3.0, 2, 3),
        ("b", 0.5, 1, 1),
    ]
    assert found[0].spread == (2.0, 4.0)


def test_probe_without_a_position_is_not_counted():
    pair = pair_with([(0, 1.0)], ["a", "a"], [1.0, 1.0])
    assert [(c.probes, c.mean) for c in kl_by_kind(pair, ["a", "a"])] == [(1, 1.0)]
