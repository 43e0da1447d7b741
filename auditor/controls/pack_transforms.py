"""The members of a pack that are made from another member's weights without training."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.controls.members import Member
from auditor.controls.pack_folder import PackFolder
from auditor.controls.recipe import Transform
from auditor.errors import RecipeError


def transform_members(folder: PackFolder, members: Sequence[Member]) -> None:
    """Write each member that is not there yet.

    Raises:
        RecipeError: a kind of transform, or an option of it, is unknown.
    """
    for member in members:
        if not folder.has_model(member.name):
            _transform(folder, member)


def _transform(folder: PackFolder, member: Member) -> None:
    choice = member.group.transform
    if choice is None:
        raise RecipeError(f"{member.group.name} has no transform")
    partner = None if member.partner is None else f"local:{folder.model(member.partner)}"
    source = f"local:{folder.model(str(member.start))}"
    how = chosen_transform(choice, member.group.name, seed=member.seed, partner=partner)
    apply_transform(how, source, folder.model(member.name), member.group.name)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A transform and its options."""

    function: Callable[..., Path]
    options: dict[str, Any]


def apply_transform(how: Chosen, source: str, out: Path, group: str) -> None:
    """Write the transformed copy of the model `source` to the folder `out`.

    Raises:
        RecipeError: an option of the transform is unknown.
    """
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        how.function(source, part, **how.options)
    except TypeError as error:
        raise RecipeError(f"{group}: transform: {error}") from error
    # Renamed as a whole: what has the final name is complete.
    part.rename(out)


def chosen_transform(choice: Transform, group: str, *, seed: int, partner: str | None) -> Chosen:
    """Return the transform that a group of a recipe names.

    Args:
        choice: of the recipe.
        group: name of the group, for messages.
        seed: of what is drawn.
        partner: specifier of the other parent of a merge.

    Raises:
        RecipeError: there is no such transform, or a merge lacks its partner.
    """
    from auditor.controls import transforms
    from auditor.controls.transforms_merging import Merge

    options = dict(choice.options)
    if choice.kind == "merge":
        if partner is None:
            raise RecipeError(f"{group}: a merge needs a partner, the other parent")
        weights = tuple(options.pop("weights", (0.5, 0.5)))
        how = Merge(weights=weights, seed=seed, **options)
        return Chosen(transforms.merge, {"others": [partner], "how": how})
    known: dict[str, tuple[Callable[..., Path], bool]] = {
        "quantise": (transforms.quantise, False),
        "prune": (transforms.prune, False),
        "cast": (transforms.cast, False),
        "permute": (transforms.permute, True),
        "rotate": (transforms.rotate, True),
    }
    if choice.kind not in known:
        names = ", ".join(sorted([*known, "merge"]))
        raise RecipeError(f"{group}: no transform {choice.kind!r}", hint=f"choose one of {names}")
    function, seeded = known[choice.kind]
    return Chosen(function, {**options, **({"seed": seed} if seeded else {})})
