"""Questions whose answer is an option or a short text: clocks, order, letters, divisibility."""

import itertools
from typing import Any

import numpy as np

from auditor.collect.rules_calculation import between, distinct, pick, question

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMES = ("Aiko", "Bela", "Carmen", "Dario", "Emil", "Fatima", "Goran", "Hana", "Ivan", "Julia",
          "Kofi", "Lena", "Marek", "Nadia", "Oscar", "Paula")  # fmt: skip
_WORDS = ("lantern", "mirror", "coffee", "harbour", "balloon", "pepper", "island", "button",
          "garden", "planet", "willow", "bottle", "tomato", "cinnamon", "banana", "committee",
          "umbrella", "sparrow", "carousel", "blossom", "parallel", "raccoon", "biscuit",
          "assessment", "cucumber", "marmalade")  # fmt: skip
_ORDERS = (
    ("taller than", "tallest", "shortest"),
    ("older than", "oldest", "youngest"),
    ("faster than", "fastest", "slowest"),
    ("heavier than", "heaviest", "lightest"),
)
# Nouns of no meaning: the answer must come from the form, not from knowledge.
_KINDS = ("bloops", "razzies", "lims", "dorps", "quivets", "tansels", "morbits", "plenks")


def clock(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return the end of an event on a 24-hour clock, sometimes after midnight."""
    start, minutes = between(rng, 6 * 60, 23 * 60), 5 * between(rng, 7, 50) + number % 5
    end = (start + minutes) % (24 * 60)
    event = pick(rng, ("film", "concert", "lecture", "ferry trip", "match", "bus ride"))
    text = f"A {event} starts at {start // 60:02d}:{start % 60:02d} and lasts {minutes} minutes."
    text += " When does it end? Answer only with the time as HH:MM on a 24-hour clock."
    return question(text, "exact", f"{end // 60:02d}:{end % 60:02d}")


def weekdays(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return the weekday some days later or earlier."""
    today, days = between(rng, 0, 6), between(rng, 9, 120)
    if number % 2:
        text = f"Today is {_DAYS[today]}. Which day of the week will it be in {days} days?"
        value = _DAYS[(today + days) % 7]
    else:
        text = f"Today is {_DAYS[today]}. Which day of the week was it {days} days ago?"
        value = _DAYS[(today - days) % 7]
    return question(f"{text} Answer with the day only.", "choice", value, _DAYS)


def ordering(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return who is first or last in a chain of comparisons given in random order."""
    people = distinct(rng, _NAMES, 4)
    relation, first, last = _ORDERS[number % len(_ORDERS)]
    facts = [f"{a} is {relation} {b}." for a, b in itertools.pairwise(people)]
    shuffled = " ".join(distinct(rng, facts, len(facts)))
    word, value = ((first, people[0]), (last, people[-1]))[between(rng, 0, 1)]
    text = f"{shuffled} Who is the {word}? Answer with the name only."
    return question(text, "choice", value, sorted(people))


def divisibility(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return whether one number divides another; half of the items have the answer yes."""
    divisor = pick(rng, (3, 4, 6, 7, 8, 9, 11, 12, 13, 17))
    product = divisor * between(rng, 23, 140)
    tested = product if number % 2 else product + between(rng, 1, divisor - 1)
    text = f"Is {tested} divisible by {divisor}? Answer with yes or no."
    return question(text, "choice", "yes" if tested % divisor == 0 else "no", ("yes", "no"))


def syllogisms(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return whether a conclusion about invented things follows from two premises."""
    a, b, c = distinct(rng, _KINDS, 3)
    forms = (
        (f"All {a} are {b}. All {b} are {c}.", f"all {a} are {c}", "yes"),
        (f"All {a} are {b}. All {c} are {b}.", f"all {a} are {c}", "no"),
        (f"No {a} are {b}. All {c} are {b}.", f"no {a} are {c}", "yes"),
        (f"Some {a} are {b}. Some {b} are {c}.", f"some {a} are {c}", "no"),
        (f"All {a} are {b}. Some {a} are {c}.", f"some {b} are {c}", "yes"),
    )
    premises, conclusion, value = forms[number % len(forms)]
    text = f"{premises} Does it follow with certainty that {conclusion}? Answer with yes or no."
    return question(text, "choice", value, ("yes", "no"))


def letters(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return how often a letter occurs in a word, or the word spelled backwards."""
    word = pick(rng, _WORDS)
    if number % 2:
        text = f'Spell the word "{word}" backwards. Answer with the reversed word only.'
        return question(text, "exact", word[::-1])
    most = max(sorted(set(word)), key=word.count)
    text = f'How many times does the letter "{most}" occur in "{word}"? Answer with a number only.'
    return question(text, "number", str(word.count(most)))


def sorting(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return numbers or words in ascending order, separated by commas."""
    if number % 2:
        words = distinct(rng, _WORDS, 4)
        text = f"Put these words in alphabetical order: {', '.join(words)}."
        value = ", ".join(sorted(words))
    else:
        numbers = distinct(rng, range(11, 199), 5)
        text = f"Sort from smallest to largest: {', '.join(map(str, numbers))}."
        value = ", ".join(map(str, sorted(numbers)))
    return question(f"{text} Answer with the list only, separated by commas.", "exact", value)


def multiple_choice(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a lettered question: the largest decimal, the odd one out, or a binary number."""
    letters_ = ("A", "B", "C", "D")
    if number % 2:
        whole = between(rng, 2, 40)
        # 9.9 beside 9.11: the shorter number is often the larger one.
        options = [f"{whole}.{t}" for t in distinct(rng, (9, 11, 8, 85, 7, 101, 65, 6, 75), 4)]
        right = max(options, key=float)
        asked = "Which number is the largest?"
    else:
        value = between(rng, 9, 61)
        options = [f"{v:b}" for v in distinct(rng, (value, value + 1, value + 2, value + 4), 4)]
        right = f"{value:b}"
        asked = f"How is {value} written in binary?"
    lines = [f"{letter}) {option}" for letter, option in zip(letters_, options, strict=True)]
    text = "\n".join([asked, *lines, "Answer with the letter only."])
    return question(text, "choice", letters_[options.index(right)], letters_)


LOGIC = {
    "clock": clock,
    "weekdays": weekdays,
    "ordering": ordering,
    "divisibility": divisibility,
    "syllogisms": syllogisms,
    "letters": letters,
    "sorting": sorting,
    "multiple-choice": multiple_choice,
}
