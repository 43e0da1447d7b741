"""From findings to a reading: the ordered rules, version 3.

The order and the thresholds are fixed here, written into every plan before a suspect is looked
at, and versioned. The first rule that applies gives the reading.

1. `replication` where the suspect's tensors are recomputed from the reference bit for bit.
2. `replication` where neuron matching, adjusted for the number of suspects, is beyond chance and
   at least `neurons_agreed` of a layer match; its null holds without controls. Not where an
   unlinked control matches as well: then the reference has an ancestor in common with the
   control, and weights cannot say who copied whom.
3. `inconclusive` without controls, and with fewer than `fewest_families` families of them.
4. `inconclusive` where the controls do not cover the suspect's architecture: architecture alone
   moves the likelihood ratio (z +3 to +3.5 was measured without such controls).
5. `imitation` where one of two decisive tests puts the suspect beyond every control and has a
   predictive p, adjusted for both tests and all suspects, under `imitation_alpha`: do its own
   samples favour the reference (the control-adjusted likelihood ratio), does it agree with the
   reference where the reference is unlike the controls (idiosyncratic agreement). Where both are
   defined, the other must not contradict it: its predictive p is at most `supporting_p`, or the
   reading is `inconclusive`. Of 94 unlinked models whose scores were at hand when the rules were
   fixed, one test alone accused two, both with the other test in the midst of the controls.
   Where weights could have been copied and neuron matching could not be computed, behaviour
   cannot tell the two apart: `inconclusive` between them.
6. `no-link` where nothing is found, the predictive p of each defined test is over `no_link_p`, and
   it is stated which dose of imitation would have been seen.
7. `inconclusive` otherwise.

Raw similarity alone decides nothing.
"""

from collections.abc import Callable
from typing import Any

from auditor.judge.findings import Decisive, Evidence
from auditor.types import Conclusion

_ALWAYS = (
    "Similar outputs can have innocent causes: shared public data, a shared base model, "
    "a shared teacher, the same tokenizer or style norms.",
    "Similarity has no direction: these findings cannot tell who learned from whom.",
)
_ADD = (
    "Add control models that are known to be independent of the reference, of similar size, "
    "data and date (--control SPEC): at least {fewest} families, {alike} of them of the suspect's "
    "architecture, a student of another teacher among them."
)
_ANCESTOR = (
    "Weights that match say common ancestry: the suspect may derive from the reference, the "
    "reference from the suspect, or both from a third model."
)


def conclude(evidence: Evidence) -> Conclusion:
    """Return the reading for one suspect by the first rule that applies."""
    for rule in _ORDER:
        found = rule(evidence)
        if found is not None:
            return found
    return _undecided(evidence)


def _rederived(evidence: Evidence) -> Conclusion | None:
    if evidence.rederived is None:
        return None
    transform, share = evidence.rederived
    if share < evidence.thresholds.rederived_share:
        return None
    return Conclusion(
        reading="replication",
        basis=f"re-derived: {share:.1%} of the tested weights are the reference's, bit for bit, "
        f"after {transform}",
        limits=(_ANCESTOR, _ALWAYS[1]),
    )


def _replicated(evidence: Evidence) -> Conclusion | None:
    p, alpha = evidence.neuron_p, evidence.thresholds.replication_alpha
    if p is None or p >= alpha:
        return None
    if evidence.agreed is None or evidence.agreed < evidence.thresholds.neurons_agreed:
        share = "an unknown share" if evidence.agreed is None else f"{evidence.agreed:.0%}"
        return Conclusion(
            reading="inconclusive",
            basis=f"the neurons match beyond chance (p {_p(p)}), but {share} of a layer at most: "
            "independent models, too, learn some neurons alike",
            cap="too few neurons in common for a copy",
            limits=(_ANCESTOR, *_ALWAYS),
        )
    if evidence.ancestor is not None:
        return Conclusion(
            reading="inconclusive",
            basis=f"common ancestry: the neurons match (p {_p(p)}), but so do those of the control "
            f"{evidence.ancestor}, which is said to have no link",
            cap="weights shared with a control",
            limits=(_ANCESTOR, f"Is {evidence.ancestor} an ancestor of the reference?", *_ALWAYS),
        )
    return Conclusion(
        reading="replication",
        basis=f"neuron matching: p {_p(p)} after correction for the number of suspects, where "
        "independently trained models give a uniform p",
        limits=(_ANCESTOR, _ALWAYS[1]),
    )


def _uncontrolled(evidence: Evidence) -> Conclusion | None:
    fewest = evidence.thresholds.fewest_families
    if evidence.families == 0:
        return Conclusion(
            reading="inconclusive",
            basis="uncontrolled similarity",
            cap="no verdict without controls",
            limits=("Without controls there is no verdict. " + _advice(evidence), *_ALWAYS),
        )
    if evidence.families < fewest:
        return Conclusion(
            reading="inconclusive",
            basis=_rank_statement(evidence),
            cap=f"fewer than {fewest} control families",
            limits=(_advice(evidence), *_floor(evidence), *_ALWAYS),
        )
    return None


def _uncovered(evidence: Evidence) -> Conclusion | None:
    if evidence.alike >= evidence.thresholds.fewest_alike:
        return None
    kind = evidence.architecture or "an architecture that cannot be observed"
    return Conclusion(
        reading="inconclusive",
        basis=_rank_statement(evidence),
        cap=f"the controls do not cover {kind}",
        limits=(
            f"Only {evidence.alike} of {evidence.families} control families cover {kind}: "
            "architecture alone moves these statistics. " + _advice(evidence),
            *_ALWAYS,
        ),
    )


