"""Selections: stratified, deterministic, and growing without losing a probe."""

import itertools
from collections import Counter

import pytest

from auditor.collect.suite import DEFAULT_SUITES, load_suite, select_probes
from auditor.errors import InputError, SuiteError
from auditor.types import Probe, ProbeSuite


def suite(name: str, sizes: dict[str, int]) -> ProbeSuite:
    probes = tuple(
        Probe(id=f"{name}-{category}-{i}", category=category, text="t")
        for category, size in sizes.items()
        for i in range(size)
    )
    return ProbeSuite(
        name=name, version=1, title=name, licence="CC0-1.0", digest="sha256:0", probes=probes
    )


SUITES = (suite("big", {"a": 60, "b": 30, "c": 10}), suite("small", {"d": 6, "e": 6}))


def ids(suites: tuple[ProbeSuite, ...], n: int | None, seed: int = 3) -> list[str]:
    return [p.id for _, probes in select_probes(suites, n, seed) for p in probes]


def test_growing_keeps_every_earlier_probe() -> None:
    sizes = [1, 2, 3, 10, 24, 25, 60, 112]
    chosen = [set(ids(SUITES, n)) for n in sizes]
    assert [len(c) for c in chosen] == sizes
    assert all(small < large for small, large in itertools.pairwise(chosen))


def test_suites_share_equally_until_one_runs_out() -> None:
    def counts(n: int) -> list[int]:
        return [len(probes) for _, probes in select_probes(SUITES, n, seed=0)]

    assert counts(10) == [5, 5]
    assert counts(40) == [28, 12]  # the small one has 12 in all


def test_categories_share_in_proportion() -> None:
    # 60 : 30 : 10, so of 20 probes 12, 6 and 2
    (_, chosen), _ = select_probes(SUITES, 32, seed=0)
    assert Counter(p.category for p in chosen) == {"a": 12, "b": 6, "c": 2}


def test_all_probes_in_file_order_where_no_number_is_given() -> None:
    everything = [p.id for s in SUITES for p in s.probes]
    assert ids(SUITES, None) == everything
    assert ids(SUITES, 10_000) == everything


def test_the_same_seed_draws_the_same_probes_and_another_seed_others() -> None:
    assert ids(SUITES, 20, seed=5) == ids(SUITES, 20, seed=5)
    assert ids(SUITES, 20, seed=5) != ids(SUITES, 20, seed=6)


def test_the_order_of_the_file_does_not_matter() -> None:
    shuffled = ProbeSuite(
        name="big",
        version=1,
        title="big",
        licence="CC0-1.0",
        digest="sha256:0",
        probes=SUITES[0].probes[::-1],
    )
    assert set(ids((shuffled,), 17)) == set(ids(SUITES[:1], 17))


def test_a_suite_without_a_drawn_probe_is_left_out() -> None:
    ((only, probes),) = select_probes(SUITES, 1, seed=0)
    assert only.name == "big"
    assert len(probes) == 1


@pytest.mark.parametrize("n", [0, -3])
def test_fewer_than_one_probe_is_refused(n: int) -> None:
    with pytest.raises(InputError, match=f"cannot select {n}"):
        select_probes(SUITES, n, seed=0)


def test_no_suite_a_double_suite_and_shared_ids_are_refused() -> None:
    with pytest.raises(SuiteError, match="no probe suite"):
        select_probes((), 3, seed=0)
    with pytest.raises(SuiteError, match="big@1 was given twice"):
        select_probes((SUITES[0], SUITES[0]), 3, seed=0)
    thief = ProbeSuite(
        name="thief",
        version=1,
        title="t",
        licence="CC0-1.0",
        digest="sha256:0",
        probes=SUITES[0].probes[:1],
    )
    with pytest.raises(SuiteError, match="'big-a-0' is used by big@1 and by thief@1"):
        select_probes((SUITES[0], thief), 3, seed=0)


def test_the_default_suites_are_all_drawn_from_a_small_sample() -> None:
    suites = [load_suite(name) for name in DEFAULT_SUITES]
    chosen = select_probes(suites, 64, seed=0)
    assert [s.name for s, _ in chosen] == list(DEFAULT_SUITES)
    assert {len(probes) for _, probes in chosen} == {7, 8}  # 64 = 9 x 7 + 1


def test_identity_questions_are_asked_only_by_name() -> None:
    assert "identity" not in DEFAULT_SUITES
    assert {p.weight for p in load_suite("identity").probes} == {0.0}
