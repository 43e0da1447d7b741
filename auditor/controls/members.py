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
    """Models of one training run share it, as do the students of a sibling teacher."""
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

    The reference comes first, whatever its half. A locked one that ships serves as a control and
    counts in no error rate.
    """
    taken: Counter[str] = Counter()
    shipped = []
    for member in sorted(members, key=lambda member: (member.role != "reference", member.split)):
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
    start = _of(made, group.start, number)
    teacher = _of(made, group.teaching.teachers if group.teaching else None, number)
    partner = _of(made, group.transform.partner if group.transform else None, number)
    root = _root(group, start, teacher)
    steps = group.steps or (recipe.training.steps,)
    return Member(
        name=name,
        group=group,
        number=number,
        seed=member_seed(recipe.seed, name),
        family=_family(name, group, root),
        split=split_of(member_seed(recipe.seed, name)) if root is None else root.split,
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


def _root(group: Group, start: Member | None, teacher: Member | None) -> Member | None:
    """Return the model that a member shares a training run with, if not with the reference.

    A half must hold all of a run, or the locked half would be tested on what was calibrated with.
    """
    if start is not None and start.role != "reference":
        return start
    return teacher if group.role == "sibling" else None


def _family(name: str, group: Group, root: Member | None) -> str:
    if root is None:
        return name
    # No family may be in two classes: a student that started from an independent model is an
    # imitation of its own.
    unlinked = ("independent", "sibling")
    same = root.role == group.role or {root.role, group.role} <= set(unlinked)
    return root.family if same else name


def member_seed(seed: int, name: str) -> int:
    """Return the 31-bit seed of a member: it follows from the recipe's seed and its name alone."""
    content = f"{seed}:{name}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:4], "big") >> 1
