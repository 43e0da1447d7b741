"""Where the JSON files of a case depart from the schemas that are published in reports/schema.

A schema is compiled once. What is shown of a file of unknown origin is ASCII and short.
"""

import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from auditor.bundle.predicate import Compiler, ecma_pattern
from auditor.data import data_dir
from auditor.withheld import PARENT

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

_DOCUMENTS = {
    "evidence.json": "evidence",
    "plan.json": "plan",
    "subjects.json": "subjects",
    "environment.json": "environment",
    "statistics.json": "statistics",
    "conclusion.json": "conclusion",
    "deviations.json": "deviations",
    "calibration.json": "calibration",
    "marks.json": "case-marks",
    "failed.json": "failed",
    "prefilter.json": "prefilter",
    "watch-baseline.json": "watch-baseline",
    "redaction.json": "redaction",
    f"{PARENT}/evidence.json": "evidence",
}
_VERSIONS = {"watch-baseline": 3}
"""Of schemas whose version is not 1."""
_DOCUMENTS_IN = {"collected": "collected", "marks": "case-mark-tests"}
"""By folder."""
_LINES = {"custody.jsonl": "custody", "errors.jsonl": "errors"}
_LINES_IN = {"records": "record", "probes": "suite-item"}
_SHOWN = 60
"""Characters of a value, of a pointer and of what is wanted: enough to find it."""
_MOST = 20
"""Departures that are told of one value."""


def schema_of(name: str) -> str | None:
    """Return the schema of a file, or of each line of it, by its path below ``data/``.

    None where no stage of an audit writes such a file.
    """
    folder, _, rest = name.partition("/")
    if name.endswith(".jsonl"):
        return _LINES_IN.get(folder) if rest else _LINES.get(name)
    if rest:
        return _DOCUMENTS.get(name) or _DOCUMENTS_IN.get(folder)
    if name == "result.json" or name.startswith("result-"):
        return "result"
    return _DOCUMENTS.get(name)


def departures(value: Any, schema: str) -> Iterator[str]:
    """Yield where a value departs from a schema: "JSON pointer: what was wanted, what is there".

    At most 20, none twice; nothing where it follows.

    Args:
        value: parsed JSON.
        schema: name without version, as ``record``.

    Raises:
        RecursionError: the value is nested deeper than Python can follow.
    """
    if _compiler().document(_file(schema))(value):
        return
    found = islice(_validator(schema).iter_errors(value), _MOST)
    yield from dict.fromkeys(_departure(_nearest(error)) for error in found)


def title(schema: str) -> str:
    """Return the name of a schema with its version, as ``auditor/plan/1``."""
    return str(_load(_file(schema))["title"])


def _file(schema: str) -> str:
    return f"{schema}-{_VERSIONS.get(schema, 1)}.json"


@cache
def _load(file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data_dir("reports") / "schema" / file).read_bytes())
    return content


@cache
def _compiler() -> Compiler:
    return Compiler(_load)


@cache
def _validator(schema: str) -> "Validator":
    """Return the validator of `jsonschema`, which is slow and can say what is wrong."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry, Resource

    registry: Registry[Any] = Registry(
        retrieve=lambda file: Resource.from_contents(_load(file))  # type: ignore[call-arg]
    )
    kind = extend(Draft202012Validator, {"pattern": _pattern})
    return kind(_load(_file(schema)), registry=registry)


def _pattern(
    _: "Validator", pattern: str, instance: Any, __: dict[str, Any]
) -> "Iterator[ValidationError]":
    from jsonschema import ValidationError

    if isinstance(instance, str) and not ecma_pattern(pattern).search(instance):
        yield ValidationError("does not match")


def _nearest(error: "ValidationError") -> "ValidationError":
    """Return the cause inside of an alternative: that of the branch with the fewest departures."""
    while error.context and error.validator in ("anyOf", "oneOf"):
        branches: dict[Any, list[ValidationError]] = {}
        for cause in error.context:
            branches.setdefault(cause.schema_path[0], []).append(cause)
        causes = min(branches.values(), key=len)
        deeper = [cause for cause in causes if cause.path]
        if not deeper:
            break
        error = deeper[0]
    return error


def _departure(error: "ValidationError") -> str:
    pointer = "".join(map(_reference_token, error.absolute_path))
    return f"{_cut(pointer) or 'the whole'}: {_wanted(error)}"


def _reference_token(part: str | int) -> str:
    """Return a step of a JSON pointer (RFC 6901)."""
    return "/" + _ascii(str(part).replace("~", "~0").replace("/", "~1"))[1:-1]


def _wanted(error: "ValidationError") -> str:
    keyword, value = error.validator, error.validator_value
    if keyword == "required":
        return f"lacks {_listed([key for key in value if key not in error.instance])}"
    if keyword == "additionalProperties":
        known = error.schema.get("properties", {})
        return f"has {_listed([key for key in error.instance if key not in known])}, unknown there"
    if keyword == "unevaluatedProperties":
        return "has a key that is unknown there"
    return f"wanted {_rule(str(keyword), value)}, found {_found(error.instance)}"


def _rule(keyword: str, value: Any) -> str:
    if keyword in ("anyOf", "oneOf"):
        return _cut(" or ".join(_rule(*_first(one)) for one in value))
    words = {"type": "", "const": "", "pattern": "text like ", "enum": "one of "}
    return _cut(f"{words.get(keyword, keyword + ' ')}{_ascii(value)}")


def _first(schema: dict[str, Any]) -> tuple[str, Any]:
    """Return the most telling keyword of a schema and its value."""
    for keyword in ("const", "enum", "pattern", "type"):
        if keyword in schema:
            return keyword, schema[keyword]
    return next(iter(schema.items()), ("anything", ""))


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    return f"a list of {len(value)}" if isinstance(value, list) else _ascii(value)


def _listed(keys: list[str]) -> str:
    return _cut(", ".join(_ascii(key) for key in keys[:5]))


def _ascii(value: Any) -> str:
    """Return a value of a stranger's file as short ASCII."""
    return _cut(json.dumps(value[: 2 * _SHOWN + 1] if isinstance(value, str) else value))


def _cut(text: str) -> str:
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."
