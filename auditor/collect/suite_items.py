"""The items of a suite, one JSON object a line, as probes.

Reading collects every problem instead of stopping at the first, so that loading can raise one
error and linting can list them all.
"""

import json
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from auditor.collect.suite_format import Strict, first_reason, numbered_lines, read_text
from auditor.types import Answer, Message, Probe


class _Turn(Strict):
    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class _Answer(Strict):
    kind: Literal["number", "exact", "choice"]
    value: str = Field(min_length=1)
    choices: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _value_among_choices(self) -> "_Answer":
        if self.kind == "choice" and self.value not in self.choices:
            raise ValueError("the value of a choice must be one of its choices")
        return self

    def noun(self) -> Answer:
        """Return the core noun."""
        return Answer(kind=self.kind, value=self.value, choices=tuple(self.choices))


class _Item(Strict):
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    category: str = Field(min_length=1)
    language: str | None = None
    messages: list[_Turn] | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    answer: _Answer | None = None

    @model_validator(mode="after")
    def _one_input(self) -> "_Item":
        if (self.messages is None) == (self.text is None):
            raise ValueError('give either "messages" or "text"')
        if self.messages and self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        return self

    def probe(self) -> Probe:
        """Return the core noun."""
        return Probe(
            id=self.id,
            category=self.category,
            language=self.language,
            messages=tuple(Message(role=t.role, content=t.content) for t in self.messages or ()),
            text=self.text,
            answer=None if self.answer is None else self.answer.noun(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """The probes of an items file, in file order, and what is wrong with the file."""

    probes: tuple[Probe, ...]
    problems: tuple[str, ...]


def read_items(path: Path) -> Items:
    """Return the probes of an items file with every problem of the file.

    Raises:
        SuiteError: it cannot be read or is not UTF-8.
    """
    return parse_items(read_text(path), str(path))


def parse_items(text: str, where: str) -> Items:
    """Return the probes of JSON lines; blank lines are skipped, `where` prefixes the problems."""
    probes: list[Probe] = []
    problems: list[str] = []
    lines_of: dict[str, list[int]] = defaultdict(list)
    for number, line in numbered_lines(text):
        try:
            probe = _parse_item(line)
        except ValueError as error:
            problems.append(f"{where}, line {number}: {error}")
            continue
        lines_of[probe.id].append(number)
        probes.append(probe)
    for probe_id, numbers in lines_of.items():
        if len(numbers) > 1:
            listed = ", ".join(map(str, numbers))
            problems.append(f"{where}: the id {probe_id!r} is used in lines {listed}")
    if not probes and not problems:
        problems.append(f"{where} holds no probe")
    return Items(probes=tuple(probes), problems=tuple(problems))


def normalised_input(probe: Probe) -> str:
    """Return a probe's text case-folded, letters and digits only: equal for near duplicates.

    A probe without letters and digits keeps its symbols, so that two of them can differ.
    """
    text = "\n".join(m.content for m in probe.messages) if probe.text is None else probe.text
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum()) or "".join(folded.split())


def _parse_item(line: str) -> Probe:
    try:
        value: Any = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    try:
        line.encode().decode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("an escape names half of a surrogate pair") from error
    try:
        return _Item.model_validate_json(json.dumps(value)).probe()
    except ValidationError as error:
        raise ValueError(first_reason(error)) from error
