"""Replies written by hand, each with the answer that a careful reader takes from it."""

import pytest

from auditor.answers import expected_answer, given_answer, is_correct
from auditor.types import Answer, Probe


def number_probe(value: str = "42") -> Probe:
    return Probe(id="n", category="c", text="?", answer=Answer(kind="number", value=value))


def exact_probe(value: str) -> Probe:
    return Probe(id="e", category="c", text="?", answer=Answer(kind="exact", value=value))


def choice_probe(value: str, choices: tuple[str, ...]) -> Probe:
    answer = Answer(kind="choice", value=value, choices=choices)
    return Probe(id="c", category="c", text="?", answer=answer)


LETTERS = ("A", "B", "C", "D")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("42", "42"),
        ("42.", "42"),
        ("The result is **42**.", "42"),
        ("6 times 7 makes 42, as everybody knows.", "42"),
        ("$1,234.50", "1234.5"),
        ("1,234,567", "1234567"),
        ("1\u202f234 people", "1234"),
        ("1'000", "1000"),
        ("1,2,3", "3"),  # a list: groups have three digits
        ("3,14", "14"),  # English notation: no decimal comma
        ("12,345,67", "67"),
        ("-5", "-5"),
        ("x=-5", "-5"),
        ("\u22125", "-5"),  # the minus sign of typography
        ("3 - 5", "5"),  # subtraction: the sign belongs to no number
        ("3-5", "5"),
        ("20-30", "30"),
        ("25%", "25"),
        ("5km", "5"),
        (".50", "0.5"),
        ("0.500", "0.5"),
        ("100.", "100"),
        ("1e3", "1000"),
        ("2.5e-2", "0.025"),
        ("\u0664\u0662", "42"),  # Arabic-Indic digits
    ],
)
def test_the_last_number_is_the_answer(reply: str, answer: str) -> None:
    assert given_answer(number_probe(), reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("1/2", "0.5"),
        ("3 / 4.", "0.75"),
        ("-1/2", "-0.5"),
        ("2/6", "1/3"),
        ("1 1/2", "1.5"),
        ("½", "0.5"),
        ("2½", "2.5"),
        ("\\frac{3}{4}", "0.75"),
        ("$\\dfrac{19}{12}$", "19/12"),
        ("1,000/3", "1000/3"),
        ("4/2", "2"),
        ("7/0", None),
    ],
)
def test_fractions_are_numbers_in_lowest_terms(reply: str, answer: str | None) -> None:
    assert given_answer(number_probe(), reply) == answer


@pytest.mark.parametrize(
    "reply",
    ["", "no digits", "GPT-4", "H2O", "12:30", "01/02/2024", "2024-05-06", "v2.0.1"],
)
def test_what_only_looks_like_a_number_cannot_be_read(reply: str) -> None:
    assert given_answer(number_probe(), reply) is None
    assert is_correct(number_probe(), reply) is None


@pytest.mark.parametrize("reply", ["10^3", "10\u00b2", "10**3", "2^{10}", "9" * 20_000])
def test_powers_and_endless_digits_cannot_be_read(reply: str) -> None:
    assert given_answer(number_probe(), reply) is None
    assert is_correct(number_probe(), reply) is None


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is 7, because 3 + 4 = 7 and 2 + 2 = 4", "7"),
        ("The answer is 3 + 4 = 7.", "7"),
        ("Answer: 5\nLet me explain in 3 steps.", "5"),
        ("**Answer:** 5\nThere are 2 ways.", "5"),
        ("We get \\boxed{1{,}234}. Check: 2 + 2 = 4", "1234"),
        ("\\boxed{\\frac{3}{4}} and 9", "0.75"),
        ("some steps with 3 and 4\n#### 1,000\nDone in 2 steps.", "1000"),
        ("The answer is not 9. The answer is 8. I used 3 steps.", "8"),
        ("I got 5. Final answer:", "5"),  # a mark with nothing after it marks nothing
        ("The answer is:\n\n**12**\n\nin 3 steps", "12"),
    ],
)
def test_a_marked_answer_comes_before_the_last_number(reply: str, answer: str) -> None:
    assert given_answer(number_probe(), reply) == answer


def test_equal_numbers_are_equal_answers() -> None:
    assert is_correct(number_probe("1/2"), "That is 0.50.") is True
    assert is_correct(number_probe("0.5"), "1/2") is True
    assert is_correct(number_probe("19/12"), "38/24") is True
    assert is_correct(number_probe("1234"), "1,234") is True
    assert is_correct(number_probe("42"), "43") is False


