"""The members of a pack: every model by name, with its seed, family, split and ancestry."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auditor.controls.recipe import Class, Group, PackRecipe

Split = Literal["calibration", "locked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model of a pack."""

    name: str
    """``<group>-<number>``, the number from 00."""
    group: Group
    number: int
    seed: int
    """Of its random weights, its order of training and its own documents."""
    family: str
    """Models that share weights share it; students share that of a sibling teacher."""
    split: Split
    shape: str
    steps: int
    start: str | None = None
    teacher: str | None = None
    partner: str | None = None

    @property
    def role(self) -> Class:
        """What the member is to the reference."""
        return self.group.role

    def as_json(self) -> dict[str, Any]:
        """Return what a score table says of a model, beside its scores."""
        group = self.group
        teaching = None if group.teaching is None else group.teaching.model_dump()
        transform = None if group.transform is None else group.transform.model_dump()
        return {
            "name": self.name,
            "group": group.name,
            "role": self.role,
            "family": self.family,
            "seed": self.seed,
            "split": self.split,
            "shape": self.shape,
            "text": group.text,
            "steps": self.steps,
            "start": self.start,
            "teacher": self.teacher,
            "teaching": teaching,
            "transform": transform,
            "partner": self.partner,
        }


def shipped_members(members: Sequence[Member]) -> tuple[Member, ...]:
    """Return the members that ship: of each group the first, those of the calibration half before.

    A locked one that ships serves as a control and counts in no error rate.
    """
    taken: Counter[str] = Counter()
    shipped = []
    for member in sorted(members, key=lambda member: member.split):
        if taken[member.group.name] < member.group.shipped:
            taken[member.group.name] += 1
            shipped.append(member)
    return tuple(shipped)


def split_of(seed: int) -> Split:
    """Return the half that a model belongs to: by the first bit of SHA-256 of its seed.

    So nobody can choose, after looking, what the error rates are counted on.
    """
    first = hashlib.sha256(str(seed).encode()).digest()[0]
    return "locked" if first & 1 else "calibration"


def members_of(recipe: PackRecipe) -> tuple[Member, ...]:
    """Return every model of a pack, each after those it depends on."""
    made: dict[str, list[Member]] = {}
    for group in recipe.groups:
        made[group.name] = [_member(recipe, group, number, made) for number in range(group.count)]
    return tuple(member for group in recipe.groups for member in made[group.name])


def _member(recipe: PackRecipe, group: Group, number: int, made: dict[str, list[Member]]) -> Member:
    name = f"{group.name}-{number:02d}"
    seed = member_seed(recipe, name)
    start = _of(made, group.start, number)
    teacher = _of(made, group.teaching.teachers if group.teaching else None, number)
    partner = _of(made, group.transform.partner if group.transform else None, number)
    steps = group.steps or (recipe.training.steps,)
    return Member(
        name=name,
        group=group,
        number=number,
        seed=seed,
        family=_family(name, group, start, teacher),
        split=split_of(seed),
        shape=group.shape or (start.shape if start else ""),
        steps=0 if group.transform else steps[number % len(steps)],
        start=start.name if start else None,
        teacher=teacher.name if teacher else None,
        partner=partner.name if partner else None,
    )


def _of(made: dict[str, list[Member]], group: str | None, number: int) -> Member | None:
    if group is None:
        return None
    members: Sequence[Member] = made[group]
    return members[number % len(members)]


def _family(name: str, group: Group, start: Member | None, teacher: Member | None) -> str:
    if group.role == "sibling" and teacher is not None:
        return teacher.family
    # Each replica and each student of the reference is a training run of its own: what its
    # statistics vary over is that run.
    return name


def member_seed(recipe: PackRecipe, name: str) -> int:
    """Return the 31-bit seed of a member: it follows from the pack's seed and its name alone."""
    content = f"{recipe.seed}:{name}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") >> 1
