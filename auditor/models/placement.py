"""Where the parts of a model lie: the options of a specifier that spread it, and what came of it.

``local:DIR?device_map=auto|balanced|balanced_low_0|sequential|FILE.json``, with ``max_memory`` and
``offload_folder``. accelerate computes a named map and moves what a layer needs; FILE.json holds a
map of one's own, ``{"model.embed_tokens": 0, "model.layers.0": "cpu", "": "disk"}``, whose entries
count for everything inside them that has none of its own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from auditor.errors import MissingExtraError, SubjectError

if TYPE_CHECKING:
    import torch

OPTIONS = ("device_map", "max_memory", "offload_folder")
NAMED = ("auto", "balanced", "balanced_low_0", "sequential")
DISK = "disk"
Part = int | str
"""A device: the number of a GPU, ``cpu``, ``cuda:1``, ... or ``disk``."""
_MAPS = f"device_map is one of {', '.join(NAMED)}, or a .json file of modules and devices"
_SIZES = "write max_memory as in 0:20GiB,1:20GiB,cpu:60GiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a model is to be spread."""

    device_map: str | dict[str, Part]
    """A name of `NAMED`, or the device of each module."""
    max_memory: dict[Part, int] | None = None
    """Bytes of each device that a named map may use."""
    offload_folder: str | None = None
    source: str = ""
    """The file that the map is from."""

    @property
    def uses_gpu(self) -> bool:
        """Whether something is to lie on a GPU, as far as this machine tells."""
        import torch

        if isinstance(self.device_map, str):
            return torch.cuda.is_available()
        return any(part not in ("cpu", DISK) for part in self.device_map.values())


def placement_options(query: str, folder: Path) -> dict[str, str]:
    """Return the options after the ``?`` of a specifier, paths resolved from `folder`.

    Raises:
        SubjectError: an option is unknown, or has no effect without another.
    """
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown or "device_map" not in options:
        what = f"{unknown[0]!r} is no option here" if unknown else f"{query!r} has no device_map"
        raise SubjectError(what, hint=f"{_MAPS}; further options: {', '.join(OPTIONS[1:])}")
    named = options["device_map"] in NAMED
    if not named and "max_memory" in options:
        raise SubjectError(
            "max_memory has no effect beside a map of one's own",
            hint=f"leave it out, or name a map that is computed: {', '.join(NAMED)}",
        )
    paths = ["offload_folder"] if named else ["device_map", "offload_folder"]
    for name in paths:
        if name in options:
            options[name] = _resolved(name, options[name], folder)
    return options


def _resolved(name: str, path: str, folder: Path) -> str:
    try:
        return str((folder / Path(path).expanduser()).resolve())
    except (ValueError, RuntimeError) as error:  # a zero byte, or ~ of an unknown user
        raise SubjectError(f"{name} {path!r} is no path: {error}", hint=_MAPS) from error


def placement_of(options: Mapping[str, str]) -> Placement | None:
    """Return what the options of a specifier ask for, or None where they ask for nothing.

    Raises:
        SubjectError: the map cannot be read, or a size.
        MissingExtraError: accelerate is not installed.
    """
    if "device_map" not in options:
        return None
    if find_spec("accelerate") is None:
        raise MissingExtraError(
            "accelerate, which spreads a model by device_map, is not installed",
            hint="pip install accelerate",
        )
    asked, sizes = options["device_map"], options.get("max_memory")
    named = asked in NAMED
    return Placement(
        device_map=asked if named else _map_of(Path(asked)),
        max_memory=None if sizes is None else _sizes(sizes),
        offload_folder=options.get("offload_folder"),
        source="" if named else asked,
    )


def _map_of(path: Path) -> dict[str, Part]:
    try:
        if not path.is_file():
            raise SubjectError(f"there is no map of devices at {path}", hint=_MAPS)
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror}", hint=_MAPS) from error
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{path} is not JSON: {error}", hint=_MAPS) from error
    if not isinstance(found, dict) or not found:
        raise SubjectError(f"{path} is not an object of modules and devices", hint=_MAPS)
    for name, part in found.items():
        if isinstance(part, bool) or not isinstance(part, int | str):
            raise SubjectError(
                f"{path}: the device of {name!r} is {part!r}",
                hint='a device is the number of a GPU, "cpu", "cuda:1", ... or "disk"',
            )
    return found


