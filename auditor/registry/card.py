"""What a model card and the files beside it claim of where a model comes from.

Cards are written by strangers: they are read as data, of bounded size, and quoted short.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.errors import SubjectError
from auditor.models.gguf_header import read_header
from auditor.registry.claim import Claim, Kind, quoted
from auditor.registry.prose import HUB, prose

NO_CARD = "there is no model card (README.md)"
_MOST_BYTES = 4_000_000
_FRONT = re.compile(r"\A\ufeff?\s*---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_OPENED = re.compile(r"\A\ufeff?\s*---[ \t]*$", re.MULTILINE)
# yaml.safe_load lets through what int, float, strptime and its own tables raise on a tagged value.
_NO_YAML = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_RELATIONS = ("finetune", "adapter", "merge", "quantized")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The claims that were found, and what could not be read."""

    claims: tuple[Claim, ...]
    problems: tuple[str, ...]
    text: str = ""
    """Of README.md: it may name a model in words that are not understood as a claim."""


def read_card(path: Path) -> Card:
    """Return the claims of a model folder or a GGUF file, with its README.md if there is one.

    Raises:
        SubjectError: a GGUF file is corrupt.
    """
    folder = path if path.is_dir() else path.parent
    found: list[Claim] = []
    problems: list[str] = []
    text = _text(folder / "README.md", problems)
    if text is not None:
        front = _FRONT.match(text)
        if front is not None:
            found += _front_matter(front[1], problems)
        elif _OPENED.match(text):
            problems.append("the front matter of README.md has no end")
        found += prose(text[front.end() :] if front else text)
    if path.is_dir():
        found += _config(_object(folder / "config.json", problems))
        # A distillation run keeps its student in RUN/student and its record beside it.
        record = folder.parent if folder.name == "student" else folder
        found += _lineage(_object(record / "lineage.json", problems), problems)
    else:
        found += _gguf(path)
    claims = tuple(dict.fromkeys(found))
    return Card(claims=claims, problems=tuple(problems), text=text or "")


def _text(path: Path, problems: list[str]) -> str | None:
    if not path.is_file():
        problems.append(NO_CARD)
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            problems.append(f"README.md is larger than {_MOST_BYTES:,} bytes and was not read")
            return None
        content = path.read_bytes()
    except OSError as error:
        problems.append(f"README.md cannot be read: {error.strerror}")
        return None
    text = content.decode(errors="replace")
    if text.encode() != content:
        problems.append("README.md is not in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _front_matter(text: str, problems: list[str]) -> Iterator[Claim]:
    import yaml

    source = "README.md, front matter"
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, *_NO_YAML) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 2}" if mark is not None else ""
        problems.append(f"the front matter of README.md is no YAML{where}")
        return
    if not isinstance(found, dict):
        problems.append("the front matter of README.md holds no keys")
        return
    relation = found.get("base_model_relation")
    relation = relation if relation in _RELATIONS else None
    kind: Kind = "quantised_from" if relation == "quantized" else "base_model"
    for name in _names(found.get("base_model")):
        quote = f"base_model: {name}"
        quote += f", base_model_relation: {relation}" if relation else ""
        yield quoted(kind, quote, source, target=name, relation=relation)
    for key in ("teacher", "teachers", "teacher_model", "distilled_from"):
        for name in _names(found.get(key)):
            yield quoted("teachers", f"{key}: {name}", source, target=name)
    for name in _names(found.get("datasets")):
        yield quoted("datasets", f"datasets: {name}", source, target=name)


def _names(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one.strip() for one in values if isinstance(one, str) and one.strip()]


def _object(path: Path, problems: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        problems.append(f"{path.name} holds no JSON object")
        return {}
    return found


def _config(config: dict[str, Any]) -> Iterator[Claim]:
    name = config.get("_name_or_path")
    if isinstance(name, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        # A model trained from scratch on the config of another keeps the other's name.
        quote = f"_name_or_path: {name}"
        yield quoted("base_model", quote, "config.json", target=name, plain=False)
    packed = config.get("quantization_config")
    if isinstance(packed, dict):
        method = str(packed.get("quant_method", "not named"))
        quote = f"quantization_config, method {method}"
        yield quoted("quantised_from", quote, "config.json", relation="quantized")


def _lineage(lineage: dict[str, Any], problems: list[str]) -> Iterator[Claim]:
    """Yield what the record of a distillation run declares."""
    declared: tuple[tuple[Kind, Any], ...] = (
        ("teachers", lineage.get("teacher")),
        ("base_model", _inside(lineage.get("student"), "started_from")),
    )
    for kind, part in declared:
        spec, digest = _inside(part, "spec"), _inside(part, "digest")
        if not isinstance(spec, str):
            continue
        yield quoted(
            kind,
            f"{'teacher' if kind == 'teachers' else 'started from'}: {spec}",
            "lineage.json",
            target=spec,
            digest=digest if isinstance(digest, str) else None,
            dose=_dose(lineage, problems) if kind == "teachers" else None,
        )


def _dose(lineage: dict[str, Any], problems: list[str]) -> float | None:
    share = _inside(lineage.get("dose"), "share")
    if share is None:
        return None
    # The bounds refuse NaN, and integers that no float can hold.
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
        problems.append("the dose in lineage.json is no share from 0 to 1")
        return None
    return float(share)


def _inside(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _gguf(path: Path) -> Iterator[Claim]:
    """Yield the base models that the metadata of a GGUF file names."""
    metadata = read_header(path).metadata
    for key, value in sorted(metadata.items()):
        match = re.fullmatch(r"general\.base_model\.(\d+)\.repo_url", key)
        hub = HUB.match(value) if match and isinstance(value, str) else None
        if hub is not None:
            yield quoted("base_model", f"{key}: {value}", path.name, target=hub[1])


def card_path(spec: str) -> Path:
    """Return the folder or GGUF file of a model, where its card lies.

    Raises:
        SubjectError: it has no files here.
    """
    from auditor.models.source import locate
    from auditor.models.specifier import parse

    source = locate(parse(spec))
    if not source.path.exists():
        raise SubjectError(f"{spec} has no files here", hint="give a local model")
    return source.path
