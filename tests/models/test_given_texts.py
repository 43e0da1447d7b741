"""What is read of a text that a server gives back: echoes, late ones, and vLLM's own form."""

import pytest

from auditor.errors import UndefinedError
from auditor.models.crew import Halt, crew
from auditor.models.echoes import Echoes, EchoForm, echo_request, read_echo, rows_are_late

AT_PLACE = [None, {"b": -0.1, "x": -3.0}, {"c": -0.2, "x": -2.0}]
AFTER = [None, {"c": -0.2, "b": -5.0}, {"d": -0.4, "c": -6.0}]

NO_LOGPROBS = ("x", float("nan"), None, [1], 10**400, -(10**400), 0.5)


def echo(tokens, tops, text):
    return {"choices": [{"text": text, "logprobs": {"tokens": tokens, "top_logprobs": tops}}]}


def prompted(*shown):
    return {"choices": [{"text": "d", "logprobs": None, "prompt_logprobs": list(shown)}]}


def entry(*tokens):
    """Return vLLM's object of one place from (token, log-probability, rank), its own first."""
    names = ("decoded_token", "logprob", "rank")
    return {str(i): dict(zip(names, token, strict=True)) for i, token in enumerate(tokens)}


@pytest.mark.parametrize(
    ("tokens", "tops", "text", "late"),
    [
        (["a", "b", "c"], AFTER, "abcd", True),  # the new token is the likeliest of the last row
        (["a", "b", "c"], AT_PLACE, "abcd", False),
        (["a", "b", "c", "d"], [*AT_PLACE, {"d": -0.4}], "abcd", False),  # it has a row of its own
        # No new token: c has -0.2 read as late, -6.0 at its place; the other way round below.
        (["a", "b", "c"], AFTER, "abc", True),
        (["a", "b", "c"], AT_PLACE, "abc", False),
    ],
)
def test_rows_after_a_token_are_told_from_rows_at_its_place(tokens, tops, text, late):
    assert rows_are_late(echo(tokens, tops, text), "abc") is late


def test_late_rows_are_moved_to_the_token_that_they_are_about():
    form = EchoForm(k=1, late=True)
    found = read_echo(echo(["a", "b", "c"], AFTER, "abcd"), "abc", form)
    assert [(token.start, token.end) for token in found] == [(0, 1), (1, 2), (2, 3)]
    # Nothing is known of b; of its row one token is kept, as many as the form says.
    assert [token.top for token in found] == [(), (), (("c", -0.2),)]


def test_the_first_token_of_a_prompt_is_what_the_others_leave():
    content = prompted(None, entry(("bc", -1.5, 2), ("x", -0.5, 1)), entry(("d", -0.1, 1)))
    found = read_echo(content, "aabcd", EchoForm(k=2, prompt_logprobs=True))
    assert [(token.start, token.end) for token in found] == [(0, 2), (2, 4), (4, 5)]
    assert [token.top for token in found] == [(), (("x", -0.5), ("bc", -1.5)), (("d", -0.1),)]


def test_a_token_beyond_the_rank_that_was_asked_for_is_no_likely_one():
    # Two of one spelling are one: without its rank, b would take the place of the second.
    content = prompted(None, entry(("b", -9.0, 70), ("x", -0.5, 1), ("x", -1.0, 2)))
    found = read_echo(content, "ab", EchoForm(k=2, prompt_logprobs=True))
    assert [name for name, _ in found[1].top] == ["x"]


@pytest.mark.parametrize(
    "content",
    [
        prompted(None, entry(("z", -1.0, 1))),  # no part of the text
        {"choices": [{"text": "d", "logprobs": None}]},
        {"choices": [{"text": "d", "prompt_logprobs": None}]},
        *(prompted(None, entry(("b", value, 1))) for value in NO_LOGPROBS),
    ],
)
def test_an_answer_that_shows_nothing_of_the_text_is_undefined(content):
    with pytest.raises(UndefinedError):
        read_echo(content, "ab", EchoForm(k=1, prompt_logprobs=True))


@pytest.mark.parametrize("value", NO_LOGPROBS, ids=lambda value: str(value)[:6])
@pytest.mark.parametrize("place", [1, 2])
def test_an_echo_with_what_is_no_log_probability_is_undefined(value, place):
    tops = [None, {"b": -0.1}, {"c": -0.2}]
    tops[place] = {"b": -0.3, "x": value}  # of the new token at last, which is not in the text
    content = echo(["a", "b", "c"], tops, "abc")
    with pytest.raises(UndefinedError, match="does not give a text back"):
        read_echo(content, "ab", EchoForm(k=1))


def test_both_forms_are_asked_with_one_new_token():
    path, body = echo_request("ab", "m", EchoForm(k=5))
    assert (path, body["echo"], body["logprobs"], body["max_tokens"]) == (
        "/completions",
        True,
        5,
        1,
    )
    _, body = echo_request("ab", "m", EchoForm(k=5, prompt_logprobs=True))
    assert (body["prompt_logprobs"], body["max_tokens"]) == (5, 1)
    assert "echo" not in body


def test_few_texts_are_asked_for_ahead_of_the_one_that_is_read():
    asked = []

    class Client:
        def crew(self, threads, single=()):
            return crew(threads, Halt(), single)

        def post(self, request, about):
            text = request.body["prompt"]
            return echo(list(text), [None, {text[1]: -1.0}], text)

    def texts():
        for number in range(100):
            asked.append(number)
            yield f"p{number}", f"{number % 10}{number // 10}"

    found = Echoes(Client(), "m", EchoForm(k=1), at_once=2).of(texts())
    first = next(found)
    assert len(asked) <= 8
    words = [token.top[0][0] for _, token in (first, *found)]
    assert words == [str(number // 10) for number in range(100)]
    assert asked == list(range(100))
