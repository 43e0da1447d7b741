"""The recipe of a case's own controls: models trained as the suspect may have been.

One kind of group for each way that a model can have come to be, with and without the reference.
Every member becomes a recipe of `auditor distill`, so models of any size are made, and each leaves
its lineage.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from auditor.controls.recipe import Strict, Transform, checked
from auditor.distill.recipe_errors import read_yaml

SCHEMA = "auditor/case-controls/1"
Kind = Literal[
    "independent",
    "sibling-teacher",
    "sibling-student",
    "imitation",
    "further",
    "finetune",
    "transform",
]
SOURCES: dict[str, tuple[str, ...]] = {
    "sibling-student": ("sibling-teacher",),
    "further": ("imitation",),
    "transform": ("finetune", "transform"),
}
"""Kinds of the group that `of` may name, by the kind of the group that names it."""
TAUGHT = ("sibling-student", "imitation")


class CaseGroup(Strict):
    """Controls that were made in the same way, apart from their seeds."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Kind
    count: int = Field(default=1, ge=1)
    of: str | None = None
    """Group of the teachers (sibling-student), of the models trained further (further) or of those
    transformed (transform; the reference itself if absent). Member i takes its member i, in turn.
    """
    via: Literal["logits", "text"] | None = None
    """Of a taught group: what of the teacher it learns from."""
    dose: float | None = Field(default=None, gt=0, le=1)
    """Weight of the teacher's logits in the loss, the rest being the text itself; 1 if absent.
    By text the dose is the share of the answers among data.prompts and data.text."""
    student: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    """These three replace what the recipe says for all groups, train key by key."""
    transform: Transform | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "CaseGroup":
        problem = next((say for say, broken in _contradictions(self).items() if broken), None)
        if problem:
            raise ValueError(f"{self.name}: {problem}")
        return self


def _contradictions(group: CaseGroup) -> dict[str, bool]:
    kind = group.kind
    return {
        f"a group of kind {kind} needs via: logits or text": kind in TAUGHT and group.via is None,
        f"a group of kind {kind} has no teacher: remove via and dose": kind not in TAUGHT
        and (group.via is not None or group.dose is not None),
        "by text the dose is the share of the answers: give data with prompts and text": (
            group.via == "text" and group.dose is not None
        ),
        f"a group of kind {kind} needs of: the name of another group": group.of is None
        and kind in ("sibling-student", "further"),
        f"a group of kind {kind} follows no group: remove of": group.of is not None
        and kind not in SOURCES,
        "a group of kind transform needs transform, and no other kind has one": (
            (kind == "transform") != (group.transform is not None)
        ),
        "a transform trains on nothing: remove student, data and train": kind == "transform"
        and bool(group.student or group.data or group.train),
        f"a group of kind {kind} starts from given weights: remove student": (
            kind in ("further", "finetune") and group.student is not None
        ),
    }


class CaseRecipe(Strict):
    """The controls of one case."""

    schema_: Annotated[Literal["auditor/case-controls/1"], Field(alias="schema")]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int = Field(default=0, ge=0, lt=2**31)
    reference: str
    permission: str | None = None
    """File that allows training on the reference's outputs, as in a recipe of `distill`."""
    approver: str | None = None
    """Who answers for training on outputs of the models that this recipe makes."""
    student: dict[str, Any]
    """What the suspect may have started from, as in a recipe of `distill`."""
    data: dict[str, Any]
    """As in a recipe of `distill`. A corpus with ``seed: own`` is another text for each member."""
    train: dict[str, Any]
    """As in a recipe of `distill`; seeds follow from the recipe's seed and the member's name."""
    groups: Annotated[tuple[CaseGroup, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _linked(self) -> "CaseRecipe":
        seen: dict[str, CaseGroup] = {}
        for group in self.groups:
            if group.name in seen:
                raise ValueError(f"two groups are named {group.name}")
            self._check_group(group, seen)
            seen[group.name] = group
        return self

    def _check_group(self, group: CaseGroup, seen: dict[str, CaseGroup]) -> None:
        if group.of is not None:
            # Only groups above it can be named, so that there is no circle.
            known = [g.name for g in seen.values() if g.kind in SOURCES[group.kind]]
            if group.of not in known:
                listed = ", ".join(known) or "none"
                raise ValueError(
                    f"{group.name}: of {group.of!r} is no group of kind "
                    f"{' or '.join(SOURCES[group.kind])} above it (known: {listed})"
                )
        if group.kind == "imitation" and self.permission is None:
            raise ValueError(f"{group.name}: learning from the reference needs permission: FILE")
        if group.kind == "sibling-student" and self.approver is None:
            raise ValueError(
                f"{group.name}: learning from models made here needs approver: who answers for it"
            )


def load_case_recipe(path: Path) -> CaseRecipe:
    """Return the recipe in a YAML file.

    Raises:
        RecipeError: the file cannot be read, or a key is unknown, missing or out of range; the
            message names the first fault.
    """
    hint = f"schema {SCHEMA}: see the README"
    return checked(read_yaml(path), CaseRecipe, path, hint=hint)
