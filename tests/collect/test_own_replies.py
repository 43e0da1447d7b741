"""Which replies count as known to their own author."""

import pytest

from auditor.collect.own_replies import own_row
from auditor.collect.shown import ShownReply
from auditor.models.openai_replies import Likely, Position


def reply(text: str, *tokens: tuple[bytes, float]) -> ShownReply:
    positions = tuple(
        Position(chosen=Likely(piece=piece, shown="", logprob=value), top=())
        for piece, value in tokens
    )
    return ShownReply(probe=3, repeat=1, text=text, positions=positions)


def test_the_tokens_of_the_text_count_and_the_end_does_not():
    # "né" has 3 bytes; -0.5 - 1.25 nats; what is shown after it (an end of turn) is no text.
    found = own_row(reply("né", (b"n", -0.5), ("é".encode(), -1.25), (b"<end>", -0.1)))
    assert found == (3, 1, 3, 2, -1.75)


@pytest.mark.parametrize(
    "tokens",
    [
        [(b"n", -0.5)],  # not all of it
        [(b"n", -0.5), (b"\xef\xbf\xbd", -1.0), (b"\xef\xbf\xbd", -1.0)],  # parts of a character
        [(b" n", -0.5), ("é".encode(), -1.0)],  # the server cut a space off
        [(b"n", -0.5), ("é".encode(), -9999.0)],  # "not among the likeliest"
    ],
)
def test_a_reply_that_its_tokens_do_not_spell_is_not_known(tokens):
    assert own_row(reply("né", *tokens)) is None


def test_parts_of_a_character_by_their_bytes_spell_it():
    found = own_row(reply("né", (b"n\xc3", -0.5), (b"\xa9", -0.25)))
    assert found == (3, 1, 3, 2, -0.75)
