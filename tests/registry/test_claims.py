"""The table of readings and claims, worked by hand: what contradicts what."""

from dataclasses import replace

import pytest

from auditor.registry.card import NO_CARD, Card
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


def outcome(claim, *findings, beside=(), **more):
    card = Card(claims=(claim, *beside), problems=())
    (found,) = [o for o in held_against(card, findings, **more) if o.claim is claim]
    return found


def links(card, *findings, **more):
    return [o for o in held_against(card, findings, **more) if o.kind == "undeclared_link"]


def claim(kind, target="org/base", source="README.md, text", **more):
    return Claim(kind=kind, quote="q", source=source, target=target, **more)


DERIVED = claim("base_model", relation="finetune")
QUANTISED = claim("quantised_from", relation="quantized")
TEACHER = claim("teachers")
SCRATCH = claim("from_scratch", None)
NOTHING = Card(claims=(), problems=())


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
        (SCRATCH, "replication", "unverified"),
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


def test_weights_in_common_do_not_say_which_model_was_first():
    # The honest original, audited against a later copy of it, says the same truth as a thief's lie.
    found = outcome(SCRATCH, finding("replication"))
    for way in ("it from that model", "that model from it", "both from a third"):
        assert way in found.reason
    assert found.reference == REFERENCE
    for made in (SCRATCH, TEACHER):
        assert "derive from" not in outcome(made, finding("replication")).reason


def test_from_scratch_beside_a_named_base_says_that_the_card_names_it():
    for named in (DERIVED, QUANTISED, TEACHER):
        found = outcome(SCRATCH, finding("replication"), beside=(named,))
        assert found.status == "unverified"
        assert "which the same card names" in found.reason


@pytest.mark.parametrize("reading", ["replication", "no-link", "imitation", "inconclusive"])
def test_a_model_is_not_held_against_itself(reading):
    itself = finding(reading, spec="local:/m")
    for made in (SCRATCH, claim("base_model", "m"), QUANTISED):
        found = outcome(made, itself)
        assert (found.status, found.reference) == ("unverified", None)
        assert "the model with itself" in found.reason
    # Found by its digest: the audit was of an equal copy of it, against it.
    assert outcome(DERIVED, finding(reading), model=REFERENCE).status == "unverified"
    # Another reference beside itself is judged alone.
    assert outcome(SCRATCH, itself, finding("no-link")).status == "consistent"
    (link,) = links(NOTHING, itself)
    assert link.status == "unverified"


def test_a_claim_on_another_model_is_not_judged_by_this_finding():
    for reading in ("replication", "imitation", "no-link"):
        found = outcome(claim("base_model", "org/other"), finding(reading))
        assert found.status == "unverified"
        assert "org/other" in found.reason


def test_a_link_that_the_card_does_not_name_is_told():
    card = Card(claims=(claim("base_model", "org/other"),), problems=("there is no such thing",))
    silent = Card(claims=card.claims, problems=(NO_CARD,))
    for reading, expected in (
        ("replication", "no claim"),
        ("imitation", "no claim"),
        ("inconclusive", "unverified"),
    ):
        (found,) = links(silent, finding(reading))
        assert (found.status, found.reference) == (expected, REFERENCE)
        # The link may be named in the part that could not be read.
        assert links(card, finding(reading))[0].status == "unverified"
    assert links(silent, finding("no-link")) == []
    named = Card(claims=(TEACHER,), problems=())
    assert links(named, finding("replication"), finding("inconclusive")) == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("So we took org/base and went on.", "unverified"),
        ("See https://huggingface.co/Org/Base.", "unverified"),
        ("So we took org/base-2, not-org/base or the base.", "no claim"),
    ],
)
def test_a_model_that_the_text_mentions_is_not_called_hidden(text, status):
    card = Card(claims=(), problems=(), text=text)
    (found,) = links(card, finding("replication"))
    assert found.status == status


def test_an_alias_in_the_text_mentions_its_reference_too():
    card = Card(claims=(), problems=(), text="So we took org/base.")
    local = finding("imitation", spec="local:/models/checkpoint-7")
    assert links(card, local)[0].status == "no claim"
    assert links(card, local, aliases=[("org/base", "local:/models/checkpoint-7")])[0].status == (
        "unverified"
    )


def test_kinds_that_are_not_claimed_say_so():
    found = held_against(NOTHING, [finding("no-link")])
    assert [one.status for one in found] == ["no claim"] * 5


def test_findings_that_disagree_on_a_claim_contradict_nothing():
    # Two revisions of one base: the model derives from the one, and the card names both.
    other = finding("replication", spec="local:/org/base")
    found = outcome(DERIVED, finding("no-link"), other)
    assert found.status == "unverified"
    assert f"{REFERENCE}, local:/org/base" in found.reason
    assert outcome(DERIVED, finding("inconclusive"), other).status == "consistent"
    again = finding("inconclusive", spec="local:/org/base")
    assert outcome(DERIVED, finding("no-link"), again).status == "contradicted"


@pytest.mark.parametrize("made", [DERIVED, QUANTISED])
def test_a_sentence_that_may_be_of_another_model_contradicts_nothing(made):
    loose = replace(made, plain=False)
    found = outcome(loose, finding("no-link"))
    assert found.status == "unverified"
    assert "need not be said of the weights of this model" in found.reason
    assert outcome(loose, finding("replication")).status == "consistent"


def test_a_sentence_beside_a_declared_base_or_teacher_contradicts_nothing():
    for declared in (TEACHER, claim("base_model", source="README.md, front matter")):
        found = outcome(QUANTISED, finding("imitation"), beside=(declared,))
        assert found.status == "unverified"
        assert "the same card declares" in found.reason
    front = replace(QUANTISED, source="README.md, front matter")
    assert outcome(front, finding("imitation"), beside=(TEACHER,)).status == "contradicted"


def test_a_digest_decides_over_a_name():
    one, other = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    made = claim("teachers", "tiny:x", digest=one)
    assert outcome(made, finding("imitation", spec="local:/y", digest=one)).status == "consistent"
    assert outcome(made, finding("imitation", spec="tiny:x", digest=other)).status == "unverified"


def test_an_alias_stands_for_its_reference_alone():
    local = finding("replication", spec="local:/models/checkpoint-7")
    other = finding("no-link", spec="local:/models/other")
    aliases = [("org/base", "local:/models/checkpoint-7")]
    assert outcome(DERIVED, local).status == "unverified"
    assert outcome(DERIVED, local, aliases=aliases).status == "consistent"
    assert outcome(DERIVED, local, other, aliases=aliases).status == "consistent"
    assert outcome(DERIVED, other, aliases=aliases).status == "unverified"


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
