"""Texts that hold the words of a probe, on which the student will later be audited."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from auditor.distill.filter_choices import DecontaminateChoice
from auditor.distill.filter_items import Item
from auditor.distill.filter_words import word_ngrams, words
from auditor.types import Probe, ProbeSuite

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWords:
    """What a text may not contain."""

    grams: dict[int, dict[Gram, str]]
    """By length n: the n-grams of probes and the suite they are of."""
    whole: dict[Gram, str]
    """Probes too short for an n-gram, and their suite."""

    def suite_of(self, text: Gram) -> str | None:
        """Return the suite of the first probe found in the words of a text, None without one."""
        if text in self.whole:
            return self.whole[text]
        hits = (
            grams[gram]
            for n, grams in sorted(self.grams.items())
            for gram in word_ngrams(text, n)
            if gram in grams
        )
        return next(hits, None)


def decontaminate_reasons(choice: DecontaminateChoice, items: Sequence[Item]) -> list[str | None]:
    """Return for each item "suite NAME@V" where its text overlaps one of its probes, else None.

    Brown et al. 2020, appendix C: any common n-gram of words, case and punctuation ignored. The
    sealed part of a suite is unknown here and cannot be looked for.

    Raises:
        SuiteError: a suite does not exist.
    """
    found = probe_words(_suites(choice), ngram=choice.ngram, shortest=choice.shortest)
    suites = [found.suite_of(words(item.text)) for item in items]
    return [None if suite is None else f"suite {suite}" for suite in suites]


def probe_words(suites: Iterable[ProbeSuite], *, ngram: int, shortest: int) -> ProbeWords:
    """Return the n-grams of all probes; of one with fewer than `ngram` words, all its words.

    Each turn of a conversation counts for itself. Probes of fewer than `shortest` words would be
    found everywhere, and only match a whole text.
    """
    grams: dict[int, dict[Gram, str]] = {}
    whole: dict[Gram, str] = {}
    for suite in suites:
        for said in (words(turn) for probe in suite.probes for turn in _turns(probe)):
            if len(said) < shortest:
                whole.setdefault(said, suite.id)
                continue
            n = min(ngram, len(said))
            for gram in word_ngrams(said, n):
                grams.setdefault(n, {}).setdefault(gram, suite.id)
    whole.pop((), None)
    return ProbeWords(grams=grams, whole=whole)


def suite_digests(choice: DecontaminateChoice) -> dict[str, str]:
    """Return the digest of each suite that is looked for, by ``name@version``."""
    return {suite.id: suite.digest for suite in _suites(choice)}


def _suites(choice: DecontaminateChoice) -> tuple[ProbeSuite, ...]:
    from auditor.collect.suite import list_suites, load_suite

    if choice.suites is None:
        return list_suites()
    return tuple(load_suite(name) for name in choice.suites)


def _turns(probe: Probe) -> tuple[str, ...]:
    return (*(turn.content for turn in probe.messages), probe.text or "")
