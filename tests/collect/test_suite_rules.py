"""Generated suites: the same bytes again, and every answer checked from the text alone.

The solvers below share no code with the rules: they read the question as a person would and
compute the answer in another way (brute force where that is possible).
"""

import ast
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from auditor.answers import is_correct
from auditor.collect.suite import load_suite, read_manifest, suite_path
from auditor.collect.suite_rules import RULES, generate
from auditor.types import Probe

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def numbers(text: str) -> list[int]:
    return [int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\d|\d", text)]


def evaluated(expression: str) -> Fraction:
    """Return the value of + - * / and brackets, from Python's own grammar."""

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Constant):
            return Fraction(str(node.value))
        assert isinstance(node, ast.BinOp)
        a, b = value(node.left), value(node.right)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        return a * b if isinstance(node.op, ast.Mult) else a / b

    return value(ast.parse(expression, mode="eval").body)


def solve_addition(text: str) -> str:
    return str(evaluated(re.findall(r"\d[\d,+\- ]*\d", text)[0].replace(",", "")))


def solve_multiplication(text: str) -> str:
    a, b = numbers(text)
    return str(sum(a for _ in range(b)))


def solve_remainders(text: str) -> str:
    rest, divisor = numbers(text)
    subtractions = 0
    while rest >= divisor:
        rest, subtractions = rest - divisor, subtractions + 1
    if "remainder" in text:
        return str(rest)
    assert rest == 0
    return str(subtractions)


def solve_fractions(text: str) -> str:
    words = {"plus": "+", "minus": "-", "times": "*"}
    match = re.search(r"(\S+) (plus|minus|times) ([\d/]+)", text)
    assert match
    return str(evaluated(f"({match[1]}) {words[match[2]]} ({match[3]})"))


def solve_percentages(text: str) -> str:
    percent = Decimal(re.findall(r"(\d+)%", text)[0]) / 100
    base = Decimal(re.findall(r"(?:of|cost) (\d+)", text)[0])
    factor = percent if "What is" in text else 1 + percent if "grows" in text else 1 - percent
    value = base * factor
    assert value == int(value)
    return str(int(value))


def solve_precedence(text: str) -> str:
    match = re.search(r"Evaluate ([^.]+)\.", text)
    assert match
    return str(evaluated(match[1]))


