"""The table of readings and claims, worked by hand: what contradicts what."""

import pytest

from auditor.registry.card import Card
from auditor.registry.claim import Claim
from auditor.registry.claims import held_against, names_of

REFERENCE = "hf:org/base@" + "a" * 40


def finding(reading, *, spec=REFERENCE, weights=True, dose=None, digest=None):
    rows = [
        {"measure": "neuron-matching@1", "value": -3.0 if weights else None},
        {"measure": "text-chrf@1", "value": 0.5},
    ]
    return {
        "reference": {"spec": spec, "digest": digest},
        "suspect": {"spec": "local:/m", "digest": None},
        "measurements": rows,
        "conclusion": {
            "reading": reading,
            "basis": "the basis",
            "power": None if dose is None else {"dose": dose},
        },
    }


def outcome(claim, *findings, aliases=()):
    card = Card(claims=(claim,), problems=())
    (found,) = [o for o in held_against(card, findings, aliases) if o.claim is claim]
    return found


def claim(kind, target="org/base", **more):
    return Claim(kind=kind, quote="q", source="README.md, text", target=target, **more)


DERIVED = claim("base_model", relation="finetune")
QUANTISED = claim("quantised_from", relation="quantized")
TEACHER = claim("teachers")
SCRATCH = claim("from_scratch", None)


@pytest.mark.parametrize(
    ("made", "reading", "status"),
    [
        (DERIVED, "replication", "consistent"),
        (DERIVED, "imitation", "unverified"),
        (DERIVED, "no-link", "contradicted"),
        (DERIVED, "inconclusive", "unverified"),
        (QUANTISED, "replication", "consistent"),
        (QUANTISED, "imitation", "contradicted"),
        (QUANTISED, "no-link", "contradicted"),
        (QUANTISED, "inconclusive", "unverified"),
        (TEACHER, "replication", "unverified"),
        (TEACHER, "imitation", "consistent"),
        (TEACHER, "no-link", "unverified"),
        (TEACHER, "inconclusive", "unverified"),
        (SCRATCH, "replication", "contradicted"),
        (SCRATCH, "imitation", "unverified"),
        (SCRATCH, "no-link", "consistent"),
        (SCRATCH, "inconclusive", "unverified"),
    ],
)
def test_what_each_reading_says_of_each_claim(made, reading, status):
    assert outcome(made, finding(reading)).status == status


@pytest.mark.parametrize("made", [DERIVED, QUANTISED])
@pytest.mark.parametrize("reading", ["no-link", "imitation"])
def test_without_weights_nothing_contradicts_a_derivation(made, reading):
    assert outcome(made, finding(reading, weights=False)).status == "unverified"


def test_without_weights_no_link_does_not_confirm_from_scratch():
    assert outcome(SCRATCH, finding("no-link", weights=False)).status == "unverified"


@pytest.mark.parametrize(
    ("declared", "seen", "status"),
    [
        (0.5, 0.35, "contradicted"),
        (0.35, 0.35, "contradicted"),
        (0.2, 0.35, "unverified"),
        (None, 0.35, "unverified"),
        (0.5, None, "unverified"),
    ],
)
def test_a_missing_trace_contradicts_a_dose_that_would_have_been_seen(declared, seen, status):
    made = claim("teachers", dose=declared)
    assert outcome(made, finding("no-link", dose=seen)).status == status


def test_data_sets_are_never_decided():
    assert outcome(claim("datasets"), finding("replication")).status == "unverified"


def test_a_claim_on_another_model_is_not_judged_by_this_finding():
    for reading in ("replication", "imitation", "no-link"):
        found = outcome(claim("base_model", "org/other"), finding(reading))
        assert found.status == "unverified"
        assert "org/other" in found.reason


def test_a_link_that_the_card_does_not_name_is_told():
    card = Card(claims=(claim("base_model", "org/other"),), problems=())
    for reading, expected in (("replication", 1), ("imitation", 1), ("no-link", 0)):
        hidden = [o for o in held_against(card, [finding(reading)]) if o.kind == "undeclared_link"]
        assert len(hidden) == expected
        assert all(one.status == "no claim" and one.reference == REFERENCE for one in hidden)
    named = Card(claims=(TEACHER,), problems=())
    kinds = {o.kind for o in held_against(named, [finding("replication")])}
    assert "undeclared_link" not in kinds


def test_kinds_that_are_not_claimed_say_so():
    found = held_against(Card(claims=(), problems=()), [finding("no-link")])
    assert [one.status for one in found] == ["no claim"] * 5


def test_of_several_findings_the_gravest_stands():
    other = finding("replication", spec="local:/org/base")
    assert outcome(DERIVED, finding("no-link"), other).status == "contradicted"
    assert outcome(DERIVED, finding("inconclusive"), other).status == "consistent"


def test_a_digest_decides_over_a_name():
    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    made = claim("teachers", "tiny:x", digest=one)
    assert outcome(made, finding("imitation", spec="local:/y", digest=one)).status == "consistent"
    assert outcome(made, finding("imitation", spec="tiny:x", digest=other)).status == "unverified"


def test_an_alias_stands_for_the_reference():
    local = finding("replication", spec="local:/models/checkpoint-7")
    assert outcome(DERIVED, local).status == "unverified"
    assert outcome(DERIVED, local, aliases=("org/base",)).status == "consistent"


@pytest.mark.parametrize(
    ("spec", "names", "strangers"),
    [
        ("hf:org/base@main", ["org/base"], ["base", "else/base"]),
        ("local:/x/org/base", ["org/base", "base"], ["x/base"]),
        ("gguf:/x/base.Q4.gguf", ["base.Q4"], ["base"]),
        ("tiny:zoo/reference-00", ["tiny:zoo/reference-00", "reference-00"], ["zoo"]),
        ("smollm2", ["smollm2"], []),
        ("openai:m?base_url=http://h/v1", ["m"], ["v1"]),
    ],
)
def test_names_of_a_specifier(spec, names, strangers):
    found = names_of(spec)
    assert set(names) <= found
    assert not set(strangers) & found
