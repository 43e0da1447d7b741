"""The files of a probe suite: reading them, what `suite.toml` says, and their digests."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from auditor.canon import digest, tree_digest
from auditor.errors import SuiteError
from auditor.types import Probe

MANIFEST, ITEMS, SUMS = "suite.toml", "items.jsonl", "SHA256SUMS"
SUITE_FILES = (MANIFEST, ITEMS)
"""The files that a suite's digest covers."""

_SHA256 = r"^sha256:[0-9a-f]{64}$"
_SPDX = r"^(LicenseRef-)?[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9.+-]+)*$"
_SUM_LINE = re.compile(r"^([0-9a-f]{64}) [ *](.+)$")


class Strict(BaseModel):
    """A part of a file that people write: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Sealed(Strict):
    """A part that is published by digest only: the digest of its file and its size."""

    digest: str = Field(pattern=_SHA256)
    probes: int = Field(ge=1)


class GeneratedBy(Strict):
    """The rule of `auditor.collect.suite_rules` that wrote the items."""

    rule: str
    version: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)


class Manifest(Strict):
    """What `suite.toml` says."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: int = Field(ge=1)
    title: str = Field(min_length=1)
    licence: str = Field(pattern=_SPDX)
    authors: list[str] = Field(min_length=1)
    languages: list[str] = Field(min_length=1)
    kind: Literal["chat", "text"]
    weight: float = Field(ge=0, allow_inf_nan=False)
    description: str = Field(min_length=1)
    generated_by: GeneratedBy | None = None
    sealed: Sealed | None = None


def read_bytes(path: Path) -> bytes:
    """Return the content of a file of a suite.

    Raises:
        SuiteError: it does not exist or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SuiteError(f"cannot read {path}: {reason}", hint="check the path") from error


def read_text(path: Path) -> str:
    """Return a file's text without a byte order mark.

    Raises:
        SuiteError: it cannot be read, or is not UTF-8; the message names the byte.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError(
            f"{path} is not UTF-8 (byte {error.start})", hint="save the file as UTF-8"
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a suite folder.

    Raises:
        SuiteError: `suite.toml` is missing, is not TOML, or a key is missing, wrong or unknown.
    """
    path = folder / MANIFEST
    text = read_text(path)
    try:
        return Manifest.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"{path} is not TOML: {error}", hint="correct the file") from error
    except ValidationError as error:
        raise SuiteError(
            f"{path}: {first_reason(error)}",
            hint="probes/README.md lists the keys of suite.toml; licence is an SPDX identifier",
        ) from error


def read_sums(folder: Path) -> dict[str, str]:
    """Return ``{file name: digest}`` of `SHA256SUMS`.

    Raises:
        SuiteError: it is missing or has a line that `sha256sum -c` would not read.
    """
    path = folder / SUMS
    sums: dict[str, str] = {}
    for number, line in numbered_lines(read_text(path)):
        match = _SUM_LINE.match(line)
        if not match:
            raise SuiteError(
                f"{path}, line {number} is not '<sha256>  <file>'",
                hint=f"write it with: sha256sum {' '.join(SUITE_FILES)} > {SUMS}",
            )
        sums[match[2]] = f"sha256:{match[1]}"
    return sums


def folder_digest(folder: Path) -> str:
    """Return the suite digest: one digest over the names and digests of the suite's files.

    Raises:
        SuiteError: a file is missing.
    """
    return tree_digest({name: digest(read_bytes(folder / name)) for name in SUITE_FILES})


def sums_problems(folder: Path) -> list[str]:
    """Return how `SHA256SUMS` disagrees with the files it covers; empty where it agrees."""
    try:
        sums = read_sums(folder)
    except SuiteError as error:
        return [error.message]
    wanted = {name: digest(read_bytes(folder / name)) for name in SUITE_FILES}
    problems = [f"{folder / SUMS} does not list {name}" for name in wanted if name not in sums]
    problems += [f"{folder / SUMS} lists {name} as well" for name in sums if name not in wanted]
    problems += [
        f"{folder / name} differs from {SUMS}: the file has {wanted[name]}"
        for name in wanted
        if sums.get(name, wanted[name]) != wanted[name]
    ]
    return problems


def kind_problems(manifest: Manifest, probes: tuple[Probe, ...]) -> list[str]:
    """Return the probes that contradict what the manifest declares of all of them."""
    problems = [
        f"the probe {p.id!r} is a {p.kind} probe, but the suite's kind is {manifest.kind}"
        for p in probes
        if p.kind != manifest.kind
    ]
    problems += [
        f"the language {p.language!r} of the probe {p.id!r} is not among the suite's languages"
        for p in probes
        if p.language is not None and p.language not in manifest.languages
    ]
    if len(manifest.languages) > 1:
        problems += [f"the probe {p.id!r} states no language" for p in probes if not p.language]
    return problems


def with_defaults(manifest: Manifest, probes: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Return the probes with the suite's weight and, where it has only one, its language."""
    only = manifest.languages[0] if len(manifest.languages) == 1 else None
    return tuple(replace(p, weight=manifest.weight, language=p.language or only) for p in probes)


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of the lines that are not blank."""
    # Not splitlines(): U+2028 and others may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")


def first_reason(error: ValidationError) -> str:
    """Return the first failure as "key: what is wrong", with the offending value where short."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    found = repr(first["input"])
    shown = f" (found {found})" if len(found) <= 60 and first["type"] != "missing" else ""
    return f"{key}: {message}{shown}" if key else message
