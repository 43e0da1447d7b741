"""``--fail-on``: an expression over the results that decides the exit code.

    expression = term { "or" term }        term = comparison { "and" comparison }
    comparison = NAME OPERATOR VALUE       e.g.  logit-kl-forward < 0.05 and embedding-cosine > 0.9

NAME is a measure, ``reading``, or a likelihood ratio: ``MI`` (imitation : independent), ``RI``
(replication : independent), ``RM`` (replication : imitation). A name without a value makes a
comparison unknown; unknown results follow Kleene's three-valued logic.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.errors import GateError

_RATIOS = {
    "MI": "imitation:independent",
    "RI": "replication:independent",
    "RM": "replication:imitation",
}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"\s*([A-Za-z][\w-]*)\s*(<=|>=|==|!=|<|>)\s*([\w.+-]+)\s*")


@dataclass(frozen=True, slots=True)
class Comparison:
    """``name operator value``."""

    name: str
    operator: str
    value: float | str

    def holds(self, values: Mapping[str, float | str | None]) -> bool | None:
        """Return the truth, or None where the name has no value."""
        found = values.get(self.name)
        return None if found is None else _OPERATORS[self.operator](found, self.value)


@dataclass(frozen=True, slots=True)
class Gate:
    """A parsed expression: any of the terms, each all of its comparisons."""

    terms: tuple[tuple[Comparison, ...], ...]

    def holds(self, values: Mapping[str, float | str | None]) -> bool | None:
        """Return the truth of the expression, or None where the missing values decide it."""
        return _any([_all([c.holds(values) for c in term]) for term in self.terms])


def parse_gate(text: str, measures: set[str]) -> Gate:
    """Return the gate of an expression.

    Raises:
        GateError: it cannot be parsed, or a name is neither a measure nor a ratio.
    """
    terms = [
        tuple(_comparison(part, measures) for part in re.split(r"\band\b", term))
        for term in re.split(r"\bor\b", text)
    ]
    return Gate(tuple(terms))


def result_values(result: Mapping[str, Any]) -> dict[str, float | str | None]:
    """Return what a gate can name, from one result."""
    values: dict[str, float | str | None] = {
        row["measure"].partition("@")[0]: row["value"] for row in result["measurements"]
    }
    conclusion = result["conclusion"]
    values["reading"] = conclusion["reading"]
    for name, key in _RATIOS.items():
        ratio = (conclusion["log10_lr"] or {}).get(key)
        values[name] = None if ratio is None else 10.0**ratio
    return values


def _comparison(text: str, measures: set[str]) -> Comparison:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise GateError(
            f"--fail-on: cannot read {text.strip()!r}",
            hint="write for example: --fail-on 'logit-kl-forward < 0.05 and reading != no-link'",
        )
    name, sign, value = match.groups()
    if name == "reading":
        if sign not in ("==", "!="):
            raise GateError("--fail-on: reading can only be compared with == or !=")
        return Comparison(name, sign, value)
    if name not in measures and name not in _RATIOS:
        known = ", ".join(sorted([*measures, *_RATIOS, "reading"]))
        raise GateError(f"--fail-on: unknown name {name!r}", hint=f"known: {known}")
    try:
        return Comparison(name, sign, float(value))
    except ValueError as error:
        raise GateError(f"--fail-on: {value!r} is not a number") from error


def _all(truths: list[bool | None]) -> bool | None:
    if any(truth is False for truth in truths):
        return False
    return None if any(truth is None for truth in truths) else True


def _any(truths: list[bool | None]) -> bool | None:
    if any(truth is True for truth in truths):
        return True
    return None if any(truth is None for truth in truths) else False
