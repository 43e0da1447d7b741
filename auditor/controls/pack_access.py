"""What the rules see of a pack's locked half at each access to the suspect.

A model counts as seen where the decisive tests that this access allows put it beyond every control
family with a predictive p under the threshold of the rules, and do not contradict each other; with
weights, where it was read as linked.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from auditor.controls.pack_calibration import IDIOSYNCRASY, SAMPLE, Row
from auditor.errors import UndefinedError
from auditor.judge.findings import Thresholds
from auditor.judge.multiplicity import holm
from auditor.judge.rates import rate
from auditor.judge.validity import rate_json
from auditor.types import Access

Kind = Callable[[Row], bool]
TESTS: dict[Access, tuple[str, ...]] = {
    Access.TEXT: (SAMPLE,),
    # What comes beside replies decides nothing. Of given texts (echo) lists give the agreement that
    # LOGITS gives, with the same decisive tests: its rows are those of LOGITS.
    Access.TOPK: (SAMPLE,),
    Access.LOGITS: (SAMPLE, IDIOSYNCRASY),
}
"""Decisive tests by access to the suspect; at WEIGHTS neuron matching besides."""


def power_by_access(
    rows: Sequence[Row], locked: Sequence[Row], kinds: Sequence[tuple[str, Kind, bool]]
) -> list[dict[str, Any]]:
    """Return for each access and kind of model how many are seen, by model and by family.

    Of linked kinds a family counts as seen where all of its models are, of unlinked ones where any
    is.

    Args:
        rows: the whole score table.
        locked: the rows that count.
        kinds: (name, which models, whether they are linked).
    """
    floors = {name: _floors(rows, name) for name in (SAMPLE, IDIOSYNCRASY)}
    return [
        found
        for access in Access
        for name, belongs, linked in kinds
        for found in _power(access, name, [r for r in locked if belongs(r)], (linked, floors))
    ]


def _power(
    access: Access,
    name: str,
    rows: Sequence[Row],
    how: tuple[bool, dict[str, dict[str, float]]],
) -> Iterator[dict[str, Any]]:
    if not rows:
        return
    linked, floors = how
    seen = [_seen(row, access, floors) for row in rows]
    of_family: dict[str, list[bool]] = {}
    for row, found in zip(rows, seen, strict=True):
        of_family.setdefault(row["family"], []).append(found)
    counted = sum((all if linked else any)(members) for members in of_family.values())
    yield {
        "access": access.name,
        "tests": [*TESTS.get(access, (SAMPLE, IDIOSYNCRASY, "neuron-matching@1"))],
        "models": name,
        "linked": linked,
        "seen": [sum(seen), len(seen)],
        "families": rate_json(rate(counted, len(of_family))),
    }


def _seen(row: Row, access: Access, floors: dict[str, dict[str, float]]) -> bool:
    if access is Access.WEIGHTS:
        return row["reading"] in ("imitation", "replication")
    thresholds = Thresholds()
    defined = [(n, row["scores"][n]) for n in TESTS[access] if n in row["scores"]]
    raw = [score["predictive_p"] for _, score in defined]
    try:
        adjusted = holm(raw)
    except UndefinedError:
        return False
    beyond = [
        p is not None
        and p < thresholds.imitation_alpha
        and score["rank_p"] is not None
        and score["rank_p"] <= floors[name].get(row.get("shape", ""), 0.0) + 1e-12
        for (name, score), p in zip(defined, adjusted, strict=True)
    ]
    against = [p is not None and p > thresholds.supporting_p for p in raw]
    return any(beyond) and not any(against)


def _floors(rows: Sequence[Row], name: str) -> dict[str, float]:
    """Return the smallest rank p that models of each shape have: beyond every control family."""
    found: dict[str, float] = {}
    for row in rows:
        rank = row["scores"].get(name, {}).get("rank_p")
        if rank is not None:
            shape = row.get("shape", "")
            found[shape] = min(found.get(shape, 1.0), rank)
    return found
