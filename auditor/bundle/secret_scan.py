"""Secrets that got into a case: values of this process's key variables, and known shapes of keys.

A secret is named by where it comes from, never shown.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import CaseError
from auditor.spellings import SHORTEST, spellings

_NAMES = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(_|$)", re.I)
_CHUNK_BYTES = 1 << 20
_MOST = 200
"""Letters of a key that are looked at: what is longer is found by these."""
_OVERLAP = 1024
"""More than the longest match and what stands before it."""
# A word may begin after an escape of JSON (\n, \u2028), whose letters belong to no word.
_FREE = rb"(?:(?<!\w)|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
_SHAPES = {
    "a private key": rb"-----BEGIN (?:[A-Z0-9]{1,16} ){0,3}PRIVATE KEY-----"
    rb"(?:\\[nr]|\s){0,4}[A-Za-z0-9+/=]{0,64}",
    "an API key (sk-...)": _FREE + rb"(?<!-)sk-(?=[\w-]{0,199}\d)[\w-]{20,%d}" % _MOST,
    "a Hugging Face token": _FREE + rb"hf_[A-Za-z0-9]{30,%d}" % _MOST,
    "a GitHub token": _FREE
    + rb"(?:gh[pousr]_[A-Za-z0-9]{36,%d}|github_pat_\w{22,%d})" % (_MOST, _MOST),
    "an AWS key id": _FREE + rb"(?:AKIA|ASIA)[0-9A-Z]{16}(?!\w)",
    "a Google API key": _FREE + rb"AIza[\w-]{35}(?![\w-])",
    "a Slack token": _FREE + rb"xox[abeoprs]-(?=[\w-]{0,199}\d)[\w-]{10,%d}" % _MOST,
    "an authorization header": rb"Bearer (?=[\w.~+/-]{0,199}\d)[\w.~+/-]{20,%d}" % _MOST,
}
_SHAPE = re.compile(b"|".join(b"(%b)" % shape for shape in _SHAPES.values()))
_STARTS = (
    *(b"PRIVATE KEY", b"sk-", b"hf_", b"github_pat_", b"AKIA", b"ASIA", b"AIza", b"xox"),
    *(b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"Bearer "),
)
"""One of these is in every match; looking for them first is many times faster."""
_BREAK = re.compile(rb"\\[nr]|\s")
_BINARY = (".npy", ".tsr")
"""Not searched for shapes, which random bytes could have."""


@dataclass(frozen=True, slots=True)
class KeyLike:
    """A text that has the shape of a key."""

    what: str
    """Which."""
    text: bytes
    """Without line breaks, which files write in different ways."""


def known_secrets(
    environment: Mapping[str, str],
    files: Sequence[Path] = (),
    others: Mapping[str, str] | None = None,
) -> dict[str, list[bytes]]:
    """Return {where a secret comes from: the spellings in which it could stand in a file}.

    Args:
        environment: variables; those whose name says key, token, secret or password count.
        files: each holds one secret.
        others: further secrets, by where they come from.

    Raises:
        CaseError: a file cannot be read.
    """
    found = {f"${name}": value for name, value in environment.items() if _NAMES.search(name)}
    found |= others or {}
    for path in files:
        try:
            found[str(path)] = path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise CaseError(
                f"{path} cannot be read as a secret: {getattr(error, 'strerror', 'not UTF-8')}",
                hint="name a file that holds one secret, as text",
            ) from None  # a decoding error would show a part of the file
    return {
        source: spellings(text)
        for source, text in found.items()
        if len(text.encode(errors="surrogateescape")) >= SHORTEST
    }


def refuse_secrets(root: Path, names: Sequence[str], secrets: Mapping[str, list[bytes]]) -> None:
    """Read files below `root` and refuse them where one holds a secret.

    Raises:
        CaseError: names the file and where the secret comes from, not the value.
    """
    if not secrets:
        return
    longest = max(len(form) for forms in secrets.values() for form in forms)
    for name in names:
        for piece in _pieces(root / name, longest):
            for source, forms in secrets.items():
                if any(form in piece.text for form in forms):
                    raise CaseError(
                        f"{name} holds the secret {source}",
                        hint="a sealed case is read by strangers: withdraw that key, and make the "
                        "case again without it",
                    )


def key_like(path: Path) -> list[KeyLike]:
    """Return the texts in a file that are shaped like a key, each once, in their order."""
    if path.suffix in _BINARY:
        return []
    return list(dict.fromkeys(one for piece in _pieces(path, _OVERLAP) for one in _shaped(piece)))


def may_hold_key(text: bytes) -> bool:
    """Say, many times faster, whether a text may hold what is shaped like a key."""
    return any(start in text for start in _STARTS)


def key_like_in(text: bytes) -> list[KeyLike]:
    """Return the texts within a text that are shaped like a key."""
    return list(_shaped(_Piece(text, first=True, last=True)))


def is_accepted(one: KeyLike, accepted: Collection[bytes]) -> bool:
    """Whether a text is one of the accepted, or a part of one: a report shows replies cut."""
    return any(one.text in text for text in accepted)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: bytes
    first: bool
    last: bool


def _shaped(piece: _Piece) -> Iterator[KeyLike]:
    """Yield what has a shape; not what the next or the previous piece of a file has whole."""
    text = piece.text
    if not may_hold_key(text):
        return
    for match in _SHAPE.finditer(text):
        cut_end = match.end() == len(text) and not piece.last
        cut_start = match.start() == 0 and not piece.first
        if match.lastindex is not None and not cut_end and not cut_start:
            what = list(_SHAPES)[match.lastindex - 1]
            yield KeyLike(what, _BREAK.sub(b"", match[0]))


def _pieces(path: Path, overlap: int) -> Iterator[_Piece]:
    """Yield the content in pieces, each of which repeats the last `overlap` bytes before it."""
    before, first = b"", True
    with path.open("rb") as stream:
        chunk = stream.read(_CHUNK_BYTES)
        while True:
            following = stream.read(_CHUNK_BYTES)
            text = before + chunk
            yield _Piece(text, first, not following)
            if not following:
                return
            before, chunk, first = text[len(text) - overlap :] if overlap else b"", following, False
