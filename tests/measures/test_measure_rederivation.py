"""Hand-worked values of rederived-share and merge-share."""

import math
from dataclasses import replace

import numpy as np
import pytest

from auditor.measures import get
from auditor.measures._mixture import solve_mixture, standard_error
from auditor.measures._run import apply
from auditor.outputs import OutputSet, Pair
from auditor.panel import MIXTURE, REDERIVATION
from auditor.types import Access, ModelRef, Probe

REDERIVED, MERGE = get("rederived-share"), get("merge-share")


def pair(**fields):
    probe = Probe(id="p", category="c", text="t")
    sides = [
        OutputSet(subject=name, model=ModelRef(spec=name, access=Access.WEIGHTS), probes=(probe,))
        for name in ("reference", "suspect")
    ]
    return Pair(reference=sides[0], suspect=sides[1], **fields)


def rederivation(*rows):
    table = np.zeros(len(rows), dtype=REDERIVATION)
    for row, (name, equal, elements) in zip(table, rows, strict=True):
        row["transform"], row["partner"] = name, -1
        row["elements_equal"], row["elements"] = equal, elements
    return table


def mixture(*groups):
    """Return rows of (layer, group, blocks); a block is its (1 + K, n) vectors, m first."""
    rows = []
    for layer, group, blocks in groups:
        for number, vectors in enumerate(blocks):
            m, r, *others = np.asarray(vectors, dtype=np.float64)
            against = np.stack([m - r, r, *(p - r for p in others)])
            row = np.zeros((), dtype=MIXTURE)
            row["layer"], row["group"], row["block"] = layer, group, number
            row["elements"] = against.shape[1]
            row["parents"][2:] = -1
            row["gram"][: len(against), : len(against)] = against @ against.T
            rows.append(row)
    return np.array(rows, dtype=MIXTURE)


def measured(one, **fields):
    return apply(one, pair(**fields), seed=0, resamples=200)


def test_the_best_transform_counts():
    # 30 of 40 beats 10 of 50.
    found = measured(REDERIVED, rederivation=rederivation(("copy", 10, 50), ("int4", 30, 40)))
    assert (found.value, found.interval) == (0.75, None)
    assert found.inputs == ("arrays/rederivation/suspect.npy",)


def test_nothing_tested_is_undefined():
    assert measured(REDERIVED, rederivation=rederivation()).undefined == "no transform was tried"
    empty = measured(REDERIVED, rederivation=rederivation(("copy", 0, 0)))
    assert "could be tested" in empty.undefined
    missing = apply(REDERIVED, pair(why={"rederivation": "no weights"}), seed=0)
    assert missing.undefined == "no weights"


R, P = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def test_a_mixture_of_two_unit_vectors():
    # m = 0.6 r + 0.4 p
    rows = mixture((0, 1, [([0.6, 0.4, 0.0], R, P)]))
    assert measured(MERGE, merge=rows, parents=("r", "p")).value == pytest.approx(0.6)


def test_the_length_of_the_mixture_is_free():
    # A third of the way on the arc from r to p: (cos 30, sin 30); shares of their sum.
    m = [math.cos(math.pi / 6), math.sin(math.pi / 6), 0.0]
    found = solve_mixture(mixture((0, 1, [(m, R, P)])), ("r", "p"))
    expected = math.cos(math.pi / 6) / (math.cos(math.pi / 6) + 0.5)
    assert found.mean.tolist() == pytest.approx([expected, 1 - expected])
    assert found.scale == pytest.approx(math.cos(math.pi / 6) + 0.5)
    assert found.cosine == pytest.approx(1.0)


def test_groups_weigh_by_their_elements():
    # Layer 0 is the reference's, 6 elements; layer 1 is the other's, 3 elements.
    rows = mixture((0, 1, [(R, R, P)] * 2), (1, 1, [(P, R, P)]))
    found = solve_mixture(rows, ("r", "p"))
    assert found.shares[:, 0].tolist() == pytest.approx([1.0, 0.0])
    assert found.layers.tolist() == [0, 1]
    assert measured(MERGE, merge=rows, parents=("r", "p")).value == pytest.approx(2 / 3)


