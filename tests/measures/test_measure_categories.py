"""The decisive measures with one probe category left out."""

from dataclasses import replace

import pytest
from measure_worlds import pair_of, pool_subjects, probes, small_pair, subject
from test_measure_idiosyncratic import rows

from auditor.measures import get
from auditor.measures._categories import without_categories
from auditor.panel import Control

NAMES = ("sample-llr", "idiosyncratic-agreement")


def test_each_value_is_the_measure_on_the_other_probes():
    pair = pair_of(subject("reference", 1), pool_subjects()[0])
    found = without_categories(pair, ("sample-llr",))["sample-llr@1"]
    categories = [probe.category for probe in pair.probes]
    assert sorted(found) == sorted(set(categories))
    for name, value in found.items():
        kept = [i for i, category in enumerate(categories) if category != name]
        assert value == pytest.approx(get("sample-llr")(pair.take(kept)), abs=1e-9)
    assert len({round(value, 9) for value in found.values()}) > 1


def test_share_by_hand_without_each_category():
    # The controls stand together at 2 everywhere; the suspect follows at all 3 positions of the
    # first probe and not at the 1 of the second: without "a" 0 of 1, without "b" 3 of 3.
    asked = tuple(
        replace(probe, category=name) for probe, name in zip(probes(2), "ab", strict=True)
    )
    where = [0, 0, 0, 1]
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=f"f{i}", positions=rows([2] * 4, where))
        for i in range(3)
    )
    pair = small_pair(positions=rows([1, 1, 1, 2], where, [1] * 4), pool=pool, asked=asked)
    found = without_categories(pair, NAMES)
    assert found == {"idiosyncratic-agreement@1": {"a": 0.0, "b": 1.0}}


def test_a_value_that_is_undefined_on_the_rest_is_none():
    asked = tuple(
        replace(probe, category=name) for probe, name in zip(probes(2), "ab", strict=True)
    )
    where = [0, 1]
    pool = tuple(
        # At the second probe all controls say what the reference says: it never stands alone.
        Control(name=f"c{i}", role="independent", family=f"f{i}", positions=rows([2, 1], where))
        for i in range(3)
    )
    pair = small_pair(positions=rows([1, 1], where, [1, 1]), pool=pool, asked=asked)
    found = without_categories(pair, NAMES)["idiosyncratic-agreement@1"]
    assert found == {"a": None, "b": 1.0}


def test_one_category_leaves_nothing_to_ask():
    asked = tuple(replace(probe, category="a") for probe in probes(2))
    pool = tuple(
        Control(name=f"c{i}", role="independent", family=f"f{i}", positions=rows([2, 2], [0, 1]))
        for i in range(3)
    )
    pair = small_pair(positions=rows([1, 1], [0, 1], [1, 1]), pool=pool, asked=asked)
    assert get("idiosyncratic-agreement")(pair) == 1.0
    assert without_categories(pair, NAMES) == {}
