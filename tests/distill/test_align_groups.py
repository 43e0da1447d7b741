"""Byte-span alignment on cases worked by hand."""

import itertools

import numpy as np
import pytest

from auditor.distill.align import Alignment, RoundTripError, align, byte_ends
from auditor.distill.vocabulary_match import match_tokens
from auditor.errors import InputError, VocabularyError
from auditor.models.vocabulary import Vocabulary


def vocabulary(*pieces: bytes | None, special: tuple[int, ...] = ()) -> Vocabulary:
    return Vocabulary(pieces=pieces, special=frozenset(special))


def aligned(text: str | bytes, own: list[bytes], other: list[bytes]) -> Alignment:
    """Align two lists of pieces, each its own vocabulary in the order of the text."""
    return align(
        text,
        range(len(own)),
        range(len(other)),
        student=vocabulary(*own),
        teacher=vocabulary(*other),
    )


def test_groups_close_where_both_ends_meet() -> None:
    # Ends: student 2 3 6 7, teacher 1 3 7; they meet at 3 and 7.
    found = aligned("abcdefg", [b"ab", b"c", b"def", b"g"], [b"a", b"bc", b"defg"])
    assert found.student.tolist() == [[0, 1], [2, 3]]
    assert found.teacher.tolist() == [[0, 1], [2, 2]]
    assert found.student_groups.tolist() == [0, 0, 1, 1]
    assert found.teacher_groups.tolist() == [0, 0, 1]
    assert found.starts.tolist() == [[0, 0], [2, 2]]
    assert found.groups == 2


def test_a_character_split_over_tokens_is_no_boundary_for_the_other_side() -> None:
    # "é" is c3 a9 and the emoji f0 9f 98 80: the student cuts both, the teacher after 1 and 7.
    text = "aé😀!"
    assert text.encode() == b"a\xc3\xa9\xf0\x9f\x98\x80!"
    found = aligned(
        text,
        [b"a\xc3", b"\xa9\xf0", b"\x9f\x98", b"\x80", b"!"],
        [b"a", b"\xc3\xa9\xf0\x9f\x98\x80", b"!"],
    )
    assert found.student.tolist() == [[0, 3], [4, 4]]
    assert found.teacher.tolist() == [[0, 1], [2, 2]]


def test_two_sides_may_meet_inside_a_character() -> None:
    found = aligned("😀", [b"\xf0\x9f", b"\x98\x80"], [b"\xf0", b"\x9f", b"\x98\x80"])
    assert found.student.tolist() == [[0, 0], [1, 1]]
    assert found.teacher.tolist() == [[0, 1], [2, 2]]


def test_the_space_in_front_of_sentencepiece_text_is_no_byte_of_it() -> None:
    found = aligned("hi you", [b" hi", b" you"], [b"hi", b" ", b"you"])
    assert found.student.tolist() == [[0, 0], [1, 1]]
    assert found.teacher.tolist() == [[0, 0], [1, 2]]


def test_a_token_that_is_only_that_space_goes_with_the_first_group() -> None:
    found = aligned("hi", [b" ", b"hi"], [b"h", b"i"])
    assert found.student.tolist() == [[0, 1]]
    assert found.teacher.tolist() == [[0, 1]]
    both = aligned("hi", [b" ", b"hi"], [b" ", b"h", b"i"])
    assert both.student.tolist() == [[0, 1]]
    assert both.teacher.tolist() == [[0, 2]]


def test_special_tokens_are_in_no_group() -> None:
    own = vocabulary(b"<s>", b"ab", b"c", special=(0,))
    other = vocabulary(b"abc", b"<end>", special=(1,))
    found = align("abcabc", [0, 1, 2, 0, 1, 2], [0, 0, 1], student=own, teacher=other)
    assert found.student_groups.tolist() == [-1, 0, 0, -1, 1, 1]
    assert found.student.tolist() == [[1, 2], [4, 5]]
    assert found.teacher_groups.tolist() == [0, 1, -1]


