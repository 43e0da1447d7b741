"""The sealed part of a suite: published by digest first, revealed as a file later.

Why: probes that were public before a model was trained may be in its training data. A sealed part
proves that its probes existed on the day the suite was released, and that nobody chose them after
seeing a suspect. Its file is items lines after a first line ``{"salt": "<32+ hex digits>"}``: the
salt keeps anybody from guessing short probes and confirming the guess by the digest.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

from auditor.canon import digest
from auditor.collect.suite_format import Manifest, read_bytes, read_text
from auditor.collect.suite_items import Items, parse_items
from auditor.errors import SuiteError

_SALT = re.compile(r"^[0-9a-f]{32,}$")


def read_sealed(manifest: Manifest, path: Path) -> Items:
    """Return the probes of a revealed part that matches the digest in the manifest.

    Raises:
        SuiteError: the suite has no sealed part, the file is not the one that was published by
            digest, it has no salt, or it does not hold the number of probes that was announced.
    """
    if manifest.sealed is None:
        raise SuiteError(
            f"{manifest.name}@{manifest.version} has no sealed part",
            hint="leave out the revealed file",
        )
    found = sealed_digest(path)
    if found != manifest.sealed.digest:
        raise SuiteError(
            f"{path} is not the sealed part of {manifest.name}@{manifest.version}: its digest is "
            f"{found}, published was {manifest.sealed.digest}",
            hint="ask the authors of the suite for the file they sealed",
        )
    _, _, rest = read_text(path).partition("\n")
    # Keep the line numbers of the file: the salt is line 1.
    items = parse_items("\n" + rest, str(path))
    if len(items.probes) == manifest.sealed.probes or items.problems:
        return items
    count = f"{path} holds {len(items.probes)} probes, announced were {manifest.sealed.probes}"
    return replace(items, problems=(count,))


def sealed_digest(path: Path) -> str:
    """Return the digest to publish for a sealed part.

    Raises:
        SuiteError: the file cannot be read or does not start with a salt line.
    """
    first, _, _ = read_text(path).partition("\n")
    try:
        value = json.loads(first)
    except ValueError:
        value = None
    salt = value.get("salt") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(salt, str) or not _SALT.match(salt):
        raise SuiteError(
            f'the first line of {path} is not {{"salt": "<32 or more hex digits>"}}',
            hint="a salt keeps short probes from being guessed from the digest",
        )
    return digest(read_bytes(path))
