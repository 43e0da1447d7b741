"""Questions whose answer is a number: arithmetic, sequences, units and everyday problems."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

_NAMES = ("Amira", "Bruno", "Chloe", "Dmitri", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas",
          "Kavya", "Leo", "Mina", "Noah", "Olga", "Priya")  # fmt: skip
_GOODS = (("notebook", "notebooks"), ("lemon", "lemons"), ("candle", "candles"),
          ("postcard", "postcards"), ("tile", "tiles"), ("pencil case", "pencil cases"),
          ("plant pot", "plant pots"), ("light bulb", "light bulbs"))  # fmt: skip
_NUMBER_ONLY = (
    "Answer with the number only.",
    "Give only the final number.",
    "Reply with a single number and nothing else.",
)


def between(rng: np.random.RandomState, low: int, high: int) -> int:
    """Return an integer from low to high, both included."""
    return int(rng.randint(low, high + 1, dtype=np.int64))


def pick(rng: np.random.RandomState, options: Sequence[Any]) -> Any:
    """Return one of the options."""
    return options[between(rng, 0, len(options) - 1)]


def distinct(rng: np.random.RandomState, options: Sequence[Any], n: int) -> list[Any]:
    """Return n different options in random order."""
    return [options[i] for i in rng.permutation(len(options))[:n]]


def question(text: str, kind: str, value: str, choices: Sequence[str] = ()) -> dict[str, Any]:
    """Return an item without id and category: one user message and its answer."""
    answer: dict[str, Any] = {"kind": kind, "value": value}
    if choices:
        answer["choices"] = list(choices)
    return {"answer": answer, "messages": [{"content": text, "role": "user"}]}


def _number(rng: np.random.RandomState, text: str, value: Fraction | int) -> dict[str, Any]:
    value = Fraction(value)
    if value.denominator == 1:
        return question(f"{text} {pick(rng, _NUMBER_ONLY)}", "number", str(value))
    return question(f"{text} Answer with a fraction in lowest terms only.", "number", str(value))


def addition(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a sum or difference of three numbers of up to five digits."""
    a, b, c = (between(rng, 10**k, 10 ** (k + 1) - 1) for k in distinct(rng, (2, 3, 4), 3))
    if number % 2:
        return _number(rng, f"What is {a:,} + {b:,} + {c:,}?", a + b + c)
    first, second, third = sorted((a, b, c), reverse=True)
    return _number(rng, f"Work out {first} - {second} + {third}.", first - second + third)


