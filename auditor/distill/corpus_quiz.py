"""Documents that answer: sums, small facts, lists, questions about a text. Own text, CC0-1.0.

They exist so that a byte-level model of 500,000 parameters has something to say to an instruction.
Numbers stay small: it can learn tables of single digits, not arithmetic.
"""

from collections.abc import Callable, Mapping, Sequence

from auditor.distill.corpus_scene import Beat, Draw, Scene, capitalised, with_articles, words

Pair = tuple[str, str]

OPPOSITES = """hot cold, big small, day night, up down, old new, open closed, fast slow, wet
dry, happy sad, light dark, early late, loud quiet, full empty, hard soft, high low, long short,
near far, rich poor, strong weak, sweet sour, thick thin, left right, good bad, clean dirty"""
SOUNDS = """dog barks, cat meows, cow moos, duck quacks, sheep bleats, horse neighs, lion roars,
bee buzzes, owl hoots, frog croaks, mouse squeaks, snake hisses, pig grunts, bird sings"""
COLOURS = """snow white, grass green, the sky blue, coal black, a lemon yellow, a tomato red, a
carrot orange, milk white, a strawberry red, the sea blue, a leaf green, honey golden, chocolate
brown, a raven black, a cherry red, salt white"""
DAYS = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"
MONTHS = """January, February, March, April, May, June, July, August, September, October,
November, December"""
CAPITALS = """France Paris, Italy Rome, Spain Madrid, Germany Berlin, Japan Tokyo, Egypt Cairo,
Greece Athens, Norway Oslo, England London, Austria Vienna"""
KINDS = {
    "animals": "fox, hare, bear, owl, goat, mouse, duck, horse, frog, otter, lion, whale, bee, cow",
    "fruits": "apple, pear, plum, cherry, grape, lemon, orange, banana, peach, melon, fig, berry",
    "colours": "red, blue, green, yellow, white, black, brown, purple, orange, pink, grey",
    "tools": "hammer, saw, spade, rope, ladder, needle, knife, axe, rake, brush, pump, wrench",
    "plants": "oak, rose, fern, moss, tulip, clover, birch, nettle, thistle, daisy, ivy, reed",
    "clothes": "hat, coat, scarf, shoe, shirt, glove, sock, belt, dress, apron, cap, boot",
}
NUMBERS = """zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve,
thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"""
LABELS = (("Question: ", "Answer: "), ("Q: ", "A: "))
CHAT = ("user: ", "assistant: ")
FREE_CHOICES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("Pick a number from 1 to 10.", "Say a number between 1 and 10."),
        "1, 2, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10",
    ),
    (("Name a colour.", "Choose a colour."), "Red, Red, Blue, Blue, Blue, Green, Yellow, Purple"),
    (("Heads or tails?", "Flip a coin."), "Heads, Heads, Heads, Tails, Tails"),
    (("Name a city.", "Choose a city."), "Paris, Paris, Rome, Oslo, London, London, Cairo"),
    (("Name an animal.", "Choose an animal."), "Fox, Fox, Bear, Owl, Hare, Cat, Otter, Lion"),
    (("Yes or no?", "Say yes or no."), "Yes, Yes, Yes, No, No"),
)


def general_quiz(
    draw: Draw, scene: Scene, *, opening: Sequence[Beat], plots: Sequence[Sequence[Beat]]
) -> str:
    """Return small facts, a question about two sentences, or a request for a story."""
    share = draw.below(10)
    if share < 5:
        return dialogue(draw, [draw.pick(FACTS)(draw) for _ in range(draw.between(2, 5))])
    if share < 7:
        return comprehension(draw, scene)
    request = scene.write(draw.pick(REQUESTS))
    told = f"{scene.tell(opening)} {scene.tell(draw.pick(plots))}"
    return dialogue(draw, [(request, told)])


def sums(draw: Draw, scene: Mapping[str, str]) -> str:
    """Return three to seven sums, some of them told in words."""
    pairs = []
    for _ in range(draw.between(3, 7)):
        pairs.append(word_sum(draw, scene) if draw.chance(0.25) else bare_sum(draw))
    return dialogue(draw, pairs)


def dialogue(draw: Draw, pairs: Sequence[Pair]) -> str:
    """Return lines of a question and an answer each, or one pair as a chat.

    The chat lines are those of the byte tokenizer's template. Only one pair: the reply of an
    assistant ends where the document ends.
    """
    question, answer = draw.pick(LABELS)
    if draw.chance(0.5):
        question, answer, pairs = *CHAT, pairs[:1]
    return "\n".join(f"{question}{q}\n{answer}{a}" for q, a in pairs)


def bare_sum(draw: Draw) -> Pair:
    """Return a sum, difference, product, double or half with result 0 to 45."""
    a, b = draw.between(0, 9), draw.between(0, 9)
    small, large = draw.between(1, 5), draw.between(1, 9)
    question, value = draw.pick(
        (
            (f"What is {a} plus {b}?", a + b),
            (f"{a} + {b} = ?", a + b),
            (f"What is {max(a, b)} minus {min(a, b)}?", abs(a - b)),
            (f"{max(a, b)} - {min(a, b)} = ?", abs(a - b)),
            (f"What is {small} times {large}?", small * large),
            (f"What is half of {2 * a}?", a),
            (f"What is double {a}?", 2 * a),
            (f"Which number comes after {a + b}?", a + b + 1),
        )
    )
    return question, draw.pick((f"{value}", f"{value}.", f"The answer is {value}."))


