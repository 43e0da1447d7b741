"""Results as SARIF 2.1.0 (OASIS), which code scanning services show: one result a suspect.

A reading is at most a ``warning``: it asks a person to look, and states no defect.
"""

import json
from collections.abc import Mapping
from typing import Any

from auditor.report.escape import visible
from auditor.report.words import not_said, reading_sentence

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_RULES = {
    "imitation": ("warning", "The findings support training on the reference's outputs."),
    "replication": ("warning", "The findings support weights that derive from the reference's."),
    "no-link": ("none", "No link was found; the report says what would have been seen."),
    "inconclusive": ("none", "The findings do not answer the question."),
}
"""Level and meaning of each reading."""
_KINDS = {"imitation": "fail", "replication": "fail", "no-link": "pass", "inconclusive": "open"}
"""SARIF 3.27.9; every kind but ``fail`` has the level ``none`` (3.27.10)."""


def sarif_of(results: Mapping[str, dict[str, Any]], version: str) -> str:
    """Return the SARIF text of results (DESIGN, section 5) by the suspect's name.

    Args:
        results: ``auditor/result/1`` of each suspect.
        version: of this tool.
    """
    rules = [
        {
            "id": f"reading/{reading}",
            "shortDescription": {"text": meaning},
            "defaultConfiguration": {"level": level},
        }
        for reading, (level, meaning) in _RULES.items()
    ]
    driver = {"name": "auditor", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "results": [_result(name, result) for name, result in results.items()],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _result(name: str, result: dict[str, Any]) -> dict[str, Any]:
    conclusion, reference = result["conclusion"], result["reference"]
    reading = conclusion["reading"]
    level, _ = _RULES[reading]
    said = [
        reading_sentence(conclusion, name, reference["spec"]),
        *not_said(conclusion, name, reference["spec"]),
    ]
    place = {"uri": result["report"].replace("\\", "/")}
    named = {"fullyQualifiedName": visible(result["suspect"]["spec"]), "kind": "resource"}
    return {
        "ruleId": f"reading/{reading}",
        "ruleIndex": list(_RULES).index(reading),
        "kind": _KINDS[reading],
        "level": level,
        "message": {"text": visible(" ".join(said))},
        "locations": [
            {"physicalLocation": {"artifactLocation": place}, "logicalLocations": [named]}
        ],
        "partialFingerprints": {
            "suspect": str(result["suspect"]["digest"]),
            "reference": str(reference["digest"]),
        },
        "properties": {key: visible(conclusion[key] or "") for key in ("basis", "cap")},
    }
