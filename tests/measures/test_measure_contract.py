"""Every measure, present and future, against the contract."""

import measure_contract as contract
import numpy as np
import pytest
from measure_worlds import blend, pair_of, subject

from auditor.measures import Measure, all_measures

A, B = subject("alpha", 1), subject("beta", 2)
PAIR = pair_of(A, B)
EXPECTED = {
    "answer-shared",
    "answer-shared-error",
    "embedding-cka",
    "embedding-cosine",
    "embedding-mmd",
    "embedding-mutual-knn",
    "hidden-cka",
    "hidden-mutual-knn",
    "logit-hellinger",
    "logit-js",
    "logit-kl-forward",
    "logit-kl-reverse",
    "logit-rank",
    "logit-top1",
    "logit-topk-overlap",
    "logit-tv",
    "text-chrf",
    "text-ngram-overlap",
}


@pytest.fixture(params=all_measures(), ids=lambda one: one.name)
def measure(request: pytest.FixtureRequest) -> Measure:
    return request.param


def test_the_scan_finds_the_first_set():
    assert {one.name for one in all_measures()} >= EXPECTED


def test_a_subject_against_itself_has_the_declared_value(measure):
    contract.assert_self_value(measure, A)


def test_a_closer_suspect_scores_closer(measure):
    contract.assert_closer_scores_closer(measure, A, B)


def test_values_and_intervals_stay_within_bounds(measure):
    contract.assert_within_bounds(measure, PAIR, pair_of(A, A), pair_of(A, blend(A, B, 0.5)))


def test_symmetry_is_as_declared(measure):
    contract.assert_symmetry_as_declared(measure, A, B)


def test_the_order_of_probes_is_irrelevant(measure):
    contract.assert_probe_order_irrelevant(measure, PAIR)


def test_numbers_of_repeats_may_differ(measure):
    contract.assert_repeats_may_differ(measure, A, B)


def test_the_same_seed_gives_the_same_bytes(measure):
    contract.assert_same_seed_same_bytes(measure, pair_of(A, blend(A, B, 0.5)))


def test_few_probes_have_no_interval(measure):
    contract.assert_interval_from_few_probes_is_none(measure, PAIR)


def test_no_probe_is_undefined_with_a_reason(measure):
    contract.assert_empty_is_undefined(measure, PAIR)


def test_missing_inputs_are_undefined_with_their_reason(measure):
    contract.assert_missing_is_undefined(measure, PAIR)


def test_inputs_are_not_changed(measure):
    contract.assert_inputs_not_changed(measure, PAIR)


def test_identity_probes_do_not_count(measure):
    contract.assert_identity_probes_do_not_count(measure, A, B)


def test_the_fast_path_on_subsets_agrees(measure):
    contract.assert_subsets_agree(measure, PAIR)


def test_the_measure_describes_itself(measure):
    contract.assert_describes_itself(measure)


def test_arrays_of_the_fixtures_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        PAIR.positions["js"] *= np.float64(2)
