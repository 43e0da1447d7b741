"""A sealed case as CycloneDX 1.6: the models examined, and the readings as claims with evidence.

The claims are attestations in the sense of CycloneDX (CDXA): statements about a component. The
signatures over the case stay the authority; nothing here is signed.
"""

import uuid
from pathlib import Path
from typing import Any

from auditor.bundle.facts import Facts, facts

_EVIDENCE = "evidence:manifest"


def bill_of_materials(root: Path) -> dict[str, Any]:
    """Return the CycloneDX 1.6 document of a sealed case, after reading every file.

    The serial number is derived from the payload manifest: the same case gives the same bytes.

    Raises:
        CaseError: the folder is not a sealed case, or is not as it was sealed.
    """
    found = facts(root)
    tool = {"type": "application", "name": found.tool["name"], "version": found.tool["version"]}
    reference = found.subjects[0]["name"]
    claims = [_claim(sentence, c, reference, name) for name, sentence, c in found.readings]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, found.manifest).urn,
        "version": 1,
        "metadata": {
            "timestamp": found.sealed,
            "tools": {"components": [tool]},
            "component": _case(found),
        },
        "components": [
            *(_model(subject) for subject in found.subjects),
            *(_suite(suite) for suite in found.suites),
        ],
        "declarations": {
            "claims": claims,
            "evidence": [_evidence(found)],
        },
    }


def _case(found: Facts) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": "case",
        "name": found.folder,
        "version": found.case_id,
        "hashes": [{"alg": "SHA-256", "content": found.manifest}],
        "data": [{"type": "other", "name": "evidence of an audit, BagIt 1.0"}],
        "properties": [
            _property("attempts", str(found.attempts)),
            _property("statistics", str(found.statistics)),
            _property("signatures", ", ".join(found.signatures) or "none"),
        ],
    }


def _model(subject: dict[str, Any]) -> dict[str, Any]:
    ref = subject["ref"]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{subject['name']}",
        "name": ref["spec"],
        "version": ref["digest"] or "unknown",
        # The digest is over tensors, not over a file: no hash in the sense of CycloneDX.
        "properties": [
            _property("role", subject["role"]),
            _property("family", subject["family"]),
            _property("access", ref["access"]),
            _property("tokenizer.digest", ref["tokenizer_digest"] or "unknown"),
        ],
    }


def _suite(suite: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"suite:{suite['name']}",
        "name": suite["name"],
        "version": str(suite["version"]),
        "data": [{"type": "dataset", "name": suite["name"]}],
        "properties": [_property("suite.digest", suite["digest"])],
    }


def _claim(
    sentence: str, conclusion: dict[str, Any], reference: str, suspect: str
) -> dict[str, Any]:
    limits = [f"Cap: {conclusion['cap']}."] if conclusion["cap"] else []
    return {
        "bom-ref": f"claim:{suspect}:{reference}",
        "target": f"model:{suspect}",
        "predicate": f"{conclusion['reading']}: {sentence}",
        "reasoning": " ".join([f"Basis: {conclusion['basis']}.", *limits, *conclusion["limits"]]),
        "evidence": [_EVIDENCE],
    }


def _evidence(found: Facts) -> dict[str, Any]:
    text = f"manifest-sha256.txt of the sealed case has the SHA-256 {found.manifest}"
    return {
        "bom-ref": _EVIDENCE,
        "propertyName": "auditor:case",
        "description": f"{text}; it fixes {found.files} files.",
        "data": [{"name": found.folder, "contents": {"url": "manifest-sha256.txt"}}],
        "created": found.sealed,
    }


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"auditor:{name}", "value": value}
