import pytest

from auditor.collect.suite import list_suites, load_suite
from auditor.distill.filter_choices import DecontaminateChoice
from auditor.distill.filter_decontaminate import (
    decontaminate_reasons,
    probe_words,
    suite_digests,
)
from auditor.distill.filter_items import Item
from auditor.distill.filter_words import words
from auditor.errors import SuiteError
from auditor.types import Message, Probe, ProbeSuite

LONG = tuple(f"w{number}" for number in range(15))


def suite(*texts: str) -> ProbeSuite:
    probes = tuple(
        Probe(id=str(n), category="c", messages=(Message(role="user", content=text),))
        for n, text in enumerate(texts)
    )
    return ProbeSuite(name="s", version=2, title="", licence="CC0-1.0", digest="", probes=probes)


def test_thirteen_common_words_in_a_row_are_found_and_twelve_are_not():
    found = probe_words([suite(" ".join(LONG))], ngram=13, shortest=8)
    assert found.suite_of(("x", *LONG[:13], "y")) == "s@2"
    assert found.suite_of(("x", *LONG[2:], "y")) == "s@2"
    assert found.suite_of(("x", *LONG[:12], "y")) is None
    assert found.suite_of((*LONG[:6], "x", *LONG[6:])) is None


def test_probe_between_the_bounds_counts_with_all_its_words():
    found = probe_words([suite(" ".join(LONG[:9]))], ngram=13, shortest=8)
    assert found.suite_of(("x", *LONG[:9], "y")) == "s@2"
    assert found.suite_of(("x", *LONG[:8], "y")) is None


def test_short_probe_matches_a_whole_text_only():
    found = probe_words([suite("What is old?", "!")], ngram=13, shortest=8)
    assert found.suite_of(words("what is OLD")) == "s@2"
    assert found.suite_of(words("Say what is old")) is None
    assert found.suite_of(()) is None  # the probe "!" has no words


def test_every_turn_and_every_text_to_continue_counts():
    turns = (
        Message(role="system", content=" ".join(LONG)),
        Message(role="user", content="Go on."),
    )
    probes = (
        Probe(id="a", category="c", messages=turns),
        Probe(id="b", category="c", text=" ".join(reversed(LONG))),
    )
    made = ProbeSuite(name="t", version=1, title="", licence="", digest="", probes=probes)
    found = probe_words([made], ngram=13, shortest=8)
    assert found.suite_of(LONG) == found.suite_of(LONG[::-1]) == "t@1"
    assert found.suite_of(("go", "on")) == "t@1"


def test_every_probe_of_every_shipped_suite_is_recognised_by_default():
    choice = DecontaminateChoice(kind="decontaminate")
    texts = [
        probe.text or probe.messages[-1].content for made in list_suites() for probe in made.probes
    ]
    found = decontaminate_reasons(choice, [Item(text=text) for text in texts])
    missed = [text for text, why in zip(texts, found, strict=True) if why is None and words(text)]
    assert len(texts) > 1000
    assert missed == []
    plain = "The wall behind our house was built by my grandfather from stones of the river."
    assert decontaminate_reasons(choice, [Item(text=plain)]) == [None]


def test_only_the_named_suites_are_looked_for():
    reasoning = DecontaminateChoice(kind="decontaminate", suites=["reasoning@1"])
    probe = load_suite("instructions@1").probes[0]
    text = probe.text or probe.messages[-1].content
    everything = DecontaminateChoice(kind="decontaminate")
    assert decontaminate_reasons(everything, [Item(text=text)]) == ["suite instructions@1"]
    assert decontaminate_reasons(reasoning, [Item(text=text)]) == [None]
    assert suite_digests(reasoning) == {"reasoning@1": load_suite("reasoning@1").digest}


def test_suite_that_does_not_exist_is_refused():
    with pytest.raises(SuiteError, match="nowhere") as caught:
        decontaminate_reasons(
            DecontaminateChoice(kind="decontaminate", suites=["nowhere"]), [Item(text="a")]
        )
    assert caught.value.hint is not None
