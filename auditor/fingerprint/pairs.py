"""Two fingerprints as a pair: the argument of every measure, with what projections can estimate.

A field that they cannot give is missing with its reason, as everywhere: missing is not zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count

import numpy as np

from auditor.fingerprint.file import Fingerprint
from auditor.fingerprint.plan import GROUPS
from auditor.fingerprint.weights import merge_rows, rederivation_rows
from auditor.kernels.sketches import hellinger2, jensen_shannon
from auditor.outputs import OutputSet, Pair
from auditor.panel import NULL_ROLES, Control
from auditor.types import Access, Array, ModelRef, Probe, Role

SKETCHED = np.dtype(
    [
        ("probe", "<i4"),
        ("token", "<i4"),  # the byte where the position lies: no token id is exchanged
        ("js", "<f8"),
        ("hellinger2", "<f8"),
        ("argmax_a", "<i4"),  # bucket of the likeliest token
        ("argmax_b", "<i4"),
        ("logp_a", "<f8"),
        ("logp_b", "<f8"),
    ]
)
"""The columns of `auditor.outputs.POSITION` that two fingerprints give."""

_NO_TEXT = "no text leaves a party of a fingerprint exchange"
_DIVERGENCE = (
    "not estimated from fingerprints: it is no distance that a random projection keeps; "
    "logit-js and logit-hellinger are"
)
_ORDER = "not estimated from fingerprints: the order of the tokens is not kept"
_WHY = {
    "texts": _NO_TEXT,
    "embeddings": _NO_TEXT,
    "crossing": f"{_NO_TEXT}, and no model scores another's",
    "topk": "fingerprints hold no token's probability but that of the probes' own words",
    "neurons": "fingerprints hold no activations of neurons: nearly as many numbers as weights",
    "span": "a sketch that keeps the space of an unembedding has as many numbers as gives it away",
    "weight_cka": "fingerprints hold no matrix over the residual dimensions",
    "transcripts": "fingerprints hold no log-probabilities of a committed training order",
    **dict.fromkeys(("positions.kl_ab", "positions.kl_ba", "positions.tv"), _DIVERGENCE),
    **dict.fromkeys(("positions.rank_argmax_a_in_b", "positions.topk_overlap"), _ORDER),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Member:
    """A fingerprint with its part in a comparison."""

    label: str
    """Unique among the members."""
    role: Role
    file: Fingerprint
    kin: str | None = None
    """Family that it shares with other members; None: one of its own."""

    @property
    def family(self) -> str:
        """The family that it belongs to."""
        return self.kin or self.label


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """A reference, and all that are compared with it."""

    reference: Member
    others: tuple[Member, ...]
    """Suspect and controls."""
    probes: tuple[Probe, ...]
    _kept: dict[str, Array | None] = field(default_factory=dict, init=False, repr=False)
    """Positions with all projections, by label: every pair has all controls in its pool."""

    def pair(self, label: str) -> Pair:
        """Return the reference and one other, with all that fingerprints say.

        The pool holds the controls without a link to the reference, but neither the other itself
        nor its family.
        """
        other = self._other(label)
        pool = [m for m in self.others if m.role in NULL_ROLES and not _same(m, other)]
        merged, parents = merge_rows(self.reference, other, self.others)
        equal = rederivation_rows(self.reference, other)
        why = {**_WHY, **_lacking(self.reference, other)}
        if isinstance(merged, str):
            why["merge"] = merged
        if isinstance(equal, str):
            why["rederivation"] = equal
        return replace(
            self.sketched(label),
            why=why,
            pool=tuple(self._control(member) for member in pool),
            merge=None if isinstance(merged, str) else merged,
            rederivation=None if isinstance(equal, str) else equal,
            parents=parents,
        )

    def sketched(self, label: str, without: int | None = None) -> Pair:
        """Return what rests on projections alone, without one of GROUPS parts of them."""
        other = self._other(label)
        return Pair(
            reference=self._outputs(self.reference, without),
            suspect=self._outputs(other, without),
            positions=self._whole(other) if without is None else self._positions(other, without),
        )

    def _other(self, label: str) -> Member:
        return next(member for member in self.others if member.label == label)

    def _control(self, member: Member) -> Control:
        return Control(
            name=member.label,
            role=member.role,
            family=member.family,
            architecture=member.file.subject["architecture"],
            positions=self._whole(member),
        )

    def _whole(self, other: Member) -> Array | None:
        if other.label not in self._kept:
            self._kept[other.label] = self._positions(other, None)
        return self._kept[other.label]

    def _outputs(self, member: Member, without: int | None) -> OutputSet:
        hidden = member.file.arrays["hidden"]
        kept = kept_columns(hidden.shape[1], without)
        subject = member.file.subject
        return OutputSet(
            subject=member.label,
            model=ModelRef(
                spec=f"fingerprint:{member.label}",
                access=Access.TOPK,
                digest=subject["digest"],
                tokenizer_digest=subject["tokenizer_digest"],
                architecture=subject["architecture"],
            ),
            probes=self.probes,
            hidden=hidden[:, kept],
        )

    def _positions(self, other: Member, without: int | None) -> Array | None:
        if not same_tokenizer(self.reference, other):
            return None
        a, b = self.reference.file.arrays, other.file.arrays
        kept = kept_columns(a["hellinger"].shape[1], without)
        rows = np.zeros(len(a["probe"]), dtype=SKETCHED)
        rows["probe"], rows["token"] = a["probe"], a["byte_end"]
        rows["js"] = jensen_shannon(a["js"][:, :, kept], b["js"][:, :, kept])
        rows["hellinger2"] = hellinger2(a["hellinger"][:, kept], b["hellinger"][:, kept])
        for side, arrays in (("a", a), ("b", b)):
            rows[f"argmax_{side}"], rows[f"logp_{side}"] = arrays["top1"], arrays["logp"]
        return rows

    @cached_property
    def controls(self) -> tuple[Member, ...]:
        """All others but the suspect."""
        return tuple(member for member in self.others if member.role != "suspect")

    @cached_property
    def suspect(self) -> Member:
        """The one in question."""
        return next(member for member in self.others if member.role == "suspect")


def kept_columns(total: int, without: int | None) -> Array:
    """Return the projections that are used: all, or those outside of one of GROUPS parts.

    Parts are runs of neighbours, in each of which every frequency comes as often.
    """
    columns = np.arange(total)
    return columns if without is None else columns[columns * GROUPS // total != without]


def same_tokenizer(a: Member, b: Member) -> bool:
    """Whether the positions of two fingerprints are the same and their token ids mean the same."""
    ours, theirs = a.file, b.file
    digest = ours.subject["tokenizer_digest"]
    return (
        digest is not None
        and digest == theirs.subject["tokenizer_digest"]
        and ours.subject["vocabulary"] == theirs.subject["vocabulary"]
        and all(np.array_equal(ours.arrays[n], theirs.arrays[n]) for n in ("probe", "byte_end"))
    )


def _same(a: Member, b: Member) -> bool:
    own = a.file.subject["digest"]
    return a.family == b.family or (own is not None and own == b.file.subject["digest"])


def _lacking(a: Member, b: Member) -> dict[str, str]:
    if same_tokenizer(a, b):
        return {}
    counts = [f"{m.file.subject['vocabulary']} token ids of {m.label}" for m in (a, b)]
    return {
        "positions": f"different vocabularies: {counts[0]}, {counts[1]}; the hidden states of the "
        "same words are compared"
    }


def labelled(files: Sequence[tuple[Role, Fingerprint]]) -> tuple[Member, ...]:
    """Return members whose labels are the names that the makers gave, numbered where shared.

    No label is another's, whatever the names: a control must not be hidden by who takes its label.
    """
    names = [file.name for _, file in files]
    taken = set(names)
    members = []
    for place, (role, file) in enumerate(files, start=1):
        label = file.name
        if names.count(label) > 1:
            numbered = (f"{file.name}-{number}" for number in count(place))
            label = next(one for one in numbered if one not in taken)
            taken.add(label)
        members.append(Member(label=label, role=role, file=file))
    return tuple(members)