def _imitated(evidence: Evidence) -> Conclusion | None:
    alpha = evidence.thresholds.imitation_alpha
    found = [test for test in evidence.imitation if test.beyond_all and _p_of(test) < alpha]
    if not found:
        return None
    strongest = min(found, key=_p_of)
    place = strongest.place
    basis = (
        f"{_FOUND[strongest.name]} beyond all {place.families} control families "
        f"(z {place.z:.1f}, predictive p {_p(_p_of(strongest))} after correction)"
    )
    limits = (*_floor(evidence), *_ALWAYS)
    against = [test for test in evidence.imitation if _contradicts(test, evidence)]
    if against:
        return Conclusion(
            reading="inconclusive",
            basis=f"the decisive tests disagree: {basis}, but by {_listed(tuple(against))} it is "
            "inside them",
            cap="one decisive test without the other",
            limits=limits,
        )
    if evidence.neuron_p is None and evidence.copy_excluded is None:
        return Conclusion(
            reading="inconclusive",
            basis=f"imitation or replication: {basis}",
            cap="weights not comparable: behaviour alone cannot tell imitation from replication",
            limits=("Compare at weights access to tell the two apart.", *limits),
        )
    via = _via(evidence)
    return Conclusion(
        reading="imitation",
        via=via,
        basis=basis,
        cap=f"rank among {place.families} control families",
        limits=(*_via_limit(via), *limits),
    )


_FOUND = {
    "sample-llr": "the suspect's own samples favour the reference",
    "idiosyncratic-agreement": "where the reference is unlike the controls, the suspect agrees "
    "with it",
}


def _p_of(test: Decisive) -> float:
    return 1.0 if test.p is None else test.p


def _contradicts(test: Decisive, evidence: Evidence) -> bool:
    p = test.place.predictive_p
    return p is not None and p > evidence.thresholds.supporting_p


def _via(evidence: Evidence) -> Any:
    """Return how the outputs were learned, where the unembedding can tell."""
    excess, thresholds = evidence.span_excess, evidence.thresholds
    if excess is None:
        return None
    if excess >= thresholds.logits_excess:
        return "logits"
    return "text" if excess <= thresholds.text_excess else None


def _via_limit(via: str | None) -> tuple[str, ...]:
    if via is None:
        return ("Whether logits or text were learned cannot be told from the unembedding.",)
    if via == "logits":
        return ("The unembedding spans what only training on logits was seen to give.",)
    return ("The unembedding shows no trace of training on logits; a small dose leaves none.",)


def _no_link(evidence: Evidence) -> Conclusion | None:
    dose, tests = evidence.seen_dose, evidence.imitation
    if not tests or dose is None:
        return None
    p = [test.place.predictive_p for test in tests]
    if any(value is None or value < evidence.thresholds.no_link_p for value in p):
        return None
    if evidence.neuron_p is None and evidence.copy_excluded is None:
        return None
    power, place = evidence.thresholds.power, tests[0].place
    return Conclusion(
        reading="no-link",
        basis=f"inside the {place.families} control families by {_listed(tests)}; neurons do not "
        f"match; imitation of {dose:.0%} of the training or more would have been seen with power "
        f"{power:.0%}",
        cap=f"imitation below {dose:.0%} of the training cannot be excluded",
        limits=("No link found is not proof of independence.", *_ALWAYS),
    )


def _listed(tests: tuple[Decisive, ...]) -> str:
    return " and ".join(f"{test.name} (z {test.place.z:.1f})" for test in tests)


def _undecided(evidence: Evidence) -> Conclusion:
    limits = [*_floor(evidence)]
    if evidence.seen_dose is None:
        limits.append(
            "It is not known which dose of imitation would have been seen, so the absence of a "
            "finding says nothing: add imitation controls of known dose (auditor controls build)."
        )
    if not evidence.imitation:
        limits.append("Neither decisive test of imitation could be computed.")
    return Conclusion(
        reading="inconclusive",
        basis=_rank_statement(evidence),
        cap=f"rank among {evidence.families} control families",
        limits=(*limits, *_ALWAYS),
    )


def _rank_statement(evidence: Evidence) -> str:
    ranks = [s.rank_p for s in evidence.screening if s.rank_p is not None]
    floor = 1.0 / (evidence.families + 1)
    closest = sum(rank <= floor + 1e-12 for rank in ranks)
    count = evidence.families
    everyone = "the one control family" if count == 1 else f"all {count} control families"
    return (
        f"screening: closer to the reference than {everyone} on {closest} of {len(ranks)} measures"
    )


def _floor(evidence: Evidence) -> tuple[str, ...]:
    noun = "family" if evidence.families == 1 else "families"
    return (
        f"With {evidence.families} control {noun} no rank p-value can be below "
        f"1/{evidence.families + 1}.",
        "The measures share probes, so their ranks are not independent of each other.",
    )


def _advice(evidence: Evidence) -> str:
    limits = evidence.thresholds
    return _ADD.format(fewest=limits.fewest_families, alike=limits.fewest_alike)


def _p(value: float) -> str:
    if value < _SMALLEST_P:
        return "under 1e-300"
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"


_SMALLEST_P = 1e-300
"""Smaller p-values differ by rounding alone."""
_ORDER: tuple[Callable[[Evidence], Conclusion | None], ...] = (
    _rederived,
    _replicated,
    _uncontrolled,
    _uncovered,
    _imitated,
    _no_link,
)
