"""The corpora that the tiny models are trained on: text made by seeded rules, public domain.

All text and every rule is our own work, dedicated to the public under CC0-1.0. The same name,
version and seed give the same bytes on every machine; a changed rule raises the version.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from auditor.distill.corpus_almanac import almanac_document
from auditor.distill.corpus_scene import Draw
from auditor.distill.corpus_stories import story_document
from auditor.errors import RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A rule that writes documents, and what a lineage must record of it."""

    name: str
    version: int
    licence: str
    """SPDX identifier."""
    title: str
    rule: str
    """``module:function`` that writes one document."""
    document: Callable[[Draw], str]

    def as_json(self) -> dict[str, str | int]:
        """Return the fields that identify the text, for a lineage."""
        return {
            "name": self.name,
            "version": self.version,
            "licence": self.licence,
            "title": self.title,
            "rule": self.rule,
        }


def _corpus(name: str, title: str, document: Callable[[Draw], str]) -> Corpus:
    return Corpus(
        name=name,
        version=1,
        licence="CC0-1.0",
        title=title,
        rule=f"{document.__module__}:{document.__qualname__}",
        document=document,
    )


CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        _corpus("stories", "Small stories, questions and sums", story_document),
        _corpus("almanac", "Weather, plants, recipes, timetables and prices", almanac_document),
    )
}


def generate_corpus(name: str, *, seed: int, documents: int) -> Iterator[str]:
    """Yield `documents` texts without trailing newline; a longer run begins with a shorter one.

    Raises:
        RecipeError: no corpus has this name, or `documents` is negative, or `seed` is not in
            [0, 2**32).
    """
    if name not in CORPORA:
        raise RecipeError(f"no corpus {name!r}", hint=f"choose one of {', '.join(CORPORA)}")
    if documents < 0:
        raise RecipeError(f"documents: {documents} is negative", hint="give 0 or more")
    if not 0 <= seed < 2**32:
        raise RecipeError(f"corpus seed {seed} is out of range", hint="give 0 to 4294967295")
    draw = Draw(seed)
    document = CORPORA[name].document
    return (document(draw) for _ in range(documents))
