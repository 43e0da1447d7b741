"""What the lock of a plan freezes, and where an audit is another one than the locked."""

from typing import Any

from auditor.canon import json_digest

_PARTS = ("plan", "subjects", "suites", "marks", "rules")
"""Parts of a lock that a later audit must find the same; another release is only noted."""


def frozen_parts(declared: dict[str, Any], case_plan: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a lock.

    Args:
        declared: the plan as people wrote it, every default filled in.
        case_plan: the plan of its case, every model identified and every probe chosen.
    """
    return {
        "plan": declared,
        "subjects": {
            subject["name"]: {key: subject[key] for key in ("role", "family", "digest")}
            for subject in case_plan["subjects"]
        },
        "suites": {
            f"{suite['name']}@{suite['version']}": {
                "digest": suite["digest"],
                "probes": len(suite["probes"]),
                "selection": json_digest(suite["probes"]),
            }
            for suite in case_plan["suites"]
        },
        "marks": {
            one["suspect"]: {key: one[key] for key in ("commitment", "suite_digest", "probes")}
            for one in case_plan["marks"]
        },
        "rules": case_plan["rules"],
    }


def differences(planned: Any, found: Any, name: str = "") -> list[dict[str, Any]]:
    """Return where two locks differ, each {"key", "planned", "found"}, keys dotted and sorted."""
    if name == "":
        parts = [differences(planned[part], found[part], part) for part in _PARTS]
        return [one for part in parts for one in part]
    if isinstance(planned, dict) and isinstance(found, dict):
        return [
            one
            for key in sorted({*planned, *found})
            for one in differences(planned.get(key), found.get(key), f"{name}.{key}")
        ]
    return [] if planned == found else [{"key": name, "planned": planned, "found": found}]


def departures_from_lock(
    lock: dict[str, Any] | None, declared: dict[str, Any], case_plan: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return where an audit differs from its lock, and from the rules that its plan names.

    Args:
        lock: None where the plan was not locked.
        declared: the plan as it is now.
        case_plan: the plan of the case.
    """
    now = frozen_parts(declared, case_plan)
    differs = [] if lock is None else differences(lock, now)
    rules = case_plan["rules"]["rules"]
    if declared["decision"] not in (None, rules):
        differs.append({"key": "decision", "planned": declared["decision"], "found": rules})
    return differs


def asked(declared: dict[str, Any]) -> dict[str, Any]:
    """Return what a declared plan fixes word for word in the plan of its case."""
    sampling, compute = dict(declared["sampling"]), declared["compute"]
    return {
        "command": "audit",
        "access": declared["access"],
        "repeats": sampling.pop("repeats"),
        "system": sampling.pop("system", None),
        "decoding": sampling,
        "seed": declared["seed"],
        "encoder": declared["encoder"],
        "watch": declared.get("watch"),
        **{key: compute[key] for key in ("device", "dtype", "batch_tokens")},
    }
