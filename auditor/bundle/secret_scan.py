"""Secrets that got into a case: values of this process's key variables, and known shapes of keys.

A secret is named by where it comes from, never shown.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from auditor.errors import CaseError

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_|$)", re.I)
_SHORTEST = 8
"""Bytes. A shorter value (true, 1, a word) would be found in any text."""
_CHUNK_BYTES = 1 << 20
_SHAPES = {
    "a private key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----",
    "an API key (sk-...)": rb"(?<![\w-])sk-(?=[\w-]*\d)[\w-]{20,}",
    "a Hugging Face token": rb"(?<!\w)hf_[A-Za-z0-9]{30,}",
    "a GitHub token": rb"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})",
    "an AWS key id": rb"(?<!\w)(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)",
    "a Google API key": rb"(?<!\w)AIza[\w-]{35}(?![\w-])",
    "a Slack token": rb"(?<!\w)xox[abeoprs]-(?=[\w-]*\d)[\w-]{10,}",
    "an authorization header": rb"Bearer (?=[\w.~+/-]*\d)[\w.~+/-]{20,}",
}
_SHAPE = re.compile(b"|".join(b"(%b)" % shape for shape in _SHAPES.values()))
_STARTS = (
    *(b"PRIVATE KEY", b"sk-", b"hf_", b"github_pat_", b"AKIA", b"ASIA", b"AIza", b"xox"),
    *(b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"Bearer "),
)
"""One of these is in every text that has a shape: looking for them is 20 times quicker."""
_BINARY = (".npy", ".tsr")
"""Not searched for shapes, which random bytes could have."""


def known_secrets(
    environment: Mapping[str, str], files: Sequence[Path] = ()
) -> dict[str, list[bytes]]:
    """Return {where a secret comes from: the forms in which it could stand in a file}.

    Args:
        environment: variables; those whose name says key, token, secret or password count.
        files: each holds one secret.

    Raises:
        CaseError: a file cannot be read.
    """
    found = {f"${name}": value for name, value in environment.items() if _NAMES.search(name)}
    for path in files:
        try:
            found[str(path)] = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise CaseError(f"{path} cannot be read as a secret: {error}") from error
    return {
        source: sorted({value.encode(errors="surrogateescape") for value in _forms(text)})
        for source, text in found.items()
        if len(text.encode(errors="surrogateescape")) >= _SHORTEST
    }


def _forms(text: str) -> Iterator[str]:
    yield text
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield html.escape(text)


def refuse_secrets(root: Path, names: Sequence[str], secrets: Mapping[str, list[bytes]]) -> None:
    """Read files below `root` and refuse them where one holds a secret.

    Raises:
        CaseError: names the file and what was found, not the value.
    """
    for name in names:
        source = _found(root / name, secrets)
        if source is not None:
            raise CaseError(
                f"{name} holds the secret {source}"
                if source in secrets
                else f"{name} holds what looks like {source}",
                hint="a sealed case is read by strangers: withdraw that key, and make the case "
                "again without it",
            )


def _found(path: Path, secrets: Mapping[str, list[bytes]]) -> str | None:
    shaped = path.suffix not in _BINARY
    if not shaped and not secrets:
        return None
    longest = max((len(form) for forms in secrets.values() for form in forms), default=0)
    overlap, before = max(longest, 256), b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            text = before + chunk
            for source, forms in secrets.items():
                if any(form in text for form in forms):
                    return source
            shape = _SHAPE.search(text) if shaped and any(s in text for s in _STARTS) else None
            if shape is not None and shape.lastindex is not None:
                return list(_SHAPES)[shape.lastindex - 1]
            before = text[-overlap:]
    return None
