"""Values of every schema of a case, most of them of a real one, and mutations of them."""

import json
import random
from pathlib import Path

from verify_world import rows_of

from auditor.bundle.schemas import schema_of
from auditor.data import data_dir

ERROR = {
    "subject": "s",
    "suite": "ood@1",
    "probe_id": "p",
    "repeat": 0,
    "attempt": 1,
    "error": "no reply",
}
SHA = "sha256:" + "0" * 64
DEVIATIONS = {
    "schema": "auditor/deviations/1",
    "plan": SHA,
    "lock": None,
    "deviations": [
        {"kind": "replies", "what": "few", "planned": 3, "found": 1, "reason": None},
        {"kind": "changed", "what": "seed", "planned": 0, "found": 1, "reason": "asked"},
    ],
}
UNTESTED = {"p_value": None, "floor": None, "undefined": "needs LOGITS"}
RANKED = {
    "p_value": 0.25,
    "floor": 0.25,
    "undefined": None,
    "ranks": [1],
    "of": 4,
    "observed": {"losses_nats": [[1.5, 2.0, 2.5, 3.0]]},
}
MARKED = {
    "schema": "auditor/case-mark-tests/1",
    "suspect": "s",
    "commitment": "hmac-sha256:" + "0" * 64,
    "alpha": 0.05,
    "tests": {"canaries": RANKED, "green_list": UNTESTED},
}
ADJUSTED = {"id": "M001", "adjusted_p": None, "found": None}
MARKS = {
    "schema": "auditor/case-marks/1",
    "suspects": {
        "s": {
            "commitment": "hmac-sha256:" + "0" * 64,
            "alpha": 0.05,
            "tests": {"green_list": {**UNTESTED, **ADJUSTED}},
        }
    },
}


def values_of(root: Path) -> dict[str, list]:
    """Return {schema: values} of all files of a case that have one; some lines of each file."""
    found: dict[str, list] = {}
    for path in sorted((root / "data").rglob("*.json*")):
        schema = schema_of(path.relative_to(root / "data").as_posix())
        assert schema is not None, path
        rows = rows_of(path)[:4] if path.suffix == ".jsonl" else [json.loads(path.read_bytes())]
        found.setdefault(schema, []).extend(rows)
    return found


def real_values(root: Path) -> dict[str, list]:
    pack = json.loads((data_dir("probes") / "packs" / "zoo" / "calibration.json").read_bytes())
    pack["fusions"] = [{**pack["fusions"][0], "replicates": pack["fusions"][0]["replicates"][:2]}]
    pack["doses"] = {name: rows[:2] for name, rows in pack["doses"].items()}
    found = values_of(root)
    return {
        **found,
        "record": [*found["record"], {"withheld": "0" * 64}],
        "calibration": [pack],
        "statistics": [short_statistics(root)],
        "errors": [ERROR, {**ERROR, "error": None, "withheld": True}],
        "deviations": [DEVIATIONS],
        "case-marks": [MARKS],
        "case-mark-tests": [MARKED],
        "suite-item": [*found["suite-item"], {"salt": "0" * 32}],
    }


def short_statistics(root: Path) -> dict:
    content = json.loads((root / "data/statistics.json").read_bytes())
    content["suspects"] = {name: rows[:3] for name, rows in content["suspects"].items()}
    return content


NEW = (None, True, False, 0, -1, 1.5, 2.0, 1e9, "", "x", "A" * 64, "0" * 64, SHA, [], {}, [None])


def places(value, path=()) -> list[tuple]:
    """Return the paths of everything inside of a value, its containers included."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def mutated(value, draw: random.Random):
    """Return a copy with something changed, taken out or added."""
    copy = json.loads(json.dumps(value))
    place = draw.choice(places(copy))
    if not place:
        return draw.choice(NEW)
    parent = copy
    for key in place[:-1]:
        parent = parent[key]
    way = draw.randrange(4)
    if way == 0:
        del parent[place[-1]]
    elif way == 1 and isinstance(parent, dict):
        parent[draw.choice(["x", "", "schema", "salt", "lines"])] = draw.choice(NEW)
    elif way == 2 and isinstance(parent, list):
        parent.append(draw.choice([*NEW, parent[0]]))
    else:
        parent[place[-1]] = draw.choice(NEW)
    return copy
