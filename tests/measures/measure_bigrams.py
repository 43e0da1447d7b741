"""Language models whose likelihoods are exact: bigram tables around a common truth.

Every model is the truth as it was learnt from a finite text: Dirichlet draws around it. A student
with dose d learnt from a mixture of the teacher (share d) and its own world. Texts of no language
have their own table, on which models differ much more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditor.outputs import OutputSet, Pair
from auditor.panel import TEMPERATURES, Control, Crossing
from auditor.types import Access, Array, ModelRef, Probe

V, LENGTH = 12, 40
TEXT_SIZE, NOISE_SIZE = 60.0, 5.0
SMOOTHING = 1.0  # no transition is all but impossible: real models have no such cliffs
_INVERSE = 1.0 / np.array(TEMPERATURES)

Model = Array
"""(2, V, V) transition probabilities: of natural text, of noise."""


class World:
    """A truth and everybody who learns from it, reproducibly."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self.truth = np.stack([self._drawn(np.full((V, V), a)) for a in (0.4, 1.0)])

    def _drawn(self, alpha: Array) -> Array:
        rows = self.random.gamma(alpha) + 1e-9
        return rows / rows.sum(axis=-1, keepdims=True)

    def model(self, truth: Model | None = None, precision: float = 1.0) -> Model:
        """Return a model that learnt from `truth`, the common one by default."""
        natural, noise = self.truth if truth is None else truth
        return np.stack(
            [
                self._drawn(precision * TEXT_SIZE * natural + SMOOTHING),
                self._drawn(precision * NOISE_SIZE * noise + 0.3),
            ]
        )

    def student(self, teacher: Model, dose: float, own: Model | None = None) -> Model:
        """Return a model of which a share `dose` of the text came from the teacher."""
        own = self.model() if own is None else own
        return self.model((1 - dose) * own + dose * teacher, precision=2.0)

    def replies(self, model: Model, probes: Sequence[Probe], temperature: float = 1.0) -> Array:
        """Return (P, 1, V, V) transition counts of one reply to each probe."""
        strength = model ** (1 / temperature)
        ladder = np.cumsum(strength / strength.sum(axis=-1, keepdims=True), axis=-1)
        table = np.array([_table(probe) for probe in probes])
        counts = np.zeros((len(probes), 1, V, V))
        row, state = np.arange(len(probes)), np.arange(len(probes)) % V
        for _ in range(LENGTH):
            draw = self.random.random_sample((len(probes), 1))
            following = np.minimum((ladder[table, state] < draw).sum(axis=1), V - 1)
            counts[row, 0, state, following] += 1
            state = following
        return counts


def asked(natural: int, noise: int) -> tuple[Probe, ...]:
    """Return probes of natural text and of noise; every second natural one is a story."""
    return tuple(
        Probe(
            id=f"p{i}",
            category="noise" if i >= natural else ("story", "letter")[i % 2],
            text="x",
            language="zxx" if i >= natural else "en",
        )
        for i in range(natural + noise)
    )


def _table(probe: Probe) -> int:
    return int(probe.language == "zxx")


def likelihoods(model: Model, replies: Array, probes: Sequence[Probe]) -> Array:
    """Return (P, N, G) log-probabilities of replies, given as transition counts."""
    scaled = np.log(model)[..., None] * _INVERSE
    scaled -= np.log(np.exp(scaled).sum(axis=2, keepdims=True))
    return np.einsum("pnij,pijg->png", replies, scaled[[_table(probe) for probe in probes]])


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """A reference and its controls, whose replies are scored once."""

    world: World
    probes: tuple[Probe, ...]
    reference: Model
    controls: tuple[Model, ...]
    replies: tuple[Array, ...]
    scored: Array
    """(1 + K, K, P, N, G)."""

    @classmethod
    def of(
        cls, world: World, reference: Model, controls: Sequence[Model], probes: tuple[Probe, ...]
    ) -> "Panel":
        """Return the panel with one reply of each control to each probe."""
        replies = tuple(world.replies(model, probes) for model in controls)
        scored = np.array(
            [
                [likelihoods(scorer, said, probes) for said in replies]
                for scorer in (reference, *controls)
            ]
        )
        return cls(
            world=world,
            probes=probes,
            reference=reference,
            controls=tuple(controls),
            replies=replies,
            scored=scored,
        )

    def suspect(self, model: Model, temperature: float = 1.0) -> Pair:
        """Return the pair of the reference and a suspect that says something new."""
        said = self.world.replies(model, self.probes, temperature)
        return self._pair(said, list(range(len(self.controls))))

    def held_out(self, place: int) -> Pair:
        """Return a control as if it were the suspect, without it in the pool."""
        kept = [i for i in range(len(self.controls)) if i != place]
        return self._pair(self.replies[place], kept)

    def null(self, measure) -> Array:
        """Return (K,) values of the controls, each against the others."""
        return np.array([measure(self.held_out(i)) for i in range(len(self.controls))])

    def _pair(self, said: Array, kept: list[int]) -> Pair:
        scorers = [self.reference, *(self.controls[i] for i in kept)]
        own = np.array([likelihoods(model, said, self.probes) for model in scorers])
        unscored = np.full_like(own, np.nan)
        others = self.scored[np.ix_([0, *(i + 1 for i in kept)], kept)]
        names = tuple(f"control-{i}" for i in kept)
        crossing = Crossing(
            scorers=("reference", *names),
            authors=("suspect", "reference", *names),
            logprob=np.concatenate([own[:, None], unscored[:, None], others], axis=1),
            bytes=np.full((len(names) + 2, *said.shape[:2]), float(LENGTH)),
        )
        return crossed_pair(crossing, self.probes)


def crossed_pair(crossing: Crossing, probes: tuple[Probe, ...]) -> Pair:
    """Return a pair with a crossing and its pool, and nothing else."""
    reference, *names = crossing.scorers
    sides = [
        OutputSet(
            subject=name, model=ModelRef(spec=f"tiny:{name}", access=Access.TEXT), probes=probes
        )
        for name in (reference, crossing.authors[0])
    ]
    pool = tuple(Control(name=name, role="independent", family=name) for name in names)
    return Pair(reference=sides[0], suspect=sides[1], pool=pool, crossing=crossing)
