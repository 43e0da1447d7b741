"""From what a server shows at a position to a row of the cache, by hand."""

import math

import pytest

from auditor.distill.served_tokens import TokenIds, taught
from auditor.errors import AccessError, ServerError, VocabularyError
from auditor.models.openai_replies import Likely, Position, Reply, read_reply
from auditor.models.vocabulary import Vocabulary

# 0 "a", 1 "b", 2 "ab", 3 the two first bytes of a three-byte character, 4 its last, 5 "c" twice
PIECES = (b"a", b"b", b"ab", b"\xe2\x98", b"\x83", b"c", b"c", b"<end>", b"\xef\xbf\xbd")
END = 7
VOCABULARY = Vocabulary(pieces=PIECES, special=frozenset({END}))


def at(chosen: bytes, **top: float) -> Position:
    """A position whose likeliest tokens are named by their id: p0 is the probability of id 0."""
    tokens = [
        Likely(piece=PIECES[int(name[1:])], shown=name, logprob=math.log(p))
        for name, p in top.items()
    ]
    return Position(chosen=Likely(piece=chosen, shown="x", logprob=-1.0), top=tuple(tokens))


def read(text: str, *positions: Position, finish: str = "stop", k: int = 2, raw: bool = True):
    reply = Reply(text=text, finish_reason=finish, positions=positions)
    return taught(reply, TokenIds(VOCABULARY, raw=raw), end=END, k=k)


def test_the_rest_of_the_mass_is_the_tail():
    rows = read("ab", at(b"a", p0=0.5, p1=0.25), at(b"b", p1=0.875, p2=0.125))
    assert rows.token_ids == (0, 1)
    assert rows.top_ids.tolist() == [[0, 1], [1, 2]]
    assert rows.logprobs.tolist()[0] == [math.log(0.5), math.log(0.25)]
    assert rows.tail == pytest.approx([0.25, 0.0], abs=1e-15)
    assert (rows.dropped, rows.ends) == (0, False)


def test_of_more_than_asked_the_likeliest_are_taken():
    rows = read("a", at(b"a", p0=0.5, p1=0.25, p2=0.125))
    assert rows.top_ids.tolist() == [[0, 1]]
    assert rows.tail == pytest.approx([0.25])


def test_a_character_in_two_tokens_is_two_positions():
    rows = read("\u2603", at(b"\xe2\x98", p3=0.5, p0=0.5), at(b"\x83", p4=0.5, p0=0.5))
    assert rows.token_ids == (3, 4)


def test_half_a_character_at_the_end_is_dropped():
    half = at(b"\xe2\x98", p3=0.5, p0=0.5)
    rows = read("a\ufffd", at(b"a", p0=0.5, p1=0.5), half, finish="length")
    assert (rows.token_ids, rows.dropped) == ((0,), 1)


def test_the_end_is_kept_where_it_is_the_last_position_of_a_finished_answer():
    letter, end = at(b"a", p0=0.5, p1=0.5), at(b"<end>", p7=0.75, p0=0.25)
    rows = read("a", letter, end)
    assert (rows.token_ids, rows.ends, rows.dropped) == ((0, END), True, 0)
    assert (cut := read("a", letter, end, finish="length")).token_ids == (0,)
    assert (cut.ends, cut.dropped) == (False, 1)
    hidden = read("aa", letter, end, letter)
    assert (hidden.token_ids, hidden.dropped) == ((0,), 2)


def test_an_answer_without_positions_teaches_nothing():
    rows = read("")
    assert (rows.token_ids, rows.top_ids.shape, rows.dropped) == ((), (0, 2), 0)


@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        ([at(b"a", p0=0.8, p1=0.25)], ServerError, "sum to 1.0500"),
        ([at(b"a", p0=0.8)], AccessError, "shows 1 log-probabilities, and 2"),
        ([at(b"a", p0=0.5, p5=0.25)], VocabularyError, "the bytes of two tokens"),
    ],
)
def test_rows_that_are_no_distribution_are_refused(positions, error, message):
    with pytest.raises(error, match=message):
        read("a", *positions)


def test_two_tokens_of_the_server_that_are_one_are_refused():
    twice = Likely(piece=b"a", shown="a", logprob=-1.0)
    position = Position(chosen=twice, top=(twice, twice))
    with pytest.raises(VocabularyError, match="one token of the student's"):
        read("a", position)


def test_the_sign_for_unknown_bytes_is_sure_only_where_bytes_are_raw():
    position = at(b"a", p0=0.5, p8=0.25)
    assert read("a", position).top_ids.tolist() == [[0, 8]]
    with pytest.raises(VocabularyError, match="without its bytes"):
        read("a", position, raw=False)


@pytest.mark.parametrize("logprob", [0.5, "NaN", None, "x"])
def test_numbers_that_are_no_log_probabilities_are_refused(logprob):
    entry = {"token": "a", "bytes": [97], "logprob": logprob, "top_logprobs": []}
    choice = {"message": {"content": "a"}, "logprobs": {"content": [entry]}}
    with pytest.raises(ServerError, match="not that of an OpenAI-compatible server"):
        read_reply({"choices": [choice]})


@pytest.mark.parametrize(
    "content", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"text": 3}]}, {"choices": 1}]
)
def test_replies_of_another_form_are_refused(content):
    with pytest.raises(ServerError):
        read_reply(content)
