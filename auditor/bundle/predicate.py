"""JSON Schemas compiled to predicates: a case has hundred thousands of lines, and one schema.

A predicate says yes only to what the schema accepts; its no is a question to `jsonschema`, which
also says what is wrong. Tests compare both on mutations of real files. A keyword that is not known
here is refused, never passed over.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

Predicate = Callable[[Any], bool]
Schema = Mapping[str, Any]
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_NUMBERS = (int, float)
_NOTES = frozenset(("$schema", "title", "description", "default", "$defs"))


@cache
def ecma_pattern(pattern: str) -> "re.Pattern[str]":
    """Return a pattern as ECMA 262 reads it: ``$`` is the very end, and a digit is one of ten."""
    return re.compile(re.sub(r"\$$", r"\\Z", pattern), re.ASCII)


class Compiler:
    """Compiles the schemas of one folder; what they refer to is compiled once."""

    def __init__(self, load: Callable[[str], Schema]) -> None:
        """Compile with `load`, which returns the schema in a file of that name."""
        self._load = load
        self._known: dict[tuple[str, str], Predicate] = {}

    def document(self, file: str) -> Predicate:
        """Return the predicate of a schema file.

        Raises:
            NotImplementedError: it has a keyword that is not known here.
        """
        return self._referred(file, "")

    def _referred(self, file: str, place: str) -> Predicate:
        key = (file, place)
        if key not in self._known:
            # What refers to itself finds this, and the predicate once it is made.
            self._known[key] = lambda value: self._known[key](value)  # noqa: PLW0108  (not yet)
            schema: Any = self._load(file)
            for part in place.split("/")[1:]:
                schema = schema[part]
            self._known[key] = self._compiled(schema, file)
        return self._known[key]

    def _compiled(self, schema: Schema | bool, file: str) -> Predicate:
        if isinstance(schema, bool):
            return lambda _: schema
        tests = [test for test in self._tests(schema, file) if test is not None]
        return tests[0] if len(tests) == 1 else _all(tests)

    def _tests(self, schema: Schema, file: str) -> list[Predicate | None]:
        def compiled(one: Schema | bool) -> Predicate:
            return self._compiled(one, file)

        tests: list[Predicate | None] = []
        for keyword, value in schema.items():
            if keyword == "$ref":
                name, _, place = value.partition("#")
                tests.append(self._referred(name or file, place))
            elif keyword in _PLAIN:
                tests.append(_PLAIN[keyword](value))
            elif keyword in _NESTED:
                tests.append(_NESTED[keyword](schema, compiled))
            elif keyword not in _NOTES:
                raise NotImplementedError(f"the keyword {keyword!r} in {file}")
        return tests


def _all(tests: Sequence[Predicate]) -> Predicate:
    def every(value: Any) -> bool:
        for test in tests:  # noqa: SIM110  (a generator would double the time)
            if not test(value):
                return False
        return True

    return every


def _type(value: str | list[str]) -> Predicate:
    names = [value] if isinstance(value, str) else value
    allowed = frozenset(kind for name in names for kind in _TYPES[name])
    if names == ["integer"]:
        return lambda found: type(found) is int or (type(found) is float and found.is_integer())
    # By type(): true is no number.
    return lambda found: type(found) in allowed


def _constant(value: Any) -> Predicate:
    return lambda found: type(found) is type(value) and found == value


def _enum(values: list[Any]) -> Predicate:
    tests = [_constant(value) for value in values]
    return lambda found: any(test(found) for test in tests)


def _of(kinds: tuple[type, ...], holds: Callable[[Any], bool]) -> Predicate:
    return lambda found: type(found) not in kinds or holds(found)


def _distinct(wanted: bool) -> Predicate:
    def distinct(found: list[Any]) -> bool:
        try:
            return not wanted or len(set(found)) == len(found)
        except TypeError:  # of what has no hash; `jsonschema` will say
            return False

    return _of((list,), distinct)


def _pattern(value: str) -> Predicate:
    search = ecma_pattern(value).search
    return _of((str,), lambda found: search(found) is not None)


def _demanded(value: Mapping[str, list[str]]) -> Predicate:
    return _of(
        (dict,),
        lambda found: all(
            other in found for key, others in value.items() if key in found for other in others
        ),
    )


_PLAIN: dict[str, Callable[[Any], Predicate]] = {
    "type": _type,
    "const": _constant,
    "enum": _enum,
    "pattern": _pattern,
    "minLength": lambda n: _of((str,), lambda found: len(found) >= n),
    "maxLength": lambda n: _of((str,), lambda found: len(found) <= n),
    "minimum": lambda n: _of(_NUMBERS, lambda found: found >= n),
    "maximum": lambda n: _of(_NUMBERS, lambda found: found <= n),
    "exclusiveMinimum": lambda n: _of(_NUMBERS, lambda found: found > n),
    "exclusiveMaximum": lambda n: _of(_NUMBERS, lambda found: found < n),
    "minItems": lambda n: _of((list,), lambda found: len(found) >= n),
    "maxItems": lambda n: _of((list,), lambda found: len(found) <= n),
    "minProperties": lambda n: _of((dict,), lambda found: len(found) >= n),
    "uniqueItems": _distinct,
    "required": lambda names: _of((dict,), frozenset(names).issubset),
    "dependentRequired": _demanded,
}
"""Keywords that look at nothing but their value."""
_Maker = Callable[[Schema, Callable[[Any], Predicate]], Predicate | None]


def _properties(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    tests = [(name, compiled(one)) for name, one in schema["properties"].items()]

    def fit(found: dict[str, Any]) -> bool:
        for name, test in tests:  # noqa: SIM110
            if name in found and not test(found[name]):
                return False
        return True

    return _of((dict,), fit)


def _others(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    known, rest = schema.get("properties", {}).keys(), schema["additionalProperties"]
    if rest is False:
        return _of((dict,), lambda found: found.keys() <= known)
    test = compiled(rest)
    return _of((dict,), lambda found: all(test(found[key]) for key in found.keys() - known))


def _names(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    test = compiled(schema["propertyNames"])
    return _of((dict,), lambda found: all(map(test, found)))


def _items(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    rule, first = schema["items"], len(schema.get("prefixItems", ()))
    test = compiled(rule)
    if isinstance(rule, dict) and not first and rule.keys() == _BETWEEN:
        low, high = rule["minimum"], rule["maximum"]
        # Thousands of token ids in a line: no Python call for each.
        return _of((list,), lambda found: _between(found, low, high) or all(map(test, found)))
    return _of((list,), lambda found: all(map(test, found[first:] if first else found)))


_BETWEEN = frozenset(("type", "minimum", "maximum"))


def _between(found: list[Any], low: float, high: float) -> bool:
    """Whether these are surely integers in a range."""
    return set(map(type, found)) == {int} and low <= min(found) <= max(found) <= high


def _first_items(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    tests = [compiled(one) for one in schema["prefixItems"]]
    return _of(
        (list,),
        lambda found: all(test(one) for test, one in zip(tests, found, strict=False)),
    )


def _contains(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    test = compiled(schema["contains"])
    return _of((list,), lambda found: any(map(test, found)))


def _any_of(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    tests = [compiled(one) for one in schema["anyOf"]]
    return lambda found: any(test(found) for test in tests)


def _one_of(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    tests = [compiled(one) for one in schema["oneOf"]]
    return lambda found: sum(test(found) for test in tests) == 1


def _if(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    test = compiled(schema["if"])
    then, otherwise = compiled(schema.get("then", True)), compiled(schema.get("else", True))
    return lambda found: then(found) if test(found) else otherwise(found)


def _not(schema: Schema, compiled: Callable[[Any], Predicate]) -> Predicate:
    test = compiled(schema["not"])
    return lambda found: not test(found)


_NESTED: dict[str, _Maker] = {
    "properties": _properties,
    "additionalProperties": _others,
    "propertyNames": _names,
    "items": _items,
    "prefixItems": _first_items,
    "contains": _contains,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "if": _if,
    "then": lambda *_: None,
    "else": lambda *_: None,
    "not": _not,
}
"""Keywords that hold schemas, or look at their neighbours."""