def _sizes(text: str) -> dict[Part, int]:
    from accelerate.utils import convert_file_size_to_int

    sizes: dict[Part, int] = {}
    for entry in text.split(","):
        device, colon, size = entry.strip().rpartition(":")
        # Python reads no number of thousands of digits.
        if not colon or not (device == "cpu" or (device.isdecimal() and len(device) < 10)):
            raise SubjectError(f"max_memory: {entry.strip()!r} names no device", hint=_SIZES)
        try:
            taken: int = convert_file_size_to_int(size)
        except (ValueError, OverflowError) as error:  # the latter of "infGB"
            raise SubjectError(f"max_memory: {size!r} is no size", hint=_SIZES) from error
        sizes[int(device) if device.isdecimal() else device] = taken
    for part in sizes:
        check_device(part, "max_memory")
    return sizes


def check_device(part: Part, where: str) -> None:
    """Refuse a device that this machine cannot use.

    Raises:
        SubjectError: as said; `where` it was asked for starts the message.
    """
    import torch

    if part == DISK:
        return
    try:
        # Of a size: an empty tensor is made on "meta" and on some absent devices as well.
        torch.zeros(1, device=device_name(part)).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).split("\n", 1)[0]
        raise SubjectError(
            f"{where}: device {part!r} cannot be used: {reason}",
            hint=f'give "cpu", "disk", or a GPU out of the {torch.cuda.device_count()} here',
        ) from error


def device_name(part: Part) -> str:
    """Return what torch calls a device: ``cuda:1`` for 1."""
    return f"cuda:{part}" if isinstance(part, int) else str(part)


def made_folder(placement: Placement) -> str | None:
    """Return the folder for weights that loading stores anew, made where it is missing.

    Raises:
        SubjectError: it is a file, or cannot be made.
    """
    folder = placement.offload_folder
    try:
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SubjectError(
            f"offload_folder {folder} cannot be made: {error.strerror}",
            hint="name a folder that can be written; where weights are stored as they are used, "
            "offload_folder can be left out",
        ) from error
    return folder


def spread_map(module: "torch.nn.Module", placement: Placement) -> str | dict[str, Part]:
    """Return the map that loading takes: named, or one without overlaps that covers the module.

    Args:
        module: of the architecture; its weights are not looked at.
        placement: what is asked for.

    Raises:
        SubjectError: a module of the map is unknown, some are not placed, or a device is absent.
    """
    asked = placement.device_map
    if isinstance(asked, str):
        return asked
    _check_names(module, asked, placement.source)
    for part in dict.fromkeys(asked.values()):
        check_device(part, placement.source)
    found = dict(_spread(module, "", asked, asked.get("")))
    left = [name for name, part in found.items() if part is None]
    if left:
        raise SubjectError(
            f"{placement.source} does not say where {left[0]} goes"
            + (f", nor {len(left) - 1} more" if len(left) > 1 else ""),
            hint='add them, or the entry "" for everything else',
        )
    return {name: part for name, part in found.items() if part is not None}


def _check_names(module: "torch.nn.Module", asked: Mapping[str, Part], source: str) -> None:
    known = {name for name, _ in module.named_modules()}
    known |= {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    for name in asked:
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1, cutoff=0.0)
            tops = [name for name, _ in module.named_children()]
            raise SubjectError(
                f"{source}: the model has no module {name!r}",
                hint=f"the nearest is {near[0]!r}; at the top are {', '.join(tops)}",
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


def placed_modules(module: "torch.nn.Module") -> dict[str, str]:
    """Return where a loaded model lies: {module: device}, "" for all of it."""
    spread: Mapping[str, Any] | None = getattr(module, "hf_device_map", None)
    if spread is None:
        return {"": str(next(module.parameters()).device)}
    return {name: device_name(part) for name, part in spread.items()}
