"""Numbers and sentences: readable, and never more than the reading allows."""

import pytest

from auditor.report import words

PLAIN = {
    "reading": "inconclusive",
    "via": None,
    "basis": "uncontrolled similarity",
    "log10_lr": None,
    "cap": None,
    "interval": None,
    "verbal": None,
    "limits": [],
}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.41273, "0.4127"),
        (-0.5, "\u22120.5"),
        (12345.6, "12,346"),
        (1234.4, "1,234"),
        (0.00001234, "1.234 \u00d7 10⁻⁵"),
        (-2.5e-7, "\u22122.5 \u00d7 10⁻⁷"),
        (3e9, "3 \u00d7 10⁹"),
        (1.0, "1"),
        (0.0001, "0.0001"),
    ],
)
def test_number_has_four_significant_digits(value, shown):
    assert words.number(value) == shown


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        # three digits of the larger end give three decimals, and the smaller end has as many
        (0.39, 0.4987, "0.390 to 0.499"),
        (-0.31, 1.239, "\u22120.31 to 1.24"),
        (12.0, 345.6, "12 to 346"),
        # 0.00001 in three decimals would be shown as 0.000
        (0.00001, 0.5, "1 \u00d7 10⁻⁵ to 0.5"),
        (0.0, 0.25, "0 to 0.25"),
    ],
)
def test_interval_has_the_same_decimals_at_both_ends(low, high, shown):
    assert words.interval(low, high) == shown


def test_reading_without_controls_claims_nothing():
    said = words.reading_sentence(PLAIN, "S", "T")
    assert said == (
        "The similarity of S to T was measured, but no control model shows how similar "
        "unrelated models are, so nothing can be concluded from it."
    )


def test_screening_says_that_it_is_no_evidence():
    basis = "screening: closer to the reference than all 5 control families on 7 of 8 measures"
    assert words.reading_sentence({**PLAIN, "basis": basis}, "S", "T") == (
        "S is closer to T than all 5 control families on 7 of 8 measures. "
        "That is a screening, not evidence of a link."
    )


def test_likelihood_ratio_is_told_of_findings_and_never_of_hypotheses():
    # the reading's own pair in the words of the conclusion; 10**1.5 = 31.6, in two digits 32
    found = {
        **PLAIN,
        "reading": "imitation",
        "log10_lr": {
            "imitation:independent": 1.7,
            "replication:imitation": -1.0,
            "replication:independent": 1.5,
        },
        "verbal": "the findings are about 50 times more probable if so: moderate support",
    }
    assert words.ratio_sentences(found, "S", "T") == [
        "The findings are about 50 times more probable if so: moderate support.",
        "The findings are 10 times less probable if S copies T than if it only imitated it.",
        "The findings are 32 times more probable if S copies T than if it is independent of it.",
    ]


@pytest.mark.parametrize("reading", ["replication", "imitation", "no-link", "inconclusive"])
def test_every_reading_says_what_it_does_not_say(reading):
    conclusion = {**PLAIN, "reading": reading, "basis": "test"}
    not_said = words.not_said(conclusion, "S", "T")
    assert len(not_said) == 3
    assert all(sentence.startswith("It ") for sentence in not_said)
    assert "probability that" not in words.reading_sentence(conclusion, "S", "T")


def test_command_that_adds_controls_is_quoted_for_a_shell():
    assert words.what_to_add("local:/a b", "tiny:teacher; rm x").splitlines() == [
        "auditor compare 'local:/a b' 'tiny:teacher; rm x' \\",
        "  --control SPEC --control SPEC",
    ]
