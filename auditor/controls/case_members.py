"""The members of a case's own controls, and the distillation recipe of each."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.controls.case_recipe import CaseGroup, CaseRecipe
from auditor.controls.members import member_seed
from auditor.types import Role

_ROLES: dict[str, Role] = {
    "independent": "independent",
    "sibling-teacher": "independent",
    "sibling-student": "sibling",
    "imitation": "imitation",
    "further": "imitation",
    "finetune": "replication",
    "transform": "replication",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMember:
    """One control that is to be made."""

    name: str
    group: CaseGroup
    seed: int
    source: str | None
    """Member that it learns from, goes on from or transforms; None: the reference, or nothing."""
    family: str
    """What its training began with: the member at its root, or the given model that all such
    members started from. Models of one family are no independent cases."""

    @property
    def role(self) -> Role:
        """Its relation to the reference."""
        return _ROLES[self.group.kind]

    @property
    def place(self) -> str:
        """Folder of its model, from the folder of the controls."""
        if self.group.kind == "transform":
            return f"models/{self.name}"
        return f"runs/{self.name}/student"


def case_members(recipe: CaseRecipe) -> tuple[CaseMember, ...]:
    """Return the members of all groups, each after the one it depends on."""
    found: dict[str, list[CaseMember]] = {}
    for group in recipe.groups:
        sources = found[group.of] if group.of is not None else []
        found[group.name] = [_member(recipe, group, i, sources) for i in range(group.count)]
    return tuple(member for members in found.values() for member in members)


def _member(
    recipe: CaseRecipe, group: CaseGroup, number: int, sources: Sequence[CaseMember]
) -> CaseMember:
    name = f"{group.name}-{number:02d}"
    source = sources[number % len(sources)] if sources else None
    return CaseMember(
        name=name,
        group=group,
        seed=member_seed(recipe.seed, name),
        source=None if source is None else source.name,
        family=_root(recipe, group, name) if source is None else source.family,
    )


def _root(recipe: CaseRecipe, group: CaseGroup, name: str) -> str:
    start = (group.student or recipe.student).get("from")
    if start is None or group.kind in ("finetune", "transform"):
        return name
    return f"from-{start}"


def lesson(recipe: CaseRecipe, member: CaseMember, *, out: Path, folder: Path) -> dict[str, Any]:
    """Return the distillation recipe of a member that is trained.

    Args:
        recipe: of all.
        member: not a transform.
        out: folder of the controls.
        folder: the one that relative paths of the recipe start at.
    """
    group = member.group
    values: dict[str, Any] = {
        "student": _student(recipe, member, out, folder),
        "data": _data(group.data or recipe.data, member.seed),
        "method": {"kind": "baseline"},
        "train": {**recipe.train, **group.train, "seed": member.seed},
    }
    if group.via is None:
        return values
    own = member.source is not None
    values["teacher"] = own_spec(out, folder, str(member.source)) if own else recipe.reference
    values["method"] = {"kind": "sequence"}
    if group.via == "logits":
        alpha = 1.0 - (1.0 if group.dose is None else group.dose)
        values["method"] = {"kind": "logits", "alpha": alpha}
    permission = _relative(out / permission_file(str(member.source)), folder)
    values["permission"] = permission if own else recipe.permission
    return values


def permission_file(teacher: str) -> str:
    """Return where the permission to learn from a model made here is kept."""
    return f"permissions/{teacher}.json"


def _student(recipe: CaseRecipe, member: CaseMember, out: Path, folder: Path) -> dict[str, Any]:
    kind = member.group.kind
    if kind == "finetune":
        return {"from": recipe.reference}
    if kind == "further":
        return {"from": own_spec(out, folder, str(member.source))}
    student = dict(member.group.student or recipe.student)
    init = student.get("init")
    if isinstance(init, dict) and init.get("tokenizer", "teacher") == "teacher":
        # A model without a teacher still reads the reference's tokens.
        student["init"] = {**init, "tokenizer": recipe.reference}
    return student


def _data(data: dict[str, Any], seed: int) -> dict[str, Any]:
    corpus = data.get("corpus")
    if isinstance(corpus, dict) and corpus.get("seed") == "own":
        return {**data, "corpus": {**corpus, "seed": seed}}
    return data


def own_spec(out: Path, folder: Path, name: str) -> str:
    """Return the specifier of a trained member; its path starts at the recipe's folder."""
    return f"local:{_relative(out / 'runs' / name / 'student', folder)}"


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path.resolve(), folder.resolve())
