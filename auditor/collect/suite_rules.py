"""The seeded rules that write generated suites: `suite.toml` names rule, version and seed.

A rule is never changed once a suite that it wrote is released; another rule, or a higher version
of it, is added beside it. Draws use `RandomState`, whose stream is the same in all numpy versions.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from auditor.canon import canonical_json
from auditor.collect.rules_calculation import CALCULATION
from auditor.collect.rules_logic import LOGIC
from auditor.collect.rules_noise import NOISE
from auditor.errors import SuiteError

Item = dict[str, Any]
Maker = Callable[[np.random.RandomState, int], Item]
"""Writes item number i of a category, without id and category."""


def ood(seed: int) -> list[Item]:
    """Return 135 texts from no language: 15 of each of 9 kinds of noise."""
    return _items("ood", NOISE.items(), each=15, seed=seed)


def reasoning(seed: int) -> list[Item]:
    """Return 180 questions with one checkable answer: 10 of each of 18 kinds."""
    makers = {**CALCULATION, **LOGIC}
    return _items("reas", makers.items(), each=10, seed=seed)


RULES: dict[tuple[str, int], Callable[[int], list[Item]]] = {
    ("ood", 1): ood,
    ("reasoning", 1): reasoning,
}


def generate(rule: str, version: int, seed: int) -> bytes:
    """Return the bytes of `items.jsonl` that a rule writes: canonical JSON, one item a line.

    Raises:
        SuiteError: there is no such rule or version.
    """
    if (rule, version) not in RULES:
        known = ", ".join(f"{name} {number}" for name, number in sorted(RULES))
        raise SuiteError(f"there is no rule {rule} {version}", hint=f"known rules: {known}")
    items = RULES[rule, version](seed)
    return b"".join(canonical_json(item) + b"\n" for item in items)


def _items(prefix: str, makers: Iterable[tuple[str, Maker]], *, each: int, seed: int) -> list[Item]:
    """Return `each` different items a category; a repeated question is drawn again."""
    rng = np.random.RandomState(seed)
    items: list[Item] = []
    seen: set[str] = set()
    for category, make in makers:
        for number in range(each):
            item = make(rng, number)
            while (key := repr(item.get("text", item.get("messages")))) in seen:
                item = make(rng, number)
            seen.add(key)
            items.append({"id": f"{prefix}-{len(items) + 1:04d}", "category": category, **item})
    return items