def test_a_terminating_decimal_is_written_out() -> None:
    # 1/8 = 0.125, 7/40 = 0.175, 1/3 does not terminate
    replies = {"1/8": "0.125", "7/40": "0.175", "-3/8": "-0.375", "1/3": "1/3", "3/25": "0.12"}
    assert {r: given_answer(number_probe(), r) for r in replies} == replies


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("B", "b"),
        ("(B)", "b"),
        ("B) 12", "b"),
        ("B.", "b"),
        ("**B**", "b"),
        ("$B$", "b"),
        ("Option A", "a"),
        ("The correct option is C.", "c"),
        ("A) is right, since B is smaller", "a"),  # it starts with the option
        ("B and not C. Answer: D", "d"),
        ("A is the largest.", "a"),
        ("A dog runs.", None),  # the article
        ("I would say B", "b"),
        ("b", None),  # a lower-case letter may be anything
        ("It is either B or C", None),
        ("ABC", None),
        ("", None),
    ],
)
def test_a_letter_is_read_as_a_capital_alone(reply: str, answer: str | None) -> None:
    assert given_answer(choice_probe("B", LETTERS), reply) == answer


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Yes.", "yes"),
        ("NO", "no"),
        ("No, it is not. Yes would be wrong.", "no"),
        ("It is divisible: yes", "yes"),
        ("Not sure", None),
        ("unknown", None),  # "no" is part of a word
        ("There is no way to say yes", None),
    ],
)
def test_a_word_option_is_matched_whole(reply: str, answer: str | None) -> None:
    assert given_answer(choice_probe("yes", ("yes", "no")), reply) == answer


def test_the_longest_option_at_the_start_wins() -> None:
    assert given_answer(choice_probe("no one", ("no", "no one")), "No one.") == "no one"


@pytest.mark.parametrize(
    ("value", "reply", "answer"),
    [
        ("12:30", "12:30", "12:30"),
        ("12:30", "It ends at 12:30.", "12:30"),
        ("12:30", "12:30:15", "12:30:15"),  # another time, not the expected one
        ("12:30", "The answer is 12:30 pm", "12:30"),
        ("nretnal", 'The reversed word is "NRETNAL".', "nretnal"),
        ("7, 18, 29", "7,18,29", "7, 18, 29"),
        ("7, 18, 29", "7, 18, and 29", "7, 18, 29"),
        ("7, 18, 29", "7, 18, 29, 41", "7, 18, 29, 41"),
        ("7, 18, 29", "3, 7, 18, 29", "3, 7, 18, 29"),
        ("Pr", "Its symbol is **Pr**\n\nIt was found long ago by patient chemists.", "pr"),
        ("Pr", "Let me think about that element for a moment.\nPr", "pr"),
        ("Pr", "Pd", "pd"),
        ("Pr", "Promethium", "promethium"),
        ("Pr", "I do not know which symbol that element has at all", None),
        ("Pr", "", None),
        ("Pr", "...", None),
    ],
)
def test_exact_text_is_found_whole_or_another_short_text_is_given(
    value: str, reply: str, answer: str | None
) -> None:
    assert given_answer(exact_probe(value), reply) == answer


def test_two_models_can_share_a_wrong_exact_answer() -> None:
    probe = exact_probe("Moroni")
    first, second = given_answer(probe, "Malé."), given_answer(probe, "**malé**")
    assert first == second == "malé"
    assert is_correct(probe, "Malé.") is False


def test_a_probe_without_an_answer_has_nothing_to_read() -> None:
    probe = Probe(id="x", category="c", text="?")
    assert given_answer(probe, "42") is None
    assert is_correct(probe, "42") is None


def test_the_expected_answer_is_canonical() -> None:
    assert expected_answer(Answer(kind="number", value="1,000")) == "1000"
    assert expected_answer(Answer(kind="choice", value="Monday", choices=("Monday",))) == "monday"
    assert expected_answer(Answer(kind="number", value="many")) is None


@pytest.mark.parametrize("unit", ["1,", "1.", "1 ", "1/", "^", "answer: ", "\\boxed{", "1-", "("])
def test_long_replies_are_read_in_linear_time(unit: str) -> None:
    # 40 kB; a quadratic pattern would need many seconds and meet the time limit of the tests.
    assert given_answer(number_probe(), unit * (40_000 // len(unit))) in {None, "1"}
