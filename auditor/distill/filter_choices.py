"""The part `data.filters` of a recipe: which texts are not trained on, rule by rule.

Filters run in the order of the recipe, each on what the ones before it kept.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from auditor.distill.recipe_part import Count, Part, Share

Above0 = Annotated[float, Field(gt=0.0)]


class FilterChoice(Part):
    """What all filters share."""

    apply_to: Literal["all", "documents", "answers"] = "all"
    """Documents are those of data.text and data.corpus, answers those of the teacher."""


class LengthChoice(FilterChoice):
    """Bounds on the length; each end is kept."""

    kind: Literal["length"]
    min_characters: Count | None = None
    max_characters: Count | None = None
    min_words: Count | None = None
    max_words: Count | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> Self:
        bounds = {
            "characters": (self.min_characters, self.max_characters),
            "words": (self.min_words, self.max_words),
        }
        if all(low is None and high is None for low, high in bounds.values()):
            raise ValueError("give a bound: min_ or max_ characters or words")
        for unit, (low, high) in bounds.items():
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{unit} is more than max_{unit}")
        return self


class LanguageChoice(FilterChoice):
    """Languages to keep. Short texts are often taken for another language: bound the length too."""

    kind: Literal["language"]
    allow: Annotated[list[str], Field(min_length=1)]
    """ISO 639-1 codes, such as en."""
    min_probability: Share = 0.0
    """Below it the language counts as uncertain, and the text goes."""


class RefusalChoice(FilterChoice):
    """Answers that decline. A heuristic: English phrases near the start, a few will be missed."""

    kind: Literal["refusal"]
    within_characters: Count = 200
    """Characters from the start in which a phrase must begin."""


class DuplicateChoice(FilterChoice):
    """Texts equal, or nearly equal, to an earlier one that was kept; an answer with its prompt."""

    kind: Literal["duplicate"]
    near: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Jaccard similarity of word n-grams from which two texts count as one; absent: equal words."""
    ngram: Count = 5
    """Words of an n-gram."""
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128
    """Hashes of a signature, which finds the candidates; similarity itself is then exact."""
    seed: Annotated[int, Field(ge=1)] = 1
    """Of the hashes."""


class QualityChoice(FilterChoice):
    """Bounds for texts in languages that put spaces between words.

    The rules and their default bounds are those of Rae et al. 2021 (Gopher), appendix A.1.1 and
    table A1. They are meant for web pages of prose: dialogues, sums and other short texts often
    break them. A bound of 1 switches a share's upper limit off.
    """

    kind: Literal["quality"]
    min_mean_word: Annotated[float, Field(ge=0.0)] = 3.0
    """Mean length of a word in characters, at least."""
    max_mean_word: Above0 = 10.0
    min_lettered: Share = 0.8
    """Share of words with a letter in them, at least."""
    max_symbols: Annotated[float, Field(ge=0.0)] = 0.1
    """Hash signs and ellipses per word, at most."""
    max_repeated_lines: Share = 0.3
    """Share of lines that repeat an earlier line, at most."""
    max_bigram: Share = 0.2
    """Share of the words' characters in the most frequent repeated pair of words, at most."""
    max_trigram: Share = 0.18
    """The same for three words."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_mean_word > self.max_mean_word:
            raise ValueError("min_mean_word is more than max_mean_word")
        return self


class DecontaminateChoice(FilterChoice):
    """Texts that share words with a probe: a student trained on probes would spoil its audit.

    Overlap as in Brown et al. 2020 (GPT-3), appendix C: n-grams of 13 words, of a shorter probe its
    whole text. Prompts are filtered too, before they are answered, unless apply_to is documents.
    """

    kind: Literal["decontaminate"]
    suites: Annotated[list[str], Field(min_length=1)] | None = None
    """``name`` or ``name@version``; absent: every version of every shipped suite."""
    ngram: Count = 13
    """Words of an n-gram."""
    shortest: Count = 8
    """A probe of fewer words only matches a text that says the same and nothing else."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest > self.ngram:
            raise ValueError("shortest is more than ngram")
        return self


Filter = Annotated[
    LengthChoice
    | LanguageChoice
    | RefusalChoice
    | DuplicateChoice
    | QualityChoice
    | DecontaminateChoice,
    Field(discriminator="kind"),
]