def test_the_standard_error_of_a_mean_over_blocks():
    # r = 0 leaves m = w p: the share of p in a block of unit p is m itself. Blocks .4 and .6 alike
    # often: with the common factor s in r's place the share of r is 1 - w/s; keep s = 1 by a
    # large, orthogonal r that m holds whole: m = r + w (p - r) gives w_r = 1 - w.
    random = np.random.RandomState(1)
    weights = 0.5 + 0.1 * random.standard_normal(40)
    blocks = []
    for w in weights:
        r, p = np.array([1.0, 0.0]), np.array([0.0, 1.0])
        blocks.append((r + w * (p - r), r, p))
    rows = mixture((0, 1, blocks))
    error, freedom = standard_error(rows, ("r", "p"), 0, 4000)
    # The share is a mean of 40 numbers: sd / sqrt(40), stretched by 40/39 twice under the root.
    expected = np.std(weights, ddof=1) / math.sqrt(40)
    assert error == pytest.approx(expected, rel=0.05)
    assert freedom == pytest.approx(39)


def test_the_interval_lies_around_the_value_and_follows_the_seed():
    random = np.random.RandomState(2)
    blocks = [
        (0.6 * r + 0.4 * p + 0.05 * random.standard_normal(50), r, p)
        for r, p in random.standard_normal((20, 2, 50))
    ]
    rows = mixture((0, 1, blocks))
    one, two, other = (
        apply(MERGE, pair(merge=rows, parents=("r", "p")), seed=seed, resamples=200)
        for seed in (1, 1, 2)
    )
    assert one == two
    assert one.interval != other.interval
    low, high = one.interval
    assert low < one.value < high
    assert high - low < 0.05
    assert low <= 0.6 <= high
    assert "200 resamples of its own units" in one.implementation
    assert apply(MERGE, pair(merge=rows, parents=("r", "p")), seed=1, resamples=0).interval is None


def test_what_is_no_mixture_has_a_reason():
    cases = {
        "cosine of 0.707 only": mixture((0, 1, [([1.0, 0.0, 1.0], R, P)])),
        "cannot be told apart": mixture((0, 1, [(R, R, R)])),
        # 0.8 of the reference and a fifth of what is no candidate: cosine .97, scale .8.
        "add up to 0.80": mixture((0, 1, [([0.8, 0.0, 0.2], R, P)])),
    }
    for said, rows in cases.items():
        assert said in measured(MERGE, merge=rows, parents=("r", "p")).undefined
    alone = mixture((0, 1, [(R, R)]))
    assert "no other candidate" in measured(MERGE, merge=alone, parents=("r",)).undefined
    assert measured(MERGE, merge=mixture(), parents=()).undefined.startswith("no block")
    assert apply(MERGE, pair(why={"merge": "other shapes"}), seed=0).undefined == "other shapes"


def test_a_parent_that_differs_in_one_block_only_keeps_the_interval_finite():
    random = np.random.RandomState(3)
    blocks = []
    for number in range(12):
        r = random.standard_normal(30)
        p = r + (random.standard_normal(30) if number == 0 else 0.0)
        blocks.append((0.7 * r + 0.3 * p + 1e-3 * random.standard_normal(30), r, p))
    found = measured(MERGE, merge=mixture((0, 1, blocks)), parents=("r", "p"))
    assert found.value == pytest.approx(0.7, abs=0.01)
    assert found.interval[0] <= found.value <= found.interval[1]


def test_only_what_is_not_resampled_may_have_an_interval_of_its_own():
    from auditor.errors import RegistryError
    from auditor.measures._registry import _check

    with pytest.raises(RegistryError, match="an interval of its own"):
        _check(replace(MERGE, resampled=True))
