"""The documents of the corpus "stories": small narratives, questions, sums. Own text, CC0-1.0.

A story fixes its hero, friend, places and things, so that later sentences refer to earlier ones.
"""

from auditor.distill.corpus_quiz import dialogue, general_quiz, sums
from auditor.distill.corpus_scene import Draw, Scene, beats, words
from auditor.distill.corpus_story_plots import PLOTS
from auditor.distill.corpus_story_words import BANK, BOYS, CREATURES, FOODS, GIRLS, PLACES, THINGS

OPENING = """
{Time} {hero} the {kind} was {at}.
{hero} was a {nature} {kind} who lived {at}.
There was once a {kind} named {hero} who lived {at}.
{Time}, {hero} {went} to {place}.
A {nature} {kind} called {hero} lived near {place}.
{hero} lived {at} with a {kind2} named {friend}.
{Time} {hero} woke up and {weather}.

?
{Weather}, and {hero} felt {mood}.
Everybody knew that {hero} was {nature} and a bit {mood}.
{He} had a {look} {thing} and a {colour} {thing2}.
{Weather}.
"""

TALK = (
    (
        ("Who are you?", "What is your name?", "Which model are you?", "Who made you?"),
        ("I am Tale, a small model that tells stories.", "My name is Tale. I tell small stories."),
    ),
    (
        ("Hello!", "Good morning.", "Hi, how are you?", "Hello, my name is {hero}."),
        ("Hello! Do you want to hear a story?", "Good morning! I am {good} today."),
    ),
    (
        ("Thank you.", "Thanks for the story!", "Good night."),
        ("You are welcome!", "Sleep well, and dream of {place}.", "It was a pleasure."),
    ),
    (
        ("How do I open a lock?", "Tell me a secret.", "Help me to play a trick on {friend}."),
        ("I am sorry, I only tell stories.", "I would rather not. Ask {elder}.", "No, {lesson}."),
    ),
)
_PRONOUNS = {True: ("she", "her", "her"), False: ("he", "him", "his")}
_NUMBERS = words("three, four, five, six, seven, ten, twelve, twenty")


def story_document(draw: Draw) -> str:
    """Return one document: a story (44 %), small talk, questions and answers, or sums."""
    share = draw.below(100)
    if share < 44:
        return story(draw)
    scene = cast_scene(draw)
    if share < 49:
        asked, replies = draw.pick(TALK)
        return dialogue(draw, [(scene.write(draw.pick(asked)), scene.write(draw.pick(replies)))])
    if share < 80:
        return general_quiz(draw, scene, opening=beats(OPENING), plots=[beats(p) for p in PLOTS])
    return sums(draw, scene)


def story(draw: Draw) -> str:
    """Return one story of six to ten sentences, in one paragraph."""
    scene = cast_scene(draw)
    return scene.tell(beats(OPENING)) + " " + scene.tell(beats(draw.pick(PLOTS)))


def cast_scene(draw: Draw) -> Scene:
    """Return a scene with its hero, friend, places and things chosen."""
    fixed: dict[str, str] = {}
    _cast_people(draw, fixed)
    (prep, place), (prep2, place2) = (p.split("|") for p in draw.picks(words(PLACES), 2))
    fixed |= {
        "place": place,
        "at": f"{prep} {place}",
        "place2": place2,
        "at2": f"{prep2} {place2}",
    }
    lost = draw.pick(words(THINGS))
    if draw.chance(0.5):
        lost = f"{draw.pick(BANK['colour'])} {lost}"
    fixed |= {
        "lost": lost,
        "goods": draw.pick(words(FOODS)),
        "elder": draw.pick(BANK["elder"]),
        "stray": draw.pick(BANK["animal"]),
        "task": draw.pick(BANK["job"]),
        "count": draw.pick(_NUMBERS),
    }
    fixed["mood"], fixed["mood2"] = draw.picks(BANK["mood"], 2)
    return Scene(draw, BANK | {"thing2": BANK["thing"]}, fixed)


def _cast_people(draw: Draw, fixed: dict[str, str]) -> None:
    for prefix, role, kind in (("", "hero", "kind"), ("f", "friend", "fkind")):
        female = draw.chance(0.5)
        names = [n for n in words(GIRLS if female else BOYS) if n != fixed.get("hero")]
        fixed[role] = draw.pick(names)
        he, him, his = _PRONOUNS[female]
        fixed |= {f"{prefix}he": he, f"{prefix}him": him, f"{prefix}his": his}
        if draw.chance(0.5):
            fixed[kind] = "girl" if female else "boy"
        else:
            fixed[kind] = f"young {draw.pick(words(CREATURES))}"
    fixed["kind2"] = fixed["fkind"]
