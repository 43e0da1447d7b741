"""Which replies count as known to their own author."""

from contextlib import closing

import numpy as np
import pytest
from logged_world import Told, logged_case

from auditor.collect.own_replies import own_row, score_own
from auditor.collect.shown import ShownReply
from auditor.models import open_model
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


def test_replies_that_are_read_again_are_those_that_were_given(models, tmp_path):
    said = (["uv", ""], ["", ""], ["w", "né"])
    told = [
        Told(text=text, reply="y", tops=[None, None], said=replies)
        for text, replies in zip("abc", said, strict=True)
    ]
    with (
        closing(open_model(f"local:{models.reference}", device="cpu")) as model,
        logged_case(tmp_path, models.reference, told) as world,
    ):
        assert score_own(world.run, model, "suspect") is None
        rows = np.load(world.case.array("own", "suspect"), allow_pickle=False)
        scores = list(model.score(["auv", "cw", "cné"]))
    assert rows["probe"].tolist() == [0, 2, 2]
    assert rows["repeat"].tolist() == [0, 0, 1]
    assert rows["bytes"].tolist() == rows["tokens"].tolist() == [2, 1, 3]
    # A token is a byte: all but the one of the prompt are the reply's.
    expected = [score.logprobs[score.byte_ends > 1].sum() for score in scores]
    np.testing.assert_allclose(rows["logprob"], expected, atol=1e-4)


def test_replies_that_came_with_log_probabilities_are_not_read_again(models, tmp_path):
    known, unknown = [{"u": -0.5}, {"v": -1.25}], [{"u": -9999.0}, {"v": -1.25}]
    told = [
        Told(text=text, reply="y", tops=[None, None], said=["uv", "uv"], shown=shown)
        for text, shown in (("a", [known, []]), ("b", [unknown, known]))
    ]
    with logged_case(tmp_path, models.reference, told) as world:
        assert score_own(world.run, world.model, "suspect") is None
    rows = np.load(world.case.array("own", "suspect"), allow_pickle=False)
    assert rows.tolist() == [(0, 0, 2, 2, -1.75), (1, 1, 2, 2, -1.75)]