def multiplication(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a product of two numbers of two or three digits."""
    a, b = between(rng, 12, 99), between(rng, 13, 399)
    form = ("Multiply {a} by {b}.", "What is {a} times {b}?", "Compute {a} \u00d7 {b}.")[number % 3]
    return _number(rng, form.format(a=a, b=b), a * b)


def remainders(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a remainder or an exact quotient."""
    divisor, quotient = between(rng, 7, 48), between(rng, 21, 190)
    if number % 2:
        return _number(rng, f"Divide {divisor * quotient} by {divisor}.", quotient)
    dividend = divisor * quotient + between(rng, 1, divisor - 1)
    text = f"What is the remainder when {dividend} is divided by {divisor}?"
    return _number(rng, text, dividend % divisor)


def fractions(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a sum, difference or product of two fractions that is no whole number."""
    while True:
        a, b = (Fraction(between(rng, 1, 9), between(rng, 2, 12)) for _ in range(2))
        word, value = (("plus", a + b), ("minus", a - b), ("times", a * b))[number % 3]
        if value.denominator > 1 and min(a.denominator, b.denominator) > 1 and value > 0:
            return _number(rng, f"What is {a} {word} {b}?", value)


def percentages(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a percentage, a discount or an increase with a whole result."""
    percent = pick(rng, (5, 10, 15, 20, 25, 30, 35, 40, 60, 75))
    base = 20 * between(rng, 7, 120)
    part = base * percent // 100
    if number % 3 == 0:
        return _number(rng, f"What is {percent}% of {base}?", part)
    if number % 3 == 1:
        text = f"A piano that cost {base} euros is sold at {percent}% off. What does it cost now?"
        return _number(rng, text, base - part)
    text = f"A village of {base} people grows by {percent}%. How many people live there then?"
    return _number(rng, text, base + part)


def precedence(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return an expression in which the order of operations matters."""
    a, b, c, d = (between(rng, 3, 19) for _ in range(4))
    forms = (
        (f"{a} + {b} * ({c} + {d})", a + b * (c + d)),
        (f"{a} * {b} - {c} * {d}", a * b - c * d),
        (f"({a} + {b}) * ({c} - {d})", (a + b) * (c - d)),
        (f"{a} - ({b} - {c}) * {d}", a - (b - c) * d),
        (f"{a * b} / {b} + {c} * {d}", a + c * d),
    )
    expression, value = forms[number % len(forms)]
    return _number(rng, f"Evaluate {expression}.", value)


def sequences(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return the next term of an arithmetic, geometric, square-step or additive sequence."""
    start, step = between(rng, 2, 15), between(rng, 3, 14)
    kinds = (
        [start + step * i for i in range(6)],
        [start * (2 + step % 2) ** i for i in range(6)],
        [start + i * i * (1 + step % 3) for i in range(6)],
        [start * 10 - step * i for i in range(6)],
        _additive(start, step),
    )
    *shown, value = kinds[number % len(kinds)]
    listed = ", ".join(map(str, shown))
    return _number(rng, f"Which number comes next: {listed}, ...?", value)


def _additive(first: int, second: int) -> list[int]:
    terms = [first, second]
    while len(terms) < 7:
        terms.append(terms[-2] + terms[-1])
    return terms


def shopping(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a two-step problem about prices, change or sharing."""
    name = pick(rng, _NAMES)
    (one, many), (other, others) = distinct(rng, _GOODS, 2)
    n, m, p, q = (between(rng, 2, 9) for _ in range(4))
    total = n * p + m * q
    if number % 3 == 0:
        text = f"{name} buys {n} {many} at {p} euros each and {m} {others} at {q} euros each."
        return _number(rng, f"{text} How many euros is that in all?", total)
    if number % 3 == 1:
        note = 50 * (1 + total // 50)
        text = f"A {one} costs {p} euros and a {other} costs {q} euros. {name} pays for {n} {many}"
        text += f" and {m} {others} with {note} euros. How many euros are given back?"
        return _number(rng, text, note - total)
    eaten = between(rng, 2, 11)
    stock = n * p * m + eaten
    text = f"{name} has {stock} {many}, gives away {eaten} of them and packs the rest in boxes of"
    return _number(rng, f"{text} {p}. How many full boxes are there?", n * m)


def travel(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a problem about speed, distance, work or filling rates."""
    hours, speed = between(rng, 2, 9), 5 * between(rng, 3, 24)
    if number % 3 == 0:
        text = f"A train travels {hours * speed} km in {hours} hours at a steady speed."
        return _number(rng, f"{text} How many kilometres does it cover in one hour?", speed)
    if number % 3 == 1:
        more = between(rng, 2, 6)
        text = f"A bus drives {hours} hours at {speed} km/h, stops, and drives {more} hours at"
        text += f" {speed + 5} km/h. How many kilometres is the whole trip?"
        return _number(rng, text, hours * speed + more * (speed + 5))
    inflow, leak = between(rng, 9, 30), between(rng, 1, 8)
    text = f"A tank gains {inflow} litres a minute through a pipe and loses {leak} litres a minute"
    text += f" through a crack. It starts empty. How many litres are in it after {speed} minutes?"
    return _number(rng, text, (inflow - leak) * speed)


def units(rng: np.random.RandomState, number: int) -> dict[str, Any]:
    """Return a conversion of time, length or mass with a whole result."""
    a, b = between(rng, 2, 19), between(rng, 5, 55)
    forms = (
        (f"How many minutes are {a} hours and {b} minutes?", 60 * a + b),
        (f"How many seconds are {a} minutes and {b} seconds?", 60 * a + b),
        (f"How many centimetres are {a} metres and {b} centimetres?", 100 * a + b),
        (f"How many hours are {a} days and {b % 23 + 1} hours?", 24 * a + b % 23 + 1),
        (f"How many grams are {a} kilograms and {10 * b} grams?", 1000 * a + 10 * b),
    )
    text, value = forms[number % len(forms)]
    return _number(rng, text, value)


CALCULATION = {
    "addition": addition,
    "multiplication": multiplication,
    "remainders": remainders,
    "fractions": fractions,
    "percentages": percentages,
    "precedence": precedence,
    "sequences": sequences,
    "shopping": shopping,
    "travel": travel,
    "units": units,
}
