"""A sealed case in an RO-Crate 1.1, by the profile Process Run Crate 0.5: who ran what on what.

The crate is a new folder with a copy of the sealed case and ``ro-crate-metadata.json`` beside it:
the case itself is not changed, and stays verifiable.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditor.bundle.evidence import FILE
from auditor.bundle.facts import Facts, facts
from auditor.canon import pretty_json
from auditor.case import Case, atomic_write, storage_errors
from auditor.errors import CaseError

METADATA = "ro-crate-metadata.json"
_CRATE = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


def write_crate(root: Path, out: Path) -> Path:
    """Write the crate of a sealed case to the new folder `out`; return its metadata file.

    Raises:
        CaseError: the folder is not a sealed case, is not as it was sealed, or `out` exists.
        StorageError: the disk refused it; what was written has the ending ``.part``.
    """
    found = facts(root)
    if out.exists() or out.is_symlink():
        raise CaseError(f"{out} exists", hint="give another --out; nothing is replaced")
    if out.resolve().is_relative_to(root.resolve()):
        raise CaseError(f"{out} lies in the case", hint="a sealed case is never changed")
    part = out.with_name(out.name + ".part")
    with storage_errors(part):
        if part.exists():
            shutil.rmtree(part)
        shutil.copytree(root, part / found.folder)
        atomic_write(part / METADATA, pretty_json(metadata(root, found)))
        part.rename(out)
    return out / METADATA


def metadata(root: Path, found: Facts) -> dict[str, Any]:
    """Return the content of ro-crate-metadata.json, as flattened JSON-LD."""
    graph = [
        {
            "@id": METADATA,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": {"@id": _CRATE},
        },
        _root(found),
        {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
        *_process(found),
        *_files(root, found),
    ]
    return {"@context": f"{_CRATE}/context", "@graph": graph}


def _root(found: Facts) -> dict[str, Any]:
    case = f"{found.folder}/"
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": f"Audit {found.case_id}",
        "description": " ".join(sentence for _, sentence, _ in found.readings),
        "datePublished": found.sealed,
        "license": "The licences of the probes lie beside them; outputs belong to their owners.",
        "conformsTo": {"@id": _PROFILE},
        "hasPart": [{"@id": case}],
        "mentions": {"@id": "#audit"},
    }


def _process(found: Facts) -> Iterator[dict[str, Any]]:
    """Yield the action, the program that ran, and the models that it ran on."""
    models = [f"#model-{subject['name']}" for subject in found.subjects]
    program = f"#{found.tool['name']}-{found.tool['version']}"
    yield {
        "@id": "#audit",
        "@type": "CreateAction",
        "name": "Audit",
        "instrument": {"@id": program},
        "object": [{"@id": model} for model in models],
        "result": {"@id": f"{found.folder}/"},
        "startTime": found.custody[0]["time"],
        "endTime": found.sealed,
    }
    yield {
        "@id": program,
        "@type": "SoftwareApplication",
        "name": found.tool["name"],
        "version": found.tool["version"],
        "identifier": found.tool["source_digest"],
    }
    for model, subject in zip(models, found.subjects, strict=True):
        yield {
            "@id": model,
            "@type": "CreativeWork",
            "name": subject["ref"]["spec"],
            "identifier": subject["ref"]["digest"] or "unknown",
            "description": f"{subject['role']}, family {subject['family']}",
        }


def _files(root: Path, found: Facts) -> Iterator[dict[str, Any]]:
    """Yield the sealed case and each file of its ``data/``."""
    listed = Case(root).read_json(FILE)["files"]
    ids = {name: f"{found.folder}/data/{name}" for name in listed}
    yield {
        "@id": f"{found.folder}/",
        "@type": "Dataset",
        "name": "Sealed case, BagIt 1.0",
        "identifier": f"sha256:{found.manifest}",
        "hasPart": [{"@id": name} for name in ids.values()],
    }
    for name, entry in listed.items():
        yield {
            "@id": ids[name],
            "@type": "File",
            "name": name,
            "encodingFormat": entry["media_type"],
            "contentSize": str(entry["bytes"]),
            "sha256": entry["sha256"],
        }
