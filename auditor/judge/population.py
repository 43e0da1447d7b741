"""What models a control pack stands for, and whether a case is among them.

A likelihood ratio compares a suspect with a population. A pack of tiny byte-level models says
nothing about a 7B model, whatever its numbers are, so a case outside the pack's population gets
reasons instead of a ratio. What cannot be observed of a case is not assumed to be inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditor.errors import InputError
from auditor.types import Access, ModelRef

SCHEMA = "auditor/population/1"
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """The models that a control pack is a sample of. None means: not limited, and shown so."""

    name: str
    parameters: Range | None
    """Smallest and largest number of parameters, both inside."""
    vocabulary: Range | None
    """The same of real token ids."""
    architectures: tuple[str, ...] | None
    tokenizers: tuple[str, ...] | None
    """Digests."""
    access: tuple[Access, ...]
    """To the suspect; the pack's controls were measured with the same."""
    null_families: Range
    """Control families without a link that stood in the pool of a case: scores anchored on fewer,
    or on more, have another spread."""
    suites: tuple[str, ...]
    """``name@version`` of every suite that the scores were computed on."""
    measures: tuple[str, ...]
    """``name@version`` of every measure that feeds a score."""

    def as_json(self) -> dict[str, Any]:
        """Return the file of a pack."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "parameters": _listed(self.parameters),
            "vocabulary": _listed(self.vocabulary),
            "architectures": _listed(self.architectures),
            "tokenizers": _listed(self.tokenizers),
            "access": [level.name for level in self.access],
            "null_families": list(self.null_families),
            "suites": list(self.suites),
            "measures": list(self.measures),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What is known of a case."""

    reference: ModelRef
    suspect: ModelRef
    null_families: int
    suites: tuple[str, ...]
    measures: tuple[str, ...]


def population_from_json(content: Any) -> Population:
    """Return the population that a pack states.

    Raises:
        InputError: it is of another schema, or something is missing or of the wrong kind.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        found = content.get("schema") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"no population of schema {SCHEMA}: {found}")
    try:
        null_families = _range(content["null_families"])
        if null_families is None:
            raise ValueError("null_families must be a range")
        return Population(
            name=str(content["name"]),
            parameters=_range(content["parameters"]),
            vocabulary=_range(content["vocabulary"]),
            architectures=_words(content["architectures"]),
            tokenizers=_words(content["tokenizers"]),
            access=tuple(Access[name] for name in content["access"]),
            null_families=null_families,
            suites=_words(content["suites"]) or (),
            measures=_words(content["measures"]) or (),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the population cannot be read: {error!r}") from error


def outside(population: Population, facts: CaseFacts) -> tuple[str, ...]:
    """Return why no likelihood ratio of this population fits the case; empty where one does."""
    reasons = [
        *_model_reasons(population, "the reference", facts.reference),
        *_model_reasons(population, "the suspect", facts.suspect),
    ]
    if facts.suspect.access not in population.access:
        levels = ", ".join(level.name for level in population.access)
        reasons.append(
            f"access to the suspect is {facts.suspect.access.name}, the controls had {levels}"
        )
    low, high = population.null_families
    if not low <= facts.null_families <= high:
        reasons.append(
            f"{facts.null_families} unlinked control families in the pool, "
            f"the controls had {low} to {high}"
        )
    reasons += _missing("suite", population.suites, facts.suites)
    reasons += _missing("measure", population.measures, facts.measures)
    return tuple(reasons)


def _model_reasons(population: Population, who: str, model: ModelRef) -> list[str]:
    found = [
        _range_reason("parameters", population.parameters, model.parameters),
        _range_reason("vocabulary entries", population.vocabulary, model.vocabulary),
        _word_reason("architecture", population.architectures, model.architecture),
        _word_reason("tokenizer", population.tokenizers, model.tokenizer_digest),
    ]
    return [f"{who}'s {reason}" for reason in found if reason is not None]


def _range_reason(noun: str, span: Range | None, value: int | None) -> str | None:
    if span is None or (value is not None and span[0] <= value <= span[1]):
        return None
    if value is None:
        return f"number of {noun} is unknown"
    return f"number of {noun} is {value:,}, the controls have {span[0]:,} to {span[1]:,}"


def _word_reason(noun: str, known: tuple[str, ...] | None, word: str | None) -> str | None:
    if known is None or word in known:
        return None
    return f"{noun} is unknown" if word is None else f"{noun} {word} is not among the controls'"


def _missing(noun: str, needed: Sequence[str], given: Sequence[str]) -> list[str]:
    return [f"{noun} {name} of the controls was not used" for name in needed if name not in given]


def _listed(values: Sequence[Any] | None) -> list[Any] | None:
    return None if values is None else list(values)


def _range(value: Any) -> Range | None:
    if value is None:
        return None
    low, high = (int(bound) for bound in value)
    if not 0 <= low <= high:
        raise ValueError(f"no range: {value}")
    return low, high


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise TypeError(f"no list of words: {value!r}")
    return tuple(value)
