"""The schema that the CycloneDX project ships, for the tests of every folder."""

import json
from importlib.resources import files
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource


def schema_errors(content: Any) -> list[str]:
    """What the schema that the CycloneDX project ships has against a document."""
    pytest.importorskip("cyclonedx", reason="pip install cyclonedx-python-lib")
    folder = files("cyclonedx.schema._res")
    names = ("bom-1.6", "spdx", "jsf-0.82")
    schemas = [
        json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text("utf-8")) for name in names
    ]
    registry: Registry[Any] = Registry().with_resources(
        [(schema["$id"], Resource.from_contents(schema)) for schema in schemas]
    )
    validator = Draft7Validator(schemas[0], registry=registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(content)]
