"""The members of a pack that are made from another member's weights without training."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from auditor.controls.members import Member
from auditor.controls.pack_folder import PackFolder
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
    out = folder.model(member.name)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    transform, options = _chosen(folder, member)
    source = f"local:{folder.model(str(member.start))}"
    try:
        transform(source, part, **options)
    except TypeError as error:
        raise RecipeError(f"{member.group.name}: transform: {error}") from error
    # Renamed as a whole: what has the final name is complete.
    part.rename(out)


def _chosen(folder: PackFolder, member: Member) -> tuple[Callable[..., Path], dict[str, Any]]:
    """Return the function of a member's transform and its options."""
    from auditor.controls import transforms
    from auditor.controls.transforms_merging import Merge

    choice = member.group.transform
    kind = "" if choice is None else choice.kind
    options = {} if choice is None else dict(choice.options)
    if kind == "merge":
        weights = tuple(options.pop("weights"))
        how = Merge(weights=weights, seed=member.seed, **options)
        others = [f"local:{folder.model(str(member.partner))}"]
        return transforms.merge, {"others": others, "how": how}
    known: dict[str, tuple[Callable[..., Path], bool]] = {
        "quantise": (transforms.quantise, False),
        "prune": (transforms.prune, False),
        "cast": (transforms.cast, False),
        "permute": (transforms.permute, True),
        "rotate": (transforms.rotate, True),
    }
    if kind not in known:
        names = ", ".join(sorted([*known, "merge"]))
        raise RecipeError(
            f"{member.group.name}: no transform {kind!r}", hint=f"choose one of {names}"
        )
    function, seeded = known[kind]
    return function, {**options, **({"seed": member.seed} if seeded else {})}
