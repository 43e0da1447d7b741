"""The seeded corpora: same bytes for ever, varied, grammatical, and what they say is true."""

import re
from collections import Counter

import pytest

from auditor.canon import json_digest
from auditor.distill.corpus import CORPORA, generate_corpus
from auditor.distill.corpus_almanac_words import BANK as ALMANAC
from auditor.distill.corpus_scene import Draw, Scene, beats, with_articles, words
from auditor.distill.corpus_story_plots import PLOTS
from auditor.distill.corpus_story_words import BANK as STORIES
from auditor.distill.corpus_story_words import BOYS, GIRLS
from auditor.errors import RecipeError

# Goldens: the shipped models were trained on these bytes. A changed rule is a new version.
DIGESTS = {
    "stories": "sha256:3c8909b6cc3d51fdcc35ef863a519418c33d1eed39082dc36f0a173be25b1521",
    "almanac": "sha256:a65c8a25073ef0ac071d6a4b3799bb839bb9c643907534181deae33fe790c061",
}


@pytest.fixture(scope="module")
def documents() -> dict[str, list[str]]:
    return {name: list(generate_corpus(name, seed=5, documents=3000)) for name in CORPORA}


@pytest.mark.parametrize("name", DIGESTS)
def test_version_1_gives_the_bytes_it_always_gave(name):
    assert CORPORA[name].version == 1
    assert json_digest(list(generate_corpus(name, seed=11, documents=500))) == DIGESTS[name]


def test_a_longer_run_begins_with_a_shorter_one():
    assert list(generate_corpus("stories", seed=1, documents=40))[:7] == list(
        generate_corpus("stories", seed=1, documents=7)
    )


def test_another_seed_gives_other_documents():
    first = set(generate_corpus("stories", seed=1, documents=200))
    second = set(generate_corpus("stories", seed=2, documents=200))
    # Short answers ("user: Flip a coin.") recur; stories do not.
    assert not {d for d in first & second if len(d) > 200}


def test_every_corpus_says_what_a_lineage_must_record():
    for name, corpus in CORPORA.items():
        record = corpus.as_json()
        assert (record["name"], record["licence"]) == (name, "CC0-1.0")
        module, _, function = str(record["rule"]).partition(":")
        assert (module, function) == (corpus.document.__module__, corpus.document.__name__)


@pytest.mark.parametrize("name", DIGESTS)
def test_text_is_too_varied_to_be_memorised(name, documents):
    docs = documents[name]
    sentences = [s for d in docs for s in re.split(r"(?<=[.!?])\s", d)]
    assert len(set(docs)) / len(docs) > 0.9
    # A sentence frame alone would give a few hundred different ones.
    assert len(set(sentences)) / len(sentences) > 0.45
    assert len(set(re.findall(r"[a-z]+", " ".join(docs).lower()))) > 800
    # ... and none so frequent that it makes up the corpus.
    assert Counter(sentences).most_common(1)[0][1] / len(sentences) < 0.03


@pytest.mark.parametrize(
    "fault",
    [
        r"\b(\w+) \1\b",  # a word twice
        r"[{}|<>]",  # an unfilled slot, a list separator, a special token
        r"  | [.,!]|\.\.",  # spacing
        r"\b[Aa] [aeiouAEIOU]|\b[Aa]n [^aeiouAEIOU]",  # articles
        r"[.!?] [a-z]",  # a sentence in lower case (quoted ones end inside their quotes)
        r"[^\x20-\x7e\n]",  # ASCII only: one byte, one character
        r"\ba (some|the|an)\b|\bthe (a|an|the)\b",  # two articles
    ],
)
@pytest.mark.parametrize("name", DIGESTS)
def test_no_document_has_a_fault_of_assembly(name, fault, documents):
    found = [m.group(0) for d in documents[name] for m in re.finditer(fault, d)]
    assert found == []


def test_a_story_refers_to_its_hero_with_one_pronoun(documents):
    girls, boys = set(words(GIRLS)), set(words(BOYS))
    stories = [d for d in documents["stories"] if "\n" not in d]
    wrong = []
    for story in stories:
        people = [w for w in re.findall(r"[A-Z][a-z]+", story) if w in girls | boys]
        if people and not set(people) & boys and re.search(r"\b([Hh]e|his|him)\b", story):
            wrong.append(story)
        if people and not set(people) & girls and re.search(r"\b([Ss]he|her)\b", story):
            wrong.append(story)
    assert len(stories) > 1000
    assert wrong == []


def test_what_is_lost_is_what_is_found(documents):
    found = 0
    for story in documents["stories"]:
        lost = re.search(r"\w+ had lost (?:his|her) ([\w ]+) and was", story)
        if lost is not None:
            found += 1
            assert story.count(lost.group(1)) >= 2, story
    assert found > 10


