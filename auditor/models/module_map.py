"""A map of one's own, ``{module: device}``, laid over the modules of an architecture."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

from auditor.errors import SubjectError
from auditor.models.placement import DISK, Part, Placement, check_device, device_name

if TYPE_CHECKING:
    import torch


def spread_map(module: "torch.nn.Module", placement: Placement) -> str | dict[str, Part]:
    """Return the map that loading takes: named, or one without overlaps that covers the module.

    Args:
        module: of the architecture; its weights are not looked at.
        placement: what is asked for.

    Raises:
        SubjectError: a module of the map is unknown, some are not placed, a device is absent, a
            weight that modules share would lie in two places, or a single weight on the disk.
    """
    asked = placement.device_map
    if isinstance(asked, str):
        return asked
    _check_names(module, asked, placement.source)
    for part in dict.fromkeys(asked.values()):
        check_device(part, placement.source)
    full = {**_tied_places(module, asked, placement.source), **asked}
    found = dict(_spread(module, "", full, full.get("")))
    left = [name for name, part in found.items() if part is None]
    if left:
        raise SubjectError(
            f"{placement.source} does not say where {left[0]} goes"
            + (f", nor {len(left) - 1} more" if len(left) > 1 else ""),
            hint='add them, or the entry "" for everything else',
        )
    _refuse_single_weights(module, found, placement.source)
    return {name: part for name, part in found.items() if part is not None}


def _check_names(module: "torch.nn.Module", asked: Mapping[str, Part], source: str) -> None:
    known = {name for name, _ in module.named_modules()}
    known |= {name for name, _ in (*_weights(module), *module.named_buffers())}
    for name in asked:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            tops = [name for name, _ in module.named_children()]
            raise SubjectError(
                f"{source}: the model has no module {name!r}",
                hint=f"the nearest is {near[0]!r}; at the top are {', '.join(tops)}",
            )


def _weights(module: "torch.nn.Module") -> "Iterator[tuple[str, torch.nn.Parameter]]":
    """Yield every (name, weight); one that modules share under each of its names."""
    yield from module.named_parameters(remove_duplicate=False)


def _tied_places(
    module: "torch.nn.Module", asked: Mapping[str, Part], source: str
) -> dict[str, Part]:
    """Return {module: device} for modules that share a weight which the map would tear apart.

    It goes where the entry says that names one of them most closely.
    """
    found: dict[str, Part] = {}
    for names in _tied_names(module):
        entries = {name: _entry(name, asked) for name in names}
        if len({None if e is None else device_name(asked[e]) for e in entries.values()}) == 1:
            continue
        best = max(_closeness(name, entry) for name, entry in entries.items())
        named = {
            n: asked[e] for n, e in entries.items() if e is not None and _closeness(n, e) == best
        }
        _refuse_apart(named, source)
        found |= dict.fromkeys(map(_owner, names), next(iter(named.values())))
    return found


def _tied_names(module: "torch.nn.Module") -> list[list[str]]:
    """Return the names of each weight that has several."""
    names: dict[int, list[str]] = {}
    for name, weight in _weights(module):
        names.setdefault(id(weight), []).append(name)
    return [same for same in names.values() if len(same) > 1]


def _owner(weight: str) -> str:
    return weight.rpartition(".")[0]


def _entry(weight: str, asked: Mapping[str, Part]) -> str | None:
    """Return the entry that counts for a weight: of itself or the closest module around it."""
    name = weight
    while name and name not in asked:
        name = _owner(name)
    return name if name in asked else None


def _closeness(weight: str, entry: str | None) -> int:
    """Return 2 for an entry of the weight or its module, 1 for one around it, 0 for the rest's."""
    return 0 if not entry else 1 + (entry in (weight, _owner(weight)))


def _refuse_apart(named: Mapping[str, Part], source: str) -> None:
    first, *others = named
    for other in others:
        places = device_name(named[first]), device_name(named[other])
        if places[0] != places[1]:
            raise SubjectError(
                f"{source}: {_owner(first)} and {_owner(other)} hold one weight, but are to lie on "
                f"{places[0]} and {places[1]}",
                hint="give both the same device, or name only one of them",
            )


def _refuse_single_weights(
    module: "torch.nn.Module", found: Mapping[str, Part | None], source: str
) -> None:
    # accelerate brings in from the disk what belongs to a module of the map.
    for name, _ in _weights(module):
        if found.get(name) == DISK:
            raise SubjectError(
                f"{source}: {name}, a single weight, cannot lie on the disk",
                hint=f"place its module {_owner(name)!r} there, or keep the weight in memory",
            )


def _spread(
    module: "torch.nn.Module", name: str, asked: Mapping[str, Part], part: Part | None
) -> Iterator[tuple[str, Part | None]]:
    """Yield (name, device) of the largest modules, and loose weights, that lie in one place."""
    prefix = f"{name}." if name else ""
    if not any(other != name and other.startswith(prefix) for other in asked):
        if part is not None or _has_weights(module):
            yield name, part
        return
    for child, inner in module.named_children():
        own = prefix + child
        yield from _spread(inner, own, asked, asked.get(own, part))
    loose = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    for weight, _ in loose:
        yield prefix + weight, asked.get(prefix + weight, part)


def _has_weights(module: "torch.nn.Module") -> bool:
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None
