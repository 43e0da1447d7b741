"""Choosing some probes of several suites: stratified, deterministic, and growing by addition."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest

from auditor.canon import json_digest
from auditor.errors import InputError, SuiteError
from auditor.types import Probe, ProbeSuite

Selection = tuple[tuple[ProbeSuite, tuple[Probe, ...]], ...]


def select_probes(suites: Sequence[ProbeSuite], n: int | None, seed: int) -> Selection:
    """Return n probes in total as (suite, its probes in file order), suites in the order given.

    Suites take turns, so each gives the same number until it runs out; inside a suite every
    category gives its proportional share. The draw is a fixed order of all probes, of which the
    first n are taken: a larger n with the same seed keeps every probe of a smaller one. All
    probes where n is None or more than there are; a suite of which none was drawn is left out.

    Raises:
        InputError: n is below 1.
        SuiteError: no suite, a suite given twice, or a probe id used by two suites.
    """
    if n is not None and n < 1:
        raise InputError(f"cannot select {n} probes", hint="ask for 1 or more")
    _refuse_clashes(suites)
    draws = [_draw_order(suite, seed) for suite in suites]
    turns = [(i, probe) for turn in zip_longest(*draws) for i, probe in enumerate(turn) if probe]
    drawn = {(i, probe.id) for i, probe in turns[:n]}
    chosen = (
        (suite, tuple(p for p in suite.probes if (i, p.id) in drawn))
        for i, suite in enumerate(suites)
    )
    return tuple((suite, probes) for suite, probes in chosen if probes)


def _draw_order(suite: ProbeSuite, seed: int) -> list[Probe]:
    """Return all probes of a suite so that each prefix holds the categories in proportion."""
    # Keyed by a hash of the id, not by position: the order of the file does not matter.
    luck = {p.id: json_digest([seed, suite.name, p.id]) for p in suite.probes}
    by_category: dict[str, list[Probe]] = defaultdict(list)
    for probe in sorted(suite.probes, key=lambda p: luck[p.id]):
        by_category[probe.category].append(probe)
    place = {
        probe.id: (rank + 0.5) / len(members)
        for members in by_category.values()
        for rank, probe in enumerate(members)
    }
    return sorted(suite.probes, key=lambda p: (place[p.id], luck[p.id]))


def _refuse_clashes(suites: Sequence[ProbeSuite]) -> None:
    if not suites:
        raise SuiteError("no probe suite was given", hint="name one; see: auditor probes list")
    owner: dict[str, str] = {}
    for suite in suites:
        for probe in suite.probes:
            other = owner.setdefault(probe.id, suite.id)
            if other != suite.id:
                raise SuiteError(
                    f"the probe id {probe.id!r} is used by {other} and by {suite.id}",
                    hint="rename the probes of one suite",
                )
    names = [suite.id for suite in suites]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SuiteError(f"the suite {twice[0]} was given twice", hint="name each suite once")
