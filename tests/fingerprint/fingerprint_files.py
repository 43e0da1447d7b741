"""Terms of the fingerprints of the tests, and changed copies of them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from auditor.fingerprint.file import Fingerprint, packed, write_fingerprint

TERMS = ("--suite", "continuations", "--suite", "ood", "--probes", "40", "--positions", "16")
SMALL = ("--suite", "ood", "--probes", "3", "--positions", "4")


def edited(source: Path, target: Path, change: Callable[[dict], object]) -> Path:
    """Write a changed copy of a fingerprint."""
    content = json.loads(source.read_bytes())
    change(content)
    target.write_text(json.dumps(content))
    return target


def written(one: Fingerprint, path: Path, **arrays: np.ndarray) -> Path:
    """Write a fingerprint with other arrays of these names."""
    content = json.loads(json.dumps(one.content))
    content["arrays"].update({name: packed(values) for name, values in arrays.items()})
    write_fingerprint(path, content)
    return path


def digests_of(*paths: Path) -> list[str]:
    """Return the words that name the digests of files."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return [word for one in digests for word in ("--digest", f"sha256:{one}")]
