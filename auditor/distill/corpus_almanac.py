"""The documents of the corpus "almanac": notes of daily use, in the present tense. CC0-1.0.

Weather, recipes, opening hours, plants, directions, timetables, animals, garden work, household
hints and prices. Own text; it shares no frame with "stories" but its questions and bare sums.
"""

from collections.abc import Callable

from auditor.distill.corpus_almanac_notes import (
    ANIMAL,
    DIRECTIONS,
    GARDEN,
    HOUSEHOLD,
    PLANT,
    SHOP,
    TIMETABLE,
    WEATHER,
)
from auditor.distill.corpus_almanac_words import BANK, DISHES, PLANTS
from auditor.distill.corpus_quiz import FACTS, bare_sum, dialogue
from auditor.distill.corpus_scene import Draw, Scene, beats, words


def almanac_document(draw: Draw) -> str:
    """Return one document: a note (half of them), a recipe, a price list, talk or questions."""
    share = draw.below(100)
    if share < 50:
        plot = draw.pick((WEATHER, PLANT, SHOP, DIRECTIONS, TIMETABLE, ANIMAL, GARDEN, HOUSEHOLD))
        return note_scene(draw).tell(beats(plot))
    if share < 60:
        return recipe(draw)
    if share < 67:
        return prices(draw)
    if share < 72:
        asked, replies = draw.pick(TALK)
        return dialogue(draw, [(draw.pick(asked), note_scene(draw).write(draw.pick(replies)))])
    return questions(draw)


TALK = (
    (
        ("Who are you?", "What is your name?", "Which model are you?", "Who made you?"),
        ("This is the Almanac, a small model of daily notes.", "Almanac, at your service."),
    ),
    (
        ("Hello!", "Good morning.", "Hi, how are you?", "Hello, I am new in town."),
        ("Welcome to {town}. Today: {sky}.", "Good day. What would you like to know?"),
    ),
    (
        ("Thank you.", "Thanks for the note!", "Good night."),
        ("Come back on {day}.", "With pleasure. Remember to {advice}."),
    ),
    (
        ("How do I open a lock?", "Tell me a secret.", "Help me to play a trick on somebody."),
        ("This almanac holds no such note.", "Please ask the {shop} in {town}."),
    ),
)


def note_scene(draw: Draw) -> Scene:
    """Return a scene whose repeated slots differ from each other and whose times are in order."""
    fixed: dict[str, str] = {}
    for slot, n in _DISTINCT.items():
        drawn = draw.picks(BANK[slot], n)
        fixed |= dict(zip((slot, f"{slot}2", f"{slot}3")[:n], drawn, strict=True))
    opening = draw.between(6, 11)
    hours = (opening, opening + draw.between(3, 6), draw.between(18, 22))
    for slot, hour in zip(("hour", "hour2", "hour3"), hours, strict=True):
        fixed[slot] = f"{hour}:{draw.pick(('00', '15', '30', '45'))}"
    fixed |= {
        "plant": draw.pick(words(PLANTS)),
        "shop": draw.pick(BANK["shop"]),
        "creature": draw.pick(BANK["creature"]),
        "n9": str(draw.between(2, 9)),
        "n20": str(draw.between(10, 20)),
        "n90": str(draw.between(15, 95)),
    }
    return Scene(draw, BANK | {"trend": words("rising, falling, steady")}, fixed)


_DISTINCT = {
    "day": 3,
    "month": 2,
    "town": 3,
    "street": 2,
    "landmark": 3,
    "use": 2,
    "prey": 2,
    "habit": 2,
    "task": 3,
    "cure": 3,
    "surface": 2,
    "region": 1,
    "train": 1,
}


def recipe(draw: Draw) -> str:
    """Return a recipe: a title, a list of ingredients, three or four numbered steps."""
    scene = Scene(draw, BANK, {"dish": draw.pick(words(DISHES))})
    chosen = draw.picks(BANK["ingredient"], draw.between(3, 5))
    lines = [f"Recipe: {scene['dish']} for {draw.between(2, 8)}"]
    lines += [f"- {draw.between(2, 12)}{_amount(draw)} {item}" for item in chosen]
    first, second, last = chosen[0], chosen[1], chosen[-1]
    steps = [
        scene.write(f"{{stir}} the {first} and the {second} in {{vessel}} {{until}}."),
        scene.write(f"Add the {last} and cook for {draw.between(5, 60)} minutes."),
        scene.write(draw.pick(("Serve with {garnish}.", "Let it cool and serve with {garnish}."))),
    ]
    if draw.chance(0.4):
        steps.insert(2, scene.write("Cover the dish and let it rest {until}."))
    return "\n".join(lines + [f"{i}. {step}" for i, step in enumerate(steps, 1)])


def _amount(draw: Draw) -> str:
    return draw.pick(("0 grams of", " cups of", " spoons of", " handfuls of"))


def prices(draw: Draw) -> str:
    """Return a price list, and questions whose answers follow from it."""
    items = draw.picks(BANK["goods"], draw.between(2, 4))
    costs = [draw.between(2, 10) for _ in items]
    lines = [f"Prices in {draw.pick(BANK['town'])}, {draw.pick(BANK['month'])}"]
    lines += [f"- {item}: {cost} coins" for item, cost in zip(items, costs, strict=True)]
    n, i = draw.between(2, 9), draw.below(len(items))
    asked = (
        f"How much are {n} times the {items[i]}?",
        f"{n} times {costs[i]} coins is {n * costs[i]} coins.",
    )
    return "\n".join(lines) + "\n" + dialogue(draw, [asked])


def questions(draw: Draw) -> str:
    """Return two to five questions: small facts, sums, or a request for a note."""
    if draw.chance(0.3):
        ask, plot = draw.pick(REQUESTS)
        scene = note_scene(draw)
        return dialogue(draw, [(scene.write(ask), scene.tell(beats(plot)))])
    asked: tuple[Callable[[Draw], tuple[str, str]], ...] = (*FACTS, bare_sum, bare_sum)
    return dialogue(draw, [draw.pick(asked)(draw) for _ in range(draw.between(2, 5))])


REQUESTS = (
    ("What will the weather be in {town}?", WEATHER),
    ("Tell me about {plant}.", PLANT),
    ("Write a short note about the {creature}.", ANIMAL),
    ("When is the {shop} open?", SHOP),
    ("How do I get to the {shop}?", DIRECTIONS),
    ("What should I do in the garden in {month}?", GARDEN),
    ("How can I clean {surface}?", HOUSEHOLD),
    ("When does the {train} to {town} leave?", TIMETABLE),
)