def test_a_special_token_inside_a_group_is_refused() -> None:
    own = vocabulary(b"<s>", b"ab", b"c", special=(0,))
    with pytest.raises(InputError, match=r"special token 0 at 1 stands between") as caught:
        align("abc", [1, 0, 2], [0], student=own, teacher=vocabulary(b"abc"))
    assert caught.value.hint is not None


def test_another_unicode_form_of_the_text_is_refused() -> None:
    # The text has e + U+0301 (65 cc 81); a tokenizer that composes spells U+00E9 (c3 a9).
    with pytest.raises(
        RoundTripError, match=r"teacher's tokens spell 3 .* part at byte 1"
    ) as error:
        aligned("xe\u0301", [b"x", b"e\xcc\x81"], [b"x", "\u00e9".encode()])
    assert "unchanged" in str(error.value.hint)


def test_a_text_of_which_a_part_is_missing_is_refused() -> None:
    with pytest.raises(RoundTripError, match=r"student's tokens spell 1 bytes .* part at byte 1"):
        aligned("ab", [b"a"], [b"ab"])


@pytest.mark.parametrize("index", [-1, 1, 2])
def test_an_id_without_bytes_is_refused(index: int) -> None:
    with pytest.raises(InputError, match=f"token id {index} has no bytes"):
        byte_ends(b"a", [0, index], vocabulary(b"a", None))


def test_an_empty_text_has_no_group() -> None:
    found = align("", [0], [], student=vocabulary(b"<s>", special=(0,)), teacher=vocabulary(b"a"))
    assert found.student.shape == found.teacher.shape == found.starts.shape == (0, 2)
    assert found.student_groups.tolist() == [-1]


def test_groups_of_random_cuts_spell_the_same_bytes() -> None:
    random = np.random.RandomState(0)
    text = bytes(random.randint(0, 256, 200).astype(np.uint8))
    sides = []
    for _ in range(2):
        cuts = [0, *sorted(random.choice(np.arange(1, 200), 70, replace=False)), 200]
        sides.append([text[a:b] for a, b in itertools.pairwise(cuts)])
    found = aligned(text, *sides)
    own, other = (
        [b"".join(side[first : last + 1]) for first, last in table]
        for side, table in zip(sides, (found.student, found.teacher), strict=True)
    )
    assert own == other
    assert b"".join(own) == text
    # No group can be cut further: inside it no two ends meet.
    for k, piece in enumerate(own):
        ends = [
            set(np.cumsum([len(p) for p in side[table[k][0] : table[k][1] + 1]]))
            for side, table in zip(sides, (found.student, found.teacher), strict=True)
        ]
        assert ends[0] & ends[1] == {len(piece)}


def test_equal_bytes_share_a_category_and_the_rest_is_other() -> None:
    own = vocabulary(b"a", b"b", b"a", b"xy", b"<s>", None, special=(4,))
    other = vocabulary(b"<e>", b"b", b"a", b"bc", b"", special=(0,))
    found = match_tokens(own, other)
    assert found.matched == 2
    assert found.student.tolist() == [0, 1, 0, 2, -1, -1]
    assert found.teacher.tolist() == [-1, 1, 0, 2, -1]
    ends = match_tokens(own, other, paired=[(4, 0)])
    assert ends.student.tolist() == [0, 1, 0, 3, 2, -1]
    assert ends.teacher.tolist() == [2, 1, 0, 3, -1]


def test_pairs_are_special_tokens_and_different() -> None:
    own = vocabulary(b"a", b"<s>", special=(1,))
    other = vocabulary(b"a", b"<e>", b"<f>", special=(1, 2))
    with pytest.raises(InputError, match=r"\[0\] of the student"):
        match_tokens(own, other, paired=[(0, 1)])
    with pytest.raises(InputError, match=r"\[1, 1\] of the student"):
        match_tokens(own, other, paired=[(1, 1), (1, 2)])


def test_vocabularies_without_a_common_token_are_refused() -> None:
    with pytest.raises(VocabularyError, match="share no token"):
        match_tokens(vocabulary(b"a"), vocabulary(b"b"))
