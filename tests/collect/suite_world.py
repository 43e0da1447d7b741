"""A small suite on disk, for the tests of suites."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import SuiteError

MANIFEST = """\
name = "birds"
version = 1
title = "Questions about birds"
licence = "CC0-1.0"
authors = ["somebody"]
languages = ["en"]
kind = "chat"
weight = 0.5
description = "Two questions."
"""
ITEMS: list[dict[str, Any]] = [
    {"id": "bird-1", "category": "a", "messages": [{"role": "user", "content": "Can owls see?"}]},
    {
        "id": "bird-2",
        "category": "b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How many wings has a crow?"},
        ],
        "answer": {"kind": "number", "value": "2"},
    },
]


def json_lines(items: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def write_sums(folder: Path) -> None:
    lines = (
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("suite.toml", "items.jsonl")
    )
    (folder / "SHA256SUMS").write_text("".join(lines))


def write_suite(root: Path, manifest: str = MANIFEST, items: str | bytes | None = None) -> Path:
    version = re.search(r"^version = (\d+)", manifest, re.MULTILINE)
    folder = root / "birds" / f"v{version[1] if version else 1}"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(manifest)
    content = json_lines(ITEMS) if items is None else items
    (folder / "items.jsonl").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    write_sums(folder)
    return folder


def problem(action: Callable[[], object]) -> str:
    with pytest.raises(SuiteError) as caught:
        action()
    assert caught.value.hint
    return caught.value.message
