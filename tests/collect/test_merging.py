"""The mixture of a merge is found, with an interval that holds the truth."""

import numpy as np
import pytest
import torch
from merge_trials import InMemory, decomposed, llama, summary, trial, tuned

from auditor.collect.alignment import chance_cosine, match_residual, match_units
from auditor.collect.merging import Candidate, align_candidates
from auditor.controls.transforms_merging import Merge, merged
from auditor.controls.transforms_symmetry import permuted, rotated
from auditor.controls.transforms_weights import weights_of, with_weights
from auditor.errors import UndefinedError
from auditor.models.anatomy import anatomy_of
from auditor.panel import PARENTS


@pytest.fixture(scope="module")
def models():
    """A base with two fine-tunes of it, and two models unlike them."""
    base = llama(1)
    return {
        "base": base,
        "a": tuned(base, 0.1, 1),
        "b": tuned(base, 0.1, 2),
        "c": llama(2),
        "d": llama(3),
    }


def of(models, *names):
    return {name: models[name] for name in names}


def test_twenty_merges_are_found_with_intervals_that_hold_the_truth():
    found = [trial(number, layers=1) for number in range(20)]
    largest, mean, covered = summary(found)
    assert largest <= 0.01
    assert mean < 0.001
    # With 95 % intervals fewer than 16 of 20 would be seen once in 400 runs.
    assert covered >= 0.8
    for one in found:
        if one.method == "linear":
            assert one.error < 1e-6
            assert one.covered
    assert {one.moved for one in found} == {True, False}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_merges_are_found_with_intervals_that_hold_the_truth():
    found = [trial(number, layers=3) for number in range(100)]
    largest, _, covered = summary(found)
    assert largest <= 0.01
    assert covered >= 0.95


@pytest.mark.parametrize("parts", ["neurons", "heads", "residual", "all"])
def test_a_permuted_merge_is_decomposed_exactly(models, parts):
    parents = of(models, "a", "c", "d")
    moved = permuted(merged([models["a"], models["c"]], Merge(weights=(0.7, 0.3))), parts, 5)
    found = decomposed(moved, parents)
    assert found.parents == pytest.approx({"a": 0.7, "c": 0.3, "d": 0.0}, abs=1e-6)
    assert found.low <= 0.7 <= found.high
    assert found.high - found.low < 1e-4


def test_three_parents_of_one_base_are_told_apart(models):
    soup = merged([models[n] for n in ("a", "b", "base")], Merge(weights=(0.5, 0.3, 0.2)))
    found = decomposed(soup, of(models, "b", "a", "base", "c"))
    expected = {"b": 0.3, "a": 0.5, "base": 0.2, "c": 0.0}
    assert found.parents == pytest.approx(expected, abs=1e-6)


def test_a_parent_in_an_order_of_its_own_is_put_back(models):
    suspect = merged([models["a"], models["c"]], Merge(weights=(0.6, 0.4)))
    candidates = {"a": models["a"], "c": permuted(models["c"], "all", 8)}
    assert decomposed(suspect, candidates).parents == pytest.approx({"a": 0.6, "c": 0.4}, abs=1e-6)


def test_a_reference_without_a_share_has_none(models):
    suspect = merged([models["a"], models["b"]], Merge(weights=(0.6, 0.4)))
    found = decomposed(permuted(suspect, "all", 1), of(models, "d", "a", "b"))
    assert found.parents == pytest.approx({"d": 0.0, "a": 0.6, "b": 0.4}, abs=1e-6)


def test_a_fine_tune_is_all_its_source(models):
    found = decomposed(tuned(models["a"], 0.1, 9), of(models, "a", "c", "d"))
    assert found.share == pytest.approx(1.0, abs=0.01)
    assert found.low <= 1.0 <= found.high


