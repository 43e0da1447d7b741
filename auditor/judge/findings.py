"""What the rules of a reading look at, and the numbers that they hold it against."""

from dataclasses import asdict, dataclass, field
from typing import Any

from auditor.judge.null import Standing

RULES = "reading/3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The numbers of the rules; a change of one is a new version of them."""

    rederived_share: float = 0.5
    """Share of the tested weights that must be equal bit for bit."""
    replication_alpha: float = 1e-4
    """Of neuron matching, after Holm over suspects."""
    neurons_agreed: float = 0.2
    """Share of a layer's neurons whose two partners are one and the same, in the layer where it is
    largest. A p alone would do on narrow layers only: independent models learn some 2 % of their
    neurons alike, which on thousands of neurons is beyond chance and yet no copy."""
    fewest_families: int = 6
    """Of controls without a link, for any reading that rests on them."""
    fewest_alike: int = 2
    """Control families of the suspect's architecture."""
    imitation_alpha: float = 0.01
    """Of the predictive p (Student t, K - 1 degrees of freedom), after Holm over suspects."""
    supporting_p: float = 0.1
    """Largest predictive p, unadjusted, of the other decisive test where it is defined: a link
    moves both, chance or a quirk of the controls moves one."""
    logits_excess: float = 0.15
    """Overlap of the unembedding with the reference's beyond the closest control, as a share of
    what that control leaves, from which on logits were learned and not text alone."""
    text_excess: float = 0.03
    """The same, up to which text alone was learned. Between the two it cannot be told: full
    training on text and half training on logits leave the same trace."""
    no_link_p: float = 0.05
    """Smallest predictive p, unadjusted, that is no sign of imitation."""
    power: float = 0.9
    """Share of imitations of the stated dose that would have been seen."""

    def as_json(self) -> dict[str, Any]:
        """Return the rules' name and numbers, as written into plans and conclusions."""
        return {"rules": RULES, **asdict(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisive:
    """One of the two decisive tests of imitation on one suspect."""

    name: str
    """Of the measure: ``sample-llr`` or ``idiosyncratic-agreement``."""
    place: Standing
    """Among the control families of the suspect's architecture, where there are enough of them."""
    p: float | None
    """Predictive p, adjusted for both tests and all suspects."""
    closest_z: float | None = None
    """z of the control family closest to the reference."""

    @property
    def beyond_all(self) -> bool:
        """Whether the suspect is closer to the reference than every control family."""
        return self.place.rank_p is not None and self.place.rank_p <= self.place.floor + 1e-12


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
    agreed: float | None = None
    """Largest share, over layers, of neurons with one partner by both features; None: unknown."""
    ancestor: str | None = None
    """A control without a link that matches the reference's neurons all the same."""
    copy_excluded: str | None = None
    """Why the suspect's weights cannot be the reference's, although both are known."""
    imitation: tuple[Decisive, ...] = ()
    """The decisive tests of imitation that are defined."""
    neuron_score: float | None = None
    """-log10 of the raw p of neuron matching."""
    span: Standing | None = None
    """Of the overlap of the unembedding's spans."""
    span_excess: float | None = None
    """(overlap - that of the closest control family) / (1 - that); None without enough families
    of the suspect's architecture."""
    seen_dose: float | None = None
    """Smallest dose of imitation that would have been seen with the power asked for."""
    screening: tuple[Standing, ...] = ()
    """Of all other measures, for the rank statement."""
