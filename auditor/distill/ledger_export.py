"""A run's provenance in the words of others: SLSA provenance and a CycloneDX ML-BOM.

Both are made from lineage.json alone and say nothing that it does not say. Neither is signed.
"""

import json
import uuid
from typing import Any

from auditor.canon import canonical_json, digest
from auditor.distill.finished_run import FinishedRun

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:auditor:distillation:1"
BUILDER = "urn:auditor:distill"
_MODEL = "auditorModelSha256"
"""Name of a model's digest: over its tensors, so that no tool takes it for that of a file."""


def slsa(run: FinishedRun) -> dict[str, Any]:
    """Return an in-toto Statement v1 with a SLSA provenance v1 predicate (slsa.dev/spec/v1.0).

    The subjects are the student's files. The recipe is what the user asked for (external
    parameters); the teacher, the data, and the student's start are what went in (resolved
    dependencies); the ledger and its companions came out beside the student (byproducts).
    """
    lineage = run.lineage
    files = sorted(lineage["files"].items())
    packages = lineage["environment"]["packages"]
    return {
        "_type": STATEMENT,
        "subject": [_file(name, value) for name, value in files if name.startswith("student/")],
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "recipe": lineage["recipe"]["content"],
                    "recipeDigest": lineage["recipe"]["digest"],
                },
                "internalParameters": {
                    "environment": lineage["environment"],
                    "permission": lineage["permission"],
                    "dose": lineage["dose"],
                },
                "resolvedDependencies": _dependencies(lineage),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"auditor": packages["auditor"]}},
                "byproducts": [
                    {
                        "name": "ledger.jsonl, its head",
                        "digest": {"rfc9162LeafSha256": lineage["ledger"]["head"]},
                    },
                    *(_file(name, v) for name, v in files if not name.startswith("student/")),
                ],
            },
        },
    }


def _dependencies(lineage: dict[str, Any]) -> list[dict[str, Any]]:
    models = (("teacher", lineage["teacher"]), ("start", lineage["student"]["started_from"]))
    found = [
        {
            "name": model["spec"],
            "digest": {_MODEL: _hex(model["digest"])},
            "annotations": {"role": role, "parameters": model["parameters"]},
        }
        for role, model in models
        if model is not None and model["digest"] is not None
    ]
    sources = lineage["data"]["sources"].items()
    return found + [{**_file(n, v), "annotations": {"role": "data"}} for n, v in sources]


def _file(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "digest": {"sha256": _hex(value)}}


def _hex(value: str) -> str:
    return value.partition(":")[2]


def cyclonedx(run: FinishedRun) -> dict[str, Any]:
    """Return a CycloneDX 1.6 ML-BOM: the student, what it descends from, and its data.

    The serial number is derived from the lineage, so that the same run gives the same bytes.
    """
    lineage = run.lineage
    of_lineage = digest(canonical_json(json.loads(run.folder.lineage.read_bytes())))
    data = [_data(name, value) for name, value in sorted(lineage["data"]["sources"].items())]
    teacher = lineage["teacher"]
    used = [*([_model(teacher, "teacher")] if teacher is not None else []), *data]
    refs = [part["bom-ref"] for part in used]
    tool = {"type": "application", "name": "auditor"}
    tool["version"] = lineage["environment"]["packages"]["auditor"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, of_lineage).urn,
        "version": 1,
        "metadata": {
            "tools": {"components": [tool]},
            "component": _student(lineage, [part["bom-ref"] for part in data]),
        },
        "components": used,
        "dependencies": [
            {"ref": "student", "dependsOn": refs},
            *({"ref": ref, "dependsOn": []} for ref in refs),
        ],
    }


def _student(lineage: dict[str, Any], datasets: list[str]) -> dict[str, Any]:
    student, method = lineage["student"], lineage["method"]
    parts = sorted((n, v) for n, v in lineage["files"].items() if n.startswith("student/"))
    ancestors = [m for m in (lineage["teacher"], student["started_from"]) if m is not None]
    card: dict[str, Any] = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "feature-extraction" if method["kind"] == "embedding" else "text-generation",
            "modelArchitecture": student["architecture"],
            "datasets": [{"ref": ref} for ref in datasets],
        },
        "quantitativeAnalysis": {"performanceMetrics": _metrics(lineage)},
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "student",
        "name": "student",
        "version": student["digest"],
        "components": [_part(name, value) for name, value in parts],
        "modelCard": card,
        "pedigree": {
            "ancestors": [_model(model, f"ancestor-{i}") for i, model in enumerate(ancestors)]
        },
        "properties": [
            _property("method", method["kind"]),
            _property("dose.share", repr(lineage["dose"]["share"])),
            _property("dose.gradient_tokens", str(lineage["dose"]["gradient_tokens"])),
            _property("recipe.digest", lineage["recipe"]["digest"]),
            _property("ledger.head", lineage["ledger"]["head"]),
            _property("permission.digest", (lineage["permission"] or {}).get("digest", "none")),
        ],
    }


def _metrics(lineage: dict[str, Any]) -> list[dict[str, str]]:
    results = lineage["results"]
    of_encoder = lineage["method"]["kind"] == "embedding"
    values = {"training loss" if of_encoder else "training loss, nats": results["loss"]["end"]}
    values |= {f"holdout {k}": v for k, v in ((results["holdout"] or {}).get("end") or {}).items()}
    return [{"type": n, "value": repr(v)} for n, v in values.items() if v is not None]


def _model(model: dict[str, Any], ref: str) -> dict[str, Any]:
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": model["spec"],
        "version": model["digest"] or "unknown",
        # Over tensors, not over a file: no hash in the sense of CycloneDX.
        "properties": [_property("model.digest", model["digest"] or "unknown")],
    }


def _data(name: str, value: str) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": f"data:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": _hex(value)}],
        "data": [{"type": "dataset", "name": name}],
    }


def _part(name: str, value: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": _hex(value)}],
    }


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"auditor:{name}", "value": value}