def test_spherical_merges_of_unlike_parents_are_longer_and_still_found(models):
    # Nearly a right angle: t = 1/3 gives sin 60 : sin 30 = 0.634 : 0.366 of their sum.
    suspect = merged([models["c"], models["d"]], Merge(method="slerp", weights=(2 / 3, 1 / 3)))
    found = decomposed(suspect, of(models, "c", "d", "a"))
    assert found.share == pytest.approx(np.sqrt(3) / (1 + np.sqrt(3)), abs=0.005)


def test_an_independent_model_fits_none(models):
    with pytest.raises(UndefinedError, match="of none of 3 candidates fit its own"):
        decomposed(llama(77), of(models, "a", "c", "d"))


@pytest.mark.parametrize("weight", [0.6, 0.8])
def test_a_missing_parent_is_noticed(models, weight):
    suspect = merged([models["a"], models["d"]], Merge(weights=(weight, 1 - weight)))
    with pytest.raises(UndefinedError, match="missing"):
        decomposed(suspect, of(models, "a", "b", "c"))


def test_parents_that_cannot_be_told_apart_are_named(models):
    twin = with_weights(models["c"], weights_of(models["c"]))
    candidates = {**of(models, "a", "c"), "twin": twin}
    with pytest.raises(UndefinedError, match="c and twin cannot be told apart"):
        decomposed(tuned(models["a"], 0.1, 9), candidates)


def test_one_candidate_is_no_mixture(models):
    with pytest.raises(UndefinedError, match="no other candidate"):
        decomposed(models["a"], of(models, "a"))


def test_a_rotated_merge_fits_none(models):
    merge = merged([models["a"], models["c"]], Merge(weights=(0.7, 0.3)))
    with pytest.raises(UndefinedError, match="explain the token embedding to a cosine of"):
        decomposed(rotated(merge, 1), of(models, "a", "c"))


def test_of_many_candidates_those_that_fit_are_kept(models):
    others = {f"x{seed}": llama(100 + seed) for seed in range(PARENTS + 2)}
    candidates = [
        Candidate(i, name, InMemory(one), first=name == "x9")
        for i, (name, one) in enumerate({**of(models, "d"), **others, **of(models, "a")}.items())
    ]
    suspect = merged([models["a"], models["d"]], Merge(weights=(0.7, 0.3)))
    files = InMemory(suspect)
    anatomy = anatomy_of(files.shapes, suspect.config.to_dict())
    kept = [one.name for one in align_candidates(files, candidates, anatomy).candidates]
    assert len(kept) == PARENTS
    assert kept[:3] == ["d", "a", "x9"]  # the reference, the best fit, the declared base


def test_units_are_matched_by_the_largest_total():
    # Row 0 and row 1 of the target both lie nearest to source 0; together 0-1 and 1-0 fit best:
    # cosines .8 + 1 against 1 x .6 + ..., from unit vectors at 0, 90 and 53.13 degrees.
    target = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    source = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    found = match_units(target, source)
    assert found.index.tolist() == [1, 0]
    assert found.cosine == pytest.approx(1.0)
    crowded = match_units(torch.tensor([[1.0, 0.1], [1.0, 0.0]]), torch.eye(2))
    assert crowded.index.tolist() == [1, 0]


def test_many_units_in_place_are_recognised_without_all_pairs():
    rows = torch.randn(3000, 40, generator=torch.Generator().manual_seed(0))
    assert match_units(rows, rows).index.tolist() == list(range(3000))
    shifted = match_units(rows.roll(1, dims=0), rows)
    assert shifted.index.tolist() == [2999, *range(2999)]


def test_what_all_tokens_share_fits_nothing():
    # Independent embeddings around one large offset: as they are, every column fits every other.
    random = torch.Generator().manual_seed(0)
    one, two = (5.0 + torch.randn(200, 30, generator=random) for _ in range(2))
    assert match_residual(one, two).cosine == pytest.approx(chance_cosine(one, two), abs=0.02)
    order = torch.randperm(30, generator=random)
    found = match_residual(one[:, order], one)
    assert found.index.tolist() == order.tolist()
    assert found.cosine == pytest.approx(1.0, abs=1e-5)