def solve_sequences(text: str) -> str:
    terms = [int(n) for n in re.findall(r"-?\d+", text)]
    steps = [b - a for a, b in itertools.pairwise(terms)]
    bends = [b - a for a, b in itertools.pairwise(steps)]
    candidates = set()
    if len(set(bends)) == 1:  # covers constant steps too
        candidates.add(terms[-1] + steps[-1] + bends[0])
    if len({Fraction(b, a) for a, b in itertools.pairwise(terms)}) == 1:
        candidates.add(terms[-1] ** 2 // terms[-2])
    if all(a + b == c for a, b, c in zip(terms, terms[1:], terms[2:], strict=False)):
        candidates.add(terms[-2] + terms[-1])
    (only,) = candidates  # two simple rules with different next terms would make it ambiguous
    return str(only)


def solve_shopping(text: str) -> str:
    found = numbers(text)
    if "in all" in text:
        n, p, m, q = found
        return str(n * p + m * q)
    if "given back" in text:
        p, q, n, m, note = found
        assert note >= n * p + m * q
        return str(note - n * p - m * q)
    stock, gone, size = found
    assert (stock - gone) % size == 0
    return str(len(range(0, stock - gone, size)))


def solve_travel(text: str) -> str:
    found = numbers(text)
    if "train" in text:
        distance, hours = found
        return str(Fraction(distance, hours))
    if "bus" in text:
        h1, v1, h2, v2 = found
        return str(sum([v1] * h1 + [v2] * h2))
    gain, loss, minutes = found
    return str(gain * minutes - loss * minutes)


def solve_units(text: str) -> str:
    big, small = numbers(text)
    delta = {
        "minutes are": (timedelta(hours=big, minutes=small), timedelta(minutes=1)),
        "seconds are": (timedelta(minutes=big, seconds=small), timedelta(seconds=1)),
        "hours are": (timedelta(days=big, hours=small), timedelta(hours=1)),
    }
    for words, (whole, unit) in delta.items():
        if words in text:
            return str(whole // unit)
    factor = {"centimetres are": "100", "grams are": "1000"}
    (ratio,) = (Decimal(f) for words, f in factor.items() if words in text)
    return str(big * ratio + small)


def solve_clock(text: str) -> str:
    hour, minute, lasts = numbers(text.split("Answer")[0])
    end = datetime(2001, 1, 1, hour, minute) + timedelta(minutes=lasts)  # noqa: DTZ001
    return end.strftime("%H:%M")


def solve_weekdays(text: str) -> str:
    (days,) = numbers(text)
    start = next(
        day
        for day in (date(2001, 1, 1) + timedelta(n) for n in range(7))
        if f"Today is {day.strftime('%A')}." in text
    )
    return (start + timedelta(days if "will" in text else -days)).strftime("%A")


def solve_ordering(text: str) -> str:
    facts = re.findall(r"(\w+) is \w+ than (\w+)\.", text)
    people = sorted({p for fact in facts for p in fact})
    fitting = [
        order
        for order in itertools.permutations(people)
        if all(order.index(a) < order.index(b) for a, b in facts)
    ]
    (order,) = fitting  # the facts leave one order only
    last = re.search(r"Who is the (shortest|youngest|slowest|lightest)", text)
    return order[-1] if last else order[0]


def solve_divisibility(text: str) -> str:
    tested, divisor = numbers(text)
    return "yes" if tested in range(0, tested + 1, divisor) else "no"


def solve_syllogisms(text: str) -> str:
    """Look for a counterexample among all 2**8 worlds: which of the 8 kinds of thing exist."""
    *premises, conclusion = re.findall(r"(all|no|some) (\w+) are (\w+)", text, re.IGNORECASE)
    kinds = sorted({word for _, a, b in premises for word in (a, b)})
    things = list(itertools.product((False, True), repeat=3))

    def holds(world: list[tuple[bool, ...]], fact: tuple[str, str, str]) -> bool:
        a, b = kinds.index(fact[1]), kinds.index(fact[2])
        both = any(thing[a] and thing[b] for thing in world)
        outside = any(thing[a] and not thing[b] for thing in world)
        return {"all": not outside, "no": not both, "some": both}[fact[0].lower()]

    for size in range(9):
        for world in itertools.combinations(things, size):
            if all(holds(list(world), p) for p in premises) and not holds(list(world), conclusion):
                return "no"
    return "yes"


def solve_letters(text: str) -> str:
    if "backwards" in text:
        word = re.findall(r'"(\w+)"', text)[0]
        return "".join(word[-i - 1] for i in range(len(word)))
    letter, word = re.findall(r'"(\w+)"', text)
    return str(Counter(word)[letter])


def solve_sorting(text: str) -> str:
    listed = re.findall(r": ([^.]+)\.", text)[0].split(", ")
    key: Callable[[str], int | str] = int if listed[0].isdigit() else str
    chosen = []
    while listed:
        smallest = min(listed, key=key)
        listed.remove(smallest)
        chosen.append(smallest)
    return ", ".join(chosen)


def solve_multiple_choice(text: str) -> str:
    options = dict(re.findall(r"^([A-D])\) (.+)$", text, re.MULTILINE))
    if "largest" in text:
        return max(options, key=lambda letter: Decimal(options[letter]))
    (wanted,) = re.findall(r"How is (\d+) written", text)
    (letter,) = (key for key, digits in options.items() if int(digits, 2) == int(wanted))
    return letter


SOLVERS: dict[str, Callable[[str], str]] = {
    name.removeprefix("solve_").replace("_", "-"): solver
    for name, solver in list(globals().items())
    if name.startswith("solve_")
}


def test_every_category_of_reasoning_has_a_solver() -> None:
    assert {p.category for p in load_suite("reasoning").probes} == set(SOLVERS)


@pytest.mark.parametrize("category", sorted(SOLVERS))
def test_every_reasoning_answer_is_right(category: str) -> None:
    probes = [p for p in load_suite("reasoning").probes if p.category == category]
    assert len(probes) == 10
    for probe in probes:
        assert probe.answer
        text = probe.messages[0].content
        assert SOLVERS[category](text) == probe.answer.value, text


def test_the_solvers_agree_on_other_seeds() -> None:
    for seed in (1, 2, 3):
        for line in generate("reasoning", 1, seed).splitlines():
            item = json.loads(line)
            text = item["messages"][0]["content"]
            assert SOLVERS[item["category"]](text) == item["answer"]["value"], text


def test_the_expected_value_itself_reads_as_correct() -> None:
    def replies(probe: Probe) -> list[str]:
        assert probe.answer
        return [probe.answer.value, f"The answer is {probe.answer.value}."]

    for probe in load_suite("reasoning").probes:
        assert [is_correct(probe, reply) for reply in replies(probe)] == [True, True], probe


def test_questions_with_options_do_not_favour_one_answer() -> None:
    probes = [p for p in load_suite("reasoning").probes if p.answer and p.answer.kind == "choice"]
    counts = Counter(p.answer.value for p in probes if p.answer and p.answer.value in {"yes", "no"})
    assert 8 <= counts["yes"] <= 12  # of 20


@pytest.mark.parametrize("name", ["ood", "reasoning"])
def test_a_generated_suite_is_regenerated_byte_for_byte(name: str) -> None:
    folder = suite_path(name)
    source = read_manifest(folder).generated_by
    assert source is not None
    assert (
        generate(source.rule, source.version, source.seed) == (folder / "items.jsonl").read_bytes()
    )


@pytest.mark.parametrize("rule", sorted(RULES))
def test_another_seed_writes_other_items(rule: tuple[str, int]) -> None:
    first, second = generate(*rule, 1), generate(*rule, 2)
    assert first != second
    assert first.count(b"\n") == second.count(b"\n")


def test_noise_covers_every_length_of_a_utf8_sequence() -> None:
    text = "".join(p.text or "" for p in load_suite("ood").probes)
    assert {len(c.encode()) for c in text} == {1, 2, 3, 4}


def test_random_letters_are_spread_evenly() -> None:
    probes = [p for p in load_suite("ood").probes if p.category == "random-letters"]
    counts = Counter(c for p in probes for c in p.text or "" if c != " ")
    # 26 letters, about 1,150 draws: 44 expected each, standard deviation 6.5; allow 4.5 of them
    total = sum(counts.values())
    expected, deviation = total / 26, (total / 26 * 25 / 26) ** 0.5
    assert len(counts) == 26
    assert all(abs(n - expected) < 4.5 * deviation for n in counts.values())