@pytest.mark.parametrize("name", DIGESTS)
def test_sums_are_right(name, documents):
    sign = {"plus": 1, "+": 1, "minus": -1, "-": -1}
    pattern = re.compile(r": (?:What is )?(\d+) (plus|\+|minus|-) (\d+)(?: =)? ?\?\n\w+: \D*(\d+)")
    sums = [m.groups() for d in documents[name] for m in pattern.finditer(d)]
    assert len(sums) > 50
    assert all(int(a) + sign[op] * int(b) == int(c) for a, op, b, c in sums)


def test_told_sums_are_right(documents):
    got = re.compile(r"has (\d+) (\w+) and gets (\d+) more from \w+\. .*\n.* has (\d+) \2 now")
    gave = re.compile(r"has (\d+) (\w+) and gives (\d+) to \w+\. .*\n.* has (\d+) \2 now")
    text = "\n".join(documents["stories"])
    more = [(int(a), int(b), int(c)) for a, _, b, c in got.findall(text)]
    less = [(int(a), int(b), int(c)) for a, _, b, c in gave.findall(text)]
    assert len(more) > 20
    assert len(less) > 20
    assert all(a + b == c for a, b, c in more)
    assert all(a - b == c for a, b, c in less)


def test_closing_times_come_after_opening_times(documents):
    pattern = re.compile(r"from (\d+):\d\d to (\d+):\d\d|opens at (\d+):\d\d and closes at (\d+):")
    hours = [
        [int(h) for h in m.groups() if h] for d in documents["almanac"] for m in pattern.finditer(d)
    ]
    assert len(hours) > 50
    assert all(opens < closes for opens, closes in hours)


def test_chat_lines_are_those_of_the_byte_tokenizer():
    from auditor.models.byte_tokenizer import byte_tokenizer

    chats = [d for d in generate_corpus("stories", seed=3, documents=400) if d.startswith("user: ")]
    question, answer = re.fullmatch(r"user: (.*)\nassistant: (.*)", chats[0]).groups()
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    written = byte_tokenizer().apply_chat_template(turns, tokenize=False)
    # In training a document stands between a start and an end token.
    assert written == f"<|bos|>{chats[0]}<|eos|>\n"


@pytest.mark.parametrize("bank", [STORIES, ALMANAC])
def test_no_word_list_repeats_an_entry_or_starts_with_a_silent_h(bank):
    for slot, entries in bank.items():
        assert len(set(entries)) == len(entries), slot
        assert all(entries), slot
        # with_articles goes by the letter; the entries of these two slots follow no article.
        if slot not in ("time", "lesson"):
            assert not [e for e in entries if re.match(r"honest|hour|heir|uni|eu|one ", e)], slot


def test_every_frame_of_every_plot_can_be_told():
    from auditor.distill.corpus_stories import cast_scene

    scene = cast_scene(Draw(1))
    frames = [frame for plot in PLOTS for _, frames in beats(plot) for frame in frames]
    assert len(frames) > 150
    assert all(re.fullmatch(r"[^{}]+[.!?][\"]?", scene.write(frame)) for frame in frames)


def test_a_fixed_slot_keeps_its_value_and_a_capital_slot_is_the_same_slot():
    scene = Scene(Draw(0), {"food": ("bread", "jam")}, {"elder": "the miller"})
    assert scene.write("{Elder} met {elder}.") == "The miller met the miller."
    assert scene.write("{food}") in {"bread", "jam"}


def test_a_misspelt_slot_is_an_error_not_an_empty_word():
    scene = Scene(Draw(0), {}, {})
    with pytest.raises(KeyError):
        scene.write("{hreo} smiled.")


def test_articles_follow_the_next_letter():
    assert with_articles("A owl saw a fox and a old hat.") == "An owl saw a fox and an old hat."
    assert with_articles("Anna has a arm.") == "Anna has an arm."


def test_draws_are_without_replacement_and_cover_the_range():
    draw = Draw(4)
    assert sorted(draw.picks("abcd", 4)) == list("abcd")
    assert {draw.between(2, 4) for _ in range(100)} == {2, 3, 4}


@pytest.mark.parametrize(
    ("name", "seed", "count"),
    [("poems", 0, 1), ("stories", -1, 1), ("stories", 2**32, 1), ("stories", 0, -1)],
)
def test_a_wrong_request_is_refused_before_any_text(name, seed, count):
    with pytest.raises(RecipeError) as error:
        generate_corpus(name, seed=seed, documents=count)
    assert error.value.hint
