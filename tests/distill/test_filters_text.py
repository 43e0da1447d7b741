import sys

import pytest

from auditor.distill.filter_choices import (
    Filter,
    LanguageChoice,
    LengthChoice,
    QualityChoice,
    RefusalChoice,
)
from auditor.distill.filter_items import Item
from auditor.distill.filter_language import _identifier, language_reasons
from auditor.distill.filter_length import length_reasons
from auditor.distill.filter_quality import (
    quality_reasons,
    repeated_lines,
    symbols_per_word,
    top_ngram_share,
)
from auditor.distill.filter_refusal import refusal_reasons
from auditor.distill.filter_words import word_ngrams, words
from auditor.distill.filters import run_filters
from auditor.errors import MissingExtraError, RecipeError

ENGLISH = "The committee met on Tuesday to discuss the plans for the new library building."
GERMAN = "Der Ausschuss traf sich am Dienstag, um die Pläne für die Bibliothek zu besprechen."


def items(*texts: str) -> list[Item]:
    return [Item(text=text) for text in texts]


def run(choices: list[Filter], *texts: str):
    return run_filters(choices, "documents", items(*texts), [f"d{i}" for i in range(len(texts))])


def test_words_ignore_case_punctuation_and_width_and_split_scripts_without_spaces():
    assert words("Don't \uff33top, 3rd_time!") == ("don", "t", "stop", "3rd_time")
    assert words("ab\u4eca\u65e5\u306f.") == ("ab", "\u4eca", "\u65e5", "\u306f")
    assert list(word_ngrams(("a", "b", "c"), 2)) == [("a", "b"), ("b", "c")]
    assert list(word_ngrams(("a",), 2)) == []


def test_length_keeps_both_ends_of_its_bounds():
    choice = LengthChoice(kind="length", min_characters=3, max_characters=7, max_words=2)
    found = length_reasons(choice, items("ab", "abc", "abcd ef", "abcd efg", "a b c"))
    assert found == ["too few characters", None, None, "too many characters", "too many words"]


def test_language_drops_what_is_not_allowed_and_what_is_uncertain():
    pytest.importorskip("py3langid")
    allowed = LanguageChoice(kind="language", allow=["en"])
    assert language_reasons(allowed, items(ENGLISH, GERMAN)) == [None, "language de"]
    _, probability = _identifier().classify(GERMAN)
    assert 0.1 < probability < 1
    for bound, reason in (
        (probability - 1e-3, None),
        (min(1.0, probability + 1e-3), "uncertain language"),
    ):
        sure = LanguageChoice(kind="language", allow=["de", "en"], min_probability=bound)
        assert language_reasons(sure, items(GERMAN)) == [reason]


def test_language_that_the_model_does_not_know_is_refused():
    pytest.importorskip("py3langid")
    with pytest.raises(RecipeError, match="no language 'english'") as caught:
        language_reasons(LanguageChoice(kind="language", allow=["en", "english"]), items(ENGLISH))
    assert ", en, " in str(caught.value.hint)


def test_language_without_its_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(MissingExtraError, match="py3langid") as caught:
        language_reasons(LanguageChoice(kind="language", allow=["en"]), items(ENGLISH))
    assert caught.value.hint == "pip install 'auditor[filters]'"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry but that is not possible.",
        "I cannot\nassist with this request.",
        "As an AI language model, I have no opinions.",
        "Sorry. I must respectfully decline.",
        "I am unable to open links.",
    ],
)
def test_refusals_are_seen(text):
    assert refusal_reasons(RefusalChoice(kind="refusal"), items(text)) == ["refusal"]


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry to hear that. Here is what helps.",
        "You cannot help everybody.",
        "I can assist with this request.",
        "The hospital am unable",
        "",
    ],
)
def test_answers_are_not_taken_for_refusals(text):
    assert refusal_reasons(RefusalChoice(kind="refusal"), items(text)) == [None]


def test_refusal_counts_only_where_it_begins_early_enough():
    text = "abcd I am unable to say."
    within = RefusalChoice(kind="refusal", within_characters=6)
    assert refusal_reasons(within, items(text)) == ["refusal"]
    earlier = RefusalChoice(kind="refusal", within_characters=5)
    assert refusal_reasons(earlier, items(text)) == [None]


def test_quality_scores_by_hand():
    assert symbols_per_word("# one two ... three\u2026") == 3 / 5
    assert repeated_lines("a\n\nb\n a \na") == 0.5
    # "ab cd" stands twice: 8 of the 14 characters; "ab cd efg" never again.
    assert top_ngram_share(("ab", "cd", "efg", "Ab", "cd", "xyz"), 2) == 8 / 14
    assert top_ngram_share(("ab", "cd", "efg", "ab", "cd", "xyz"), 3) == 0.0
    # Three overlapping pairs of "no" are 12 characters of 8.
    assert top_ngram_share(("no", "no", "no", "no"), 2) == 1.0
    assert top_ngram_share((), 2) == 0.0


def test_quality_names_the_first_bound_that_is_broken():
    choice = QualityChoice(kind="quality")
    texts = {
        ENGLISH: None,
        "a bc de f gh": "words too short",
        "incomprehensibilities internationalization": "words too long",
        "1234 5678 9012 3456 word": "words without letters",
        "# heading one #tags sentence": "symbols",
        "a first line\na first line\nand others": "repeated lines",
        "garden wall stands, garden wall falls, nobody else": "a repeated pair of words",
        " \n": "no words",
    }
    assert quality_reasons(choice, items(*texts)) == list(texts.values())


def test_bound_of_three_words_is_a_bound_of_its_own():
    text = "the old wall fell, then the old wall stood, where nobody had expected anything"
    loose = QualityChoice(kind="quality", max_bigram=1.0)
    assert quality_reasons(loose, items(text)) == ["three repeated words"]
    assert quality_reasons(loose.model_copy(update={"max_trigram": 1.0}), items(text)) == [None]


def test_filters_run_in_order_each_on_what_is_left_and_leave_a_record():
    short = LengthChoice(kind="length", min_words=4)
    declined = RefusalChoice(kind="refusal")
    found = run([short, declined], "I cannot help", ENGLISH, "I cannot help you today", "no")
    assert found.kept.tolist() == [1]
    first, second = found.records
    assert (first["name"], first["version"], first["of"]) == ("length", 1, "documents")
    assert first["params"]["min_words"] == 4
    assert (first["kept"], first["dropped"]) == (2, 2)
    assert first["reasons"] == {"too few words": 2}
    assert first["dropped_digests"] == ["d0", "d3"]
    assert (second["kept"], second["reasons"]) == (1, {"refusal": 1})
    other_way = run([declined, short], "I cannot help", ENGLISH, "I cannot help you today", "no")
    assert other_way.kept.tolist() == found.kept.tolist()
    assert [record["dropped"] for record in other_way.records] == [2, 1]


def test_filter_for_answers_leaves_documents_alone():
    choice = RefusalChoice(kind="refusal", apply_to="answers")
    assert run([choice], "I cannot help").kept.tolist() == [0]
    assert run([choice], "I cannot help").records == ()
    answers = run_filters([choice], "answers", items("I cannot help", "yes"), ["a", "b"])
    assert answers.kept.tolist() == [1]


def test_filter_that_drops_everything_is_named_with_its_reasons():
    with pytest.raises(RecipeError) as caught:
        run([LengthChoice(kind="length", min_words=9)], "one", "two three")
    assert caught.value.message == (
        "data.filters: length dropped all 2 documents that were left (too few words: 2)"
    )
    assert run([LengthChoice(kind="length", min_words=9)]).records == ()
