"""From findings to a reading: the ordered rules, version 2.

The order and the thresholds are fixed here, written into every plan before a suspect is looked
at, and versioned. The first rule that applies gives the reading.

1. `replication` where the suspect's tensors are recomputed from the reference bit for bit.
2. `replication` where neuron matching, adjusted for the number of suspects, is beyond chance; its
   null holds without controls. Not where an unlinked control matches as well: then the reference
   has an ancestor in common with the control, and weights cannot say who copied whom.
3. `inconclusive` without controls, and with fewer than `fewest_families` families of them.
4. `inconclusive` where the controls do not cover the suspect's architecture: architecture alone
   moves the likelihood ratio (z +3 to +3.5 was measured without such controls).
5. `imitation` where the suspect's own samples favour the reference beyond every control and with
   a predictive p, adjusted over suspects, under `imitation_alpha`. Where weights could have been
   copied and neuron matching could not be computed, behaviour cannot tell the two apart:
   `inconclusive` between them.
6. `no-link` where neither is found, the predictive p is over `no_link_p`, and it is stated which
   dose of imitation would have been seen.
7. `inconclusive` otherwise.

Raw similarity alone decides nothing.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from auditor.judge.null import Standing
from auditor.types import Conclusion

RULES = "reading/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The numbers of the rules; a change of one is a new version of them."""

    rederived_share: float = 0.5
    """Share of the tested weights that must be equal bit for bit."""
    replication_alpha: float = 1e-4
    """Of neuron matching, after Holm over suspects."""
    fewest_families: int = 6
    """Of controls without a link, for any reading that rests on them."""
    fewest_alike: int = 2
    """Control families of the suspect's architecture."""
    imitation_alpha: float = 0.01
    """Of the predictive p (Student t, K - 1 degrees of freedom), after Holm over suspects."""
    no_link_p: float = 0.05
    """Smallest predictive p, unadjusted, that is no sign of imitation."""
    power: float = 0.9
    """Share of imitations of the stated dose that would have been seen."""

    def as_json(self) -> dict[str, Any]:
        """Return the rules' name and numbers, as written into plans and conclusions."""
        return {"rules": RULES, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the rules look at, for one suspect."""

    thresholds: Thresholds = field(default_factory=Thresholds)
    families: int = 0
    """Control families without a link to the reference."""
    architecture: str | None = None
    """Of the suspect; None where it cannot be observed."""
    alike: int = 0
    """Control families of that architecture; where it is unknown, the families of the second
    most frequent architecture among the controls (so that two are covered)."""
    rederived: tuple[str, float] | None = None
    """Transform, and share of the tested weights that it gives bit for bit."""
    neuron_p: float | None = None
    """Of neuron matching, adjusted over suspects."""
    ancestor: str | None = None
    """A control without a link that matches the reference's neurons all the same."""
    copy_excluded: str | None = None
    """Why the suspect's weights cannot be the reference's, although both are known."""
    sample: Standing | None = None
    """Of the control-adjusted likelihood ratio of the suspect's own samples."""
    sample_p: float | None = None
    """Its predictive p, adjusted over suspects."""
    closest_z: float | None = None
    """z of the control family closest to the reference by that ratio."""
    neuron_score: float | None = None
    """-log10 of the raw p of neuron matching."""
    span: Standing | None = None
    """Of the overlap of the unembedding's spans."""
    seen_dose: float | None = None
    """Smallest dose of imitation that would have been seen with the power asked for."""
    screening: tuple[Standing, ...] = ()
    """Of all other measures, for the rank statement."""


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
    place, p = evidence.sample, evidence.sample_p
    if place is None or p is None or p >= evidence.thresholds.imitation_alpha:
        return None
    if place.rank_p is None or place.rank_p > place.floor + 1e-12:
        return None
    basis = (
        f"the suspect's own samples favour the reference beyond all {place.families} control "
        f"families (z {place.z:.1f}, predictive p {_p(p)} after correction)"
    )
    limits = (*_floor(evidence), *_ALWAYS)
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
        limits=(*_via_limit(evidence, via), *limits),
    )


def _via(evidence: Evidence) -> Any:
    """Return how the outputs were learned, where the unembedding can tell."""
    if evidence.span is None or evidence.span.predictive_p is None:
        return None
    beyond = (
        evidence.span.rank_p is not None and evidence.span.rank_p <= evidence.span.floor + 1e-12
    )
    alpha = evidence.thresholds.imitation_alpha
    return "logits" if beyond and evidence.span.predictive_p < alpha else "text"


def _via_limit(evidence: Evidence, via: str | None) -> tuple[str, ...]:
    if via is None:
        return ("The unembeddings are not comparable, so logits and text cannot be told apart.",)
    if via == "logits":
        return ("The unembedding spans what only training on logits was seen to give.",)
    return ("The unembedding shows no trace of training on logits; a small dose may leave none.",)


def _no_link(evidence: Evidence) -> Conclusion | None:
    place, dose = evidence.sample, evidence.seen_dose
    if place is None or place.predictive_p is None or dose is None:
        return None
    if place.predictive_p < evidence.thresholds.no_link_p:
        return None
    if evidence.neuron_p is None and evidence.copy_excluded is None:
        return None
    return Conclusion(
        reading="no-link",
        basis=f"inside the {place.families} control families (z {place.z:.1f}); neurons do not "
        f"match; imitation of {dose:.0%} of the training or more would have been seen with power "
        f"{evidence.thresholds.power:.0%}",
        cap=f"imitation below {dose:.0%} of the training cannot be excluded",
        limits=("No link found is not proof of independence.", *_ALWAYS),
    )


def _undecided(evidence: Evidence) -> Conclusion:
    limits = [*_floor(evidence)]
    if evidence.seen_dose is None:
        limits.append(
            "It is not known which dose of imitation would have been seen, so the absence of a "
            "finding says nothing: add imitation controls of known dose (auditor controls build)."
        )
    if evidence.sample is None:
        limits.append("The samples could not be scored by the reference and its controls.")
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
    return f"{value:.3f}" if value >= 1e-3 else f"{value:.0e}"


_ORDER: tuple[Callable[[Evidence], Conclusion | None], ...] = (
    _rederived,
    _replicated,
    _uncontrolled,
    _uncovered,
    _imitated,
    _no_link,
)
