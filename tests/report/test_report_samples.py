"""Samples are chosen by the declared rule, and their alignment loses nothing."""

from hypothesis import given
from hypothesis import strategies as st

from auditor.canon import json_digest
from auditor.outputs import OutputSet, Pair
from auditor.report.samples import RANDOM_SAMPLES, SHOWN_CHARACTERS, aligned, comparisons
from auditor.types import Access, Message, ModelRef, Probe

REF = ModelRef(spec="tiny:x", access=Access.TEXT)


def pair_of(replies: list[tuple[str, str]]) -> Pair:
    probes = tuple(
        Probe(id=f"p{i}", category="c", messages=(Message(role="user", content="q"),))
        for i in range(len(replies))
    )
    sides = [
        OutputSet(subject=name, model=REF, probes=probes, texts=tuple((r[k],) for r in replies))
        for k, name in enumerate(("reference", "suspect"))
    ]
    return Pair(reference=sides[0], suspect=sides[1])


def kept(similarity: int) -> tuple[str, str]:
    """Return two replies of 10 words, the first `similarity` of them in common."""
    words = [f"w{i}" for i in range(10)]
    return " ".join(words), " ".join(words[:similarity] + ["x"] * (10 - similarity))


def test_rule_picks_closest_median_furthest_random_and_longest_run():
    # 2 M / T of n kept words is 2 n / 20; sorted 9 8 7 6 5 4 3 2 1 0, so the median of 10 is 5.
    pair = pair_of([kept(n) for n in range(10)])
    shown = comparisons(pair, seed=7)
    by_reason = {reason: c.probe.id for c in shown for reason in c.reasons}
    assert by_reason["closest"] == "p9"
    assert by_reason["median"] == "p5"
    assert by_reason["furthest"] == "p0"
    assert by_reason["longest run"] == "p9"
    rest = [f"p{i}" for i in range(10) if i not in (9, 5, 0)]
    expected = sorted(rest, key=lambda probe: json_digest([7, probe]))[:RANDOM_SAMPLES]
    assert [c.probe.id for c in shown if "random" in c.reasons] == expected


def test_another_seed_draws_other_random_samples():
    pair = pair_of([kept(n) for n in range(10)])
    drawn = [
        [c.probe.id for c in comparisons(pair, seed) if "random" in c.reasons] for seed in (1, 2)
    ]
    assert drawn[0] != drawn[1]


def test_each_probe_is_shown_once_with_all_its_reasons():
    (only,) = comparisons(pair_of([("one two three", "one two three")]), seed=0)
    assert only.reasons == ("closest", "median", "furthest", "longest run")
    assert only.identical
    assert only.similarity == 1.0


def test_similarity_and_longest_run_by_hand():
    # 5 words each; "a b c" is one block, "e" none: 2 * 3 / 10 = 0.6, longest run 3.
    (found,) = comparisons(pair_of([("a b c d e", "a b c x y")]), seed=0)
    assert found.similarity == 0.6
    assert found.run == 3


def test_chinese_is_compared_character_by_character():
    # 3 of 4 characters in common: 2 * 3 / 8
    (found,) = comparisons(pair_of([("你好世界", "你好世间")]), seed=0)
    assert found.similarity == 0.75


def test_long_reply_is_cut_and_the_cut_is_counted():
    (found,) = comparisons(pair_of([("a" * 10_000, "b")]), seed=0)
    assert sum(len(span.text) for span in found.reference) == SHOWN_CHARACTERS
    assert found.hidden == (10_000 - SHOWN_CHARACTERS, 0)


def test_alignment_marks_difference_and_longest_shared_passage():
    a, b = aligned(list("xabcdy"), list("zabcdy"))
    # "abcdy" is common: 5 tokens, the longest run; x and z stand alone.
    assert [(s.kind, s.text) for s in a] == [("other", "x"), ("shared", "abcdy")]
    assert [(s.kind, s.text) for s in b] == [("other", "z"), ("shared", "abcdy")]


def test_space_at_the_edge_of_a_marked_stretch_is_not_marked():
    a, _ = aligned(["x", " ", "b", " ", "c", " ", "d"], ["y", " ", "b", " ", "c", " ", "d"])
    assert [(s.kind, s.text) for s in a] == [
        ("other", "x"),
        ("same", " "),
        ("shared", "b c d"),
    ]


def test_equal_texts_have_nothing_marked():
    a, b = aligned(list("abcdef"), list("abcdef"))
    assert {s.kind for s in a + b} == {"same"}


@given(st.lists(st.sampled_from(["a", "b", " ", "\n"])), st.lists(st.sampled_from("abc ")))
def test_spans_give_back_the_texts(a, b):
    left, right = aligned(a, b)
    assert "".join(s.text for s in left) == "".join(a)
    assert "".join(s.text for s in right) == "".join(b)


def test_no_texts_no_samples():
    assert comparisons(pair_of([]), seed=0) == []
