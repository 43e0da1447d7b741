"""Where the parts of a model lie: the options of a specifier that spread it, and what came of it.

``local:DIR?device_map=auto|balanced|balanced_low_0|sequential|FILE.json``, with ``max_memory`` and
``offload_folder``. accelerate computes a named map and moves what a layer needs; FILE.json holds a
map of one's own, ``{"model.embed_tokens": 0, "model.layers.0": "cpu", "": "disk"}``, whose entries
count for everything inside them that has none of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
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

    reason = None if part == DISK else why_unusable(device_name(part))
    if reason is not None:
        raise SubjectError(
            f"{where}: device {part!r} cannot be used: {reason}",
            hint=f'give "cpu", "disk", or a GPU out of the {torch.cuda.device_count()} here',
        )


def why_unusable(device: str) -> str | None:
    """Return why this machine cannot use a device, in torch's words; None where it can."""
    import torch

    try:
        # Of a size: an empty tensor is made on "meta" and on some absent devices as well.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        return str(error).split("\n", 1)[0]
    return None


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


def placed_modules(module: "torch.nn.Module") -> dict[str, str]:
    """Return where a loaded model lies: {module: device}, "" for all of it."""
    spread: Mapping[str, Any] | None = getattr(module, "hf_device_map", None)
    if spread is None:
        return {"": str(next(module.parameters()).device)}
    return {name: device_name(part) for name, part in spread.items()}
