"""What differs between two cases, and by how much: inputs, outputs, statistics, readings.

Sealed or not, the files say it alone. Times and the custody log are left out: they always differ.
"""

import json
from collections.abc import Iterator
from typing import Any

from auditor.canon import digest
from auditor.case import Case
from auditor.errors import CaseError
from auditor.withheld import withheld_lines

SCHEMA = "auditor/diff/1"
_CONCLUSION = ("reading", "via", "basis", "cap", "verbal", "log10_lr", "interval")


def difference(a: Case, b: Case) -> dict[str, Any]:
    """Return what differs, as ``auditor/diff/1``; empty lists where nothing does.

    Raises:
        CaseError: a case is not judged, or a file of it is not JSON.
    """
    return {
        "schema": SCHEMA,
        "a": str(a.root),
        "b": str(b.root),
        "plan": _values(a.read_json("plan.json"), b.read_json("plan.json")),
        "subjects": _values(_subjects(a), _subjects(b)),
        "environment": _values(a.read_json("environment.json"), b.read_json("environment.json")),
        "records": list(_records(a, b)),
        "measurements": list(_measurements(a, b)),
        "conclusions": list(_conclusions(a, b)),
    }


def is_same(found: dict[str, Any]) -> bool:
    """Say whether nothing differs but the environment, which explains and decides nothing."""
    records = any(row["changed"] or row["only_a"] or row["only_b"] for row in found["records"])
    keys = ("plan", "subjects", "measurements", "conclusions")
    return not records and not any(found[key] for key in keys)


def _values(a: Any, b: Any) -> list[dict[str, str | None]]:
    """Return the dotted keys whose values differ; None where a side lacks the key.

    Of two lists of plain values only the items that the other lacks are shown.
    """
    one, two = dict(_leaves(a)), dict(_leaves(b))
    found = []
    for key in sorted({*one, *two}):
        before, after = one.get(key), two.get(key)
        if before != after:
            found.append({"key": key, "a": _shown(before, after), "b": _shown(after, before)})
    return found


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """Yield (dotted key, value as text, or texts) of nested JSON; named items by their names."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _leaves(value[name], f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for number, item in enumerate(value):
            name = item.get("name", number) if isinstance(item, dict) else number
            yield from _leaves(item, f"{key}[{name}]")
    elif isinstance(value, list):
        yield key, tuple(str(item) for item in value)
    else:
        yield key, "none" if value is None else str(value)


def _shown(value: str | tuple[str, ...] | None, other: str | tuple[str, ...] | None) -> str | None:
    if not isinstance(value, tuple):
        return value
    if not isinstance(other, tuple) or sorted(other) == sorted(value):
        return ", ".join(value) or "none"
    return ", ".join(item for item in value if item not in other) or "none"


def _subjects(case: Case) -> dict[str, Any]:
    return {one["name"]: one for one in case.read_json("subjects.json")["subjects"]}


def _records(a: Case, b: Case) -> Iterator[dict[str, Any]]:
    """Yield for each record file how many replies are the same, changed, or of one case only."""
    names = {
        path.relative_to(case.data).as_posix()
        for case in (a, b)
        for path in (case.data / "records").glob("*/*.jsonl")
    }
    for name in sorted(names):
        one, two = _replies(a, name), _replies(b, name)
        shared = one.keys() & two.keys()
        same = sum(one[key] == two[key] for key in shared)
        yield {
            "file": name,
            "same": same,
            "changed": len(shared) - same,
            "only_a": len(one) - len(shared),
            "only_b": len(two) - len(shared),
        }


def _replies(case: Case, name: str) -> dict[tuple[str, int], str]:
    """Return {(probe, repeat): digest of the last attempt's reply}; withheld ones are left out."""
    path, hidden = case.data / name, withheld_lines(case).get(name, {})
    found: dict[tuple[str, int], str] = {}
    if not path.is_file():
        return found
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number - 1 in hidden:
                continue
            try:
                row = json.loads(line)
                reply = json.dumps([row.get("outcome"), row.get("text")])
                found[row["probe_id"], row["repeat"]] = digest(reply.encode())
            except (ValueError, KeyError, AttributeError) as error:
                raise CaseError(f"{path}, line {number}: no record ({error})") from error
    return found


def _measurements(a: Case, b: Case) -> Iterator[dict[str, Any]]:
    one, two = (_by_measure(case) for case in (a, b))
    for suspect, measure in sorted({*one, *two}):
        before, after = one.get((suspect, measure)), two.get((suspect, measure))
        if before is not None and before == after:
            continue
        known = before and after and None not in (before["value"], after["value"])
        yield {
            "suspect": suspect,
            "measure": measure,
            "a": before,
            "b": after,
            "change": after["value"] - before["value"] if known and before and after else None,
            "apart": _apart(before, after),
        }


def _by_measure(case: Case) -> dict[tuple[str, str], dict[str, Any]]:
    fields = ("value", "interval", "rank_p", "z", "undefined")
    return {
        (suspect, row["measure"]): {field: row[field] for field in fields}
        for suspect, rows in case.read_json("statistics.json")["suspects"].items()
        for row in rows
    }


def _apart(a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool | None:
    """Say whether the 95 % intervals have nothing in common; None where one lacks."""
    if not a or not b or not a["interval"] or not b["interval"]:
        return None
    (low_a, high_a), (low_b, high_b) = a["interval"], b["interval"]
    return bool(high_a < low_b or high_b < low_a)


def _conclusions(a: Case, b: Case) -> Iterator[dict[str, Any]]:
    one, two = (case.read_json("conclusion.json")["suspects"] for case in (a, b))
    for suspect in sorted({*one, *two}):
        for field in _CONCLUSION:
            before, after = (side.get(suspect, {}).get(field) for side in (one, two))
            if before != after:
                yield {"suspect": suspect, "field": field, "a": before, "b": after}
