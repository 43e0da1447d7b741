"""Where shipped suites lie, and the list of released digests that nobody may change."""

import re
from pathlib import Path

from auditor.collect.suite_format import MANIFEST, read_text
from auditor.errors import SuiteError

RELEASED = "RELEASED"
VERSION = re.compile(r"^v([1-9][0-9]*)$")
_LINE = re.compile(r"^([a-z][a-z0-9-]*@[1-9][0-9]*) (sha256:[0-9a-f]{64})$")


def version_folders(root: Path) -> dict[tuple[str, int], Path]:
    """Return ``{(name, version): folder}`` of the suites under `root`, sorted."""
    found: dict[tuple[str, int], Path] = {}
    for manifest in root.glob(f"*/v*/{MANIFEST}"):
        match = VERSION.match(manifest.parent.name)
        if match:
            found[manifest.parent.parent.name, int(match[1])] = manifest.parent
    return dict(sorted(found.items()))


def released(root: Path) -> dict[str, str]:
    """Return ``{name@version: digest}`` of ``<root>/RELEASED``; empty where there is no such file.

    Blank lines and lines that start with ``#`` are skipped.

    Raises:
        SuiteError: a line is not ``name@version sha256:<hex>``, or a suite is listed twice.
    """
    path = root / RELEASED
    if not path.is_file():
        return {}
    pinned: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.match(line.strip())
        if not match or match[1] in pinned:
            raise SuiteError(
                f"{path}, line {number}: {line!r} is not a new 'name@version sha256:<hex>'",
                hint="restore the file",
            )
        pinned[match[1]] = match[2]
    return pinned
