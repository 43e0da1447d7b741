import random
import sys

import pytest

from auditor.distill.filter_choices import DuplicateChoice
from auditor.distill.filter_duplicate import duplicate_reasons, similarity
from auditor.distill.filter_items import Item
from auditor.errors import MissingExtraError


def items(*texts: str) -> list[Item]:
    return [Item(text=text) for text in texts]


def numbered(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def test_equal_words_are_a_duplicate_and_the_first_stays():
    choice = DuplicateChoice(kind="duplicate")
    found = duplicate_reasons(choice, items("The wall.", "A wall", "the  WALL!", "the wall is old"))
    assert found == [None, None, "duplicate", None]


def test_equal_answers_to_different_prompts_are_no_duplicates():
    answers = [Item(text="Yes.", prompt=prompt) for prompt in ("Old?", "New?", "old")]
    found = duplicate_reasons(DuplicateChoice(kind="duplicate"), answers)
    assert found == [None, None, "duplicate"]


def test_similarity_of_sets_by_hand():
    first, second = frozenset({("a",), ("b",), ("c",)}), frozenset({("b",), ("c",), ("d",)})
    assert similarity(first, second) == 2 / 4
    assert similarity(frozenset(), frozenset()) == 1.0


@pytest.mark.parametrize(("near", "dropped"), [(0.8, True), (0.83, False)])
def test_near_is_the_exact_share_of_common_ngrams(near, dropped):
    pytest.importorskip("datasketch")
    # 100 of 110 words are common: 96 of 106 + 106 - 96 = 116 five-grams, similarity 0.8276.
    choice = DuplicateChoice(kind="duplicate", near=near)
    found = duplicate_reasons(choice, items(numbered(0, 110), numbered(10, 110)))
    assert 0.8 < 96 / 116 < 0.83
    assert found == [None, "near duplicate" if dropped else None]


def test_text_is_compared_with_kept_ones_only():
    pytest.importorskip("datasketch")
    # Neighbours are similar (0.8276), the first and the third are not (0.6825).
    chain = items(numbered(0, 110), numbered(10, 110), numbered(20, 110))
    found = duplicate_reasons(DuplicateChoice(kind="duplicate", near=0.8), chain)
    assert found == [None, "near duplicate", None]


@pytest.mark.parametrize("near", [0.1, 0.5, 0.8, 1.0])
def test_candidates_miss_few_of_the_pairs_that_all_comparisons_find(near):
    pytest.importorskip("datasketch")
    rng = random.Random(4)
    texts = []
    for block in range(40):
        base = [f"b{block}w{number}" for number in range(60)]
        texts.append(" ".join(base))
        texts.append(" ".join(rng.choice([word, word, word, "other"]) for word in base[:30]) + " z")
        texts.append(" ".join([*base, f"tail{block}"]))
    choice = DuplicateChoice(kind="duplicate", near=near)
    found = duplicate_reasons(choice, items(*texts))
    sets = [
        frozenset(tuple(t.split()[i : i + 5]) for i in range(len(t.split()) - 4)) for t in texts
    ]
    kept: list[int] = []
    for index, of in enumerate(sets):
        if not any(similarity(sets[other], of) >= near for other in kept):
            kept.append(index)
    missed = {i for i, reason in enumerate(found) if reason is None} ^ set(kept)
    assert len(missed) <= 2
    assert duplicate_reasons(choice, items(*texts)) == found


def test_near_without_its_package_names_the_extra_and_equality_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    assert duplicate_reasons(DuplicateChoice(kind="duplicate"), items("a", "a")) == [
        None,
        "duplicate",
    ]
    with pytest.raises(MissingExtraError, match="datasketch") as caught:
        duplicate_reasons(DuplicateChoice(kind="duplicate", near=0.5), items("a", "b"))
    assert "auditor[filters]" in str(caught.value.hint)
