"""Samples of a redacted case: a withheld reply is never ranked, and is shown as withheld."""

from auditor.outputs import OutputSet, Pair
from auditor.report.samples import comparisons
from auditor.types import Access, ModelRef, Probe
from auditor.withheld import Withheld

MODEL = ModelRef(spec="tiny:x", access=Access.TEXT)
PROBES = tuple(Probe(id=f"p{i}", category="c", text="t") for i in range(6))


def pair(reference, suspect):
    sides = [
        OutputSet(subject=name, model=MODEL, probes=PROBES, texts=tuple((t,) for t in texts))
        for name, texts in (("reference", reference), ("suspect", suspect))
    ]
    return Pair(reference=sides[0], suspect=sides[1])


def test_a_withheld_reply_is_in_no_rank_and_shown_as_withheld():
    # Both withheld replies read "withheld": by their words they would be the closest of all.
    reference = ["withheld", "a b c d", "a b c d", "a b c d", "a b c d", "a b c d"]
    suspect = ["withheld", "a x y z", "a b y z", "x y z w", "a b c z", "a y z w"]
    hidden = (Withheld(), *suspect[1:])
    found = comparisons(pair((Withheld(), *reference[1:]), hidden), seed=0)
    by_reason = {reason: one for one in found for reason in one.reasons}
    # Shared words of p1..p5: 1, 2, 0, 3 and 1 of 4.
    assert by_reason["closest"].probe.id == "p4"
    assert by_reason["furthest"].probe.id == "p3"
    (withheld,) = [one for one in found if one.probe.id == "p0"]
    assert withheld.reasons == ("random",)
    assert withheld.similarity is None
    assert [span.kind for span in (*withheld.reference, *withheld.suspect)] == ["withheld"] * 2
    shown = comparisons(pair(reference, suspect), seed=0)
    assert {r: one for one in shown for r in one.reasons}["closest"].probe.id == "p0"


def test_where_all_is_withheld_only_the_drawn_are_shown():
    found = comparisons(pair([Withheld()] * 6, ["a"] * 6), seed=0)
    assert {reason for one in found for reason in one.reasons} == {"random"}
    assert [span.kind for one in found for span in one.suspect] == ["same"] * 3