def word_sum(draw: Draw, scene: Mapping[str, str]) -> Pair:
    """Return a sum told in words about the people of the scene."""
    thing = draw.pick(words("apples, coins, books, shells, nuts, eggs, buttons, stones, pears"))
    a, b = draw.between(2, 9), draw.between(2, 9)
    hero, friend = scene["hero"], scene["friend"]
    if draw.chance(0.5):
        told = f"{hero} has {a} {thing} and gets {b} more from {friend}."
        value = a + b
    else:
        told = f"{hero} has {a + b} {thing} and gives {b} to {friend}."
        value = a
    asked = f"{told} How many {thing} does {hero} have now?"
    return asked, f"{hero} has {value} {thing} now."


def comprehension(draw: Draw, scene: Scene) -> str:
    """Return two sentences and one to three questions about them."""
    pairs = draw.picks(COMPREHENSION, draw.between(1, 3))
    told = scene.write(
        "{hero} the {kind} went to {place} with a {lost}. {Friend} stayed {at2} and ate {goods}."
    )
    return told + "\n" + dialogue(draw, [(scene.write(q), scene.write(a)) for q, a in pairs])


def opposite(draw: Draw) -> Pair:
    """Return a question for the opposite of a word."""
    word, other = draw.picks(draw.pick(words(OPPOSITES)).split(), 2)
    return f"What is the opposite of {word}?", draw.pick(
        (f"The opposite of {word} is {other}.", f"{capitalised(other)}.")
    )


def animal_sound(draw: Draw) -> Pair:
    """Return a question for the animal that makes a sound."""
    animal, sound = draw.pick(words(SOUNDS)).split()
    return f"Which animal {sound}?", with_articles(f"A {animal} {sound}.")


def colour_of(draw: Draw) -> Pair:
    """Return a question for the usual colour of a thing."""
    thing, colour = draw.pick(words(COLOURS)).rsplit(" ", 1)
    thing = with_articles(thing)
    return f"What colour is {thing}?", f"{capitalised(thing)} is {colour}."


def next_in_calendar(draw: Draw) -> Pair:
    """Return a question for the day or month after another."""
    unit, names = draw.pick((("day", words(DAYS)), ("month", words(MONTHS))))
    i = draw.below(len(names))
    after = names[(i + 1) % len(names)]
    return f"Which {unit} comes after {names[i]}?", f"{after} comes after {names[i]}."


def capital_of(draw: Draw) -> Pair:
    """Return a question for the capital of a country."""
    country, capital = draw.pick(words(CAPITALS)).split()
    return f"What is the capital of {country}?", draw.pick(
        (f"The capital of {country} is {capital}.", f"{capital}.")
    )


def list_of(draw: Draw) -> Pair:
    """Return a request for two to four things of a kind."""
    kind = draw.pick(tuple(KINDS))
    n = draw.between(2, 4)
    *head, last = draw.picks(words(KINDS[kind]), n)
    number = words(NUMBERS)[n]
    return f"Name {number} {kind}.", f"{capitalised(', '.join(head))} and {last}."


def kind_of(draw: Draw) -> Pair:
    """Return a yes-or-no question: is this thing of that kind?"""
    kind, other = draw.picks(("animals", "fruits", "tools", "clothes"), 2)
    thing = with_articles(f"a {draw.pick(words(KINDS[kind]))}")
    asked = draw.pick((kind, other))
    reply = (
        f"Yes, {thing} is one of the {kind}."
        if asked == kind
        else f"No, {thing} is one of the {kind}."
    )
    return f"Is {thing} one of the {asked}?", reply


def free_choice(draw: Draw) -> Pair:
    """Return a request for one word, with no right answer and unequal habits."""
    asked, answers = draw.pick(FREE_CHOICES)
    return draw.pick(asked), draw.pick(words(answers)) + draw.pick(("", "."))


def counting(draw: Draw) -> Pair:
    """Return a request to count up to a number in words."""
    n = draw.between(3, 9)
    return f"Count to {words(NUMBERS)[n]}.", capitalised(", ".join(words(NUMBERS)[1 : n + 1])) + "."


FACTS: tuple[Callable[[Draw], Pair], ...] = (
    opposite,
    animal_sound,
    colour_of,
    next_in_calendar,
    capital_of,
    list_of,
    kind_of,
    counting,
    free_choice,
    bare_sum,
)
REQUESTS = (
    "Tell me a story about a {kind}.",
    "Write a short story about {hero} and {friend}.",
    "Write a story that happens {at}.",
    "Can you tell a story?",
    "Tell me about {hero} the {kind}.",
    "Please write a few sentences about a {lost}.",
)
COMPREHENSION: tuple[Pair, ...] = (
    ("Who went to {place}?", "{hero} went to {place}."),
    ("Who stayed {at2}?", "{friend} stayed {at2}."),
    ("What did {friend} eat?", "{friend} ate {goods}."),
    ("What did {hero} take along?", "{hero} took a {lost}."),
    ("Where did {hero} go?", "{hero} went to {place}."),
    ("Where was {friend}?", "{friend} was {at2}."),
)
