"""A transformers folder on disk: is it whole, and which tensors are in its safetensors files.

Headers are parsed here, so that a folder can be checked and digested without torch and without
loading a tensor. Format: safetensors' README, section "Format" (8 bytes of header length,
little-endian; a JSON header; the data, tightly packed).
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.canon import LARGEST_INTEGER, whole_text
from auditor.errors import SubjectError

_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_CHUNK_BYTES = 1 << 20
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """Where a tensor's bytes are."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    start: int
    """Offset of its first byte in the file."""
    size: int
    """Bytes."""

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, a MiB at a time."""
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            left = self.size
            while left:
                chunk = stream.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise _broken(self.path, f"it ends inside {self.name}")
                left -= len(chunk)
                yield chunk


def check_folder(folder: Path) -> dict[str, Any]:
    """Return the content of ``config.json`` of a folder that holds a model and its tokenizer.

    Raises:
        SubjectError: the folder, its config, weights or tokenizer is missing or unreadable.
    """
    if not folder.is_dir():
        raise SubjectError(
            f"{folder} is {'not a folder' if folder.exists() else 'missing'}",
            hint="give the folder that holds config.json and the weights",
        )
    config = _config(folder / "config.json")
    weight_files(folder)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise SubjectError(
            f"{folder} has no tokenizer ({', '.join(_TOKENIZER_FILES)})",
            hint="copy the tokenizer files of the model into the folder",
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that make up the model in `folder`, sorted.

    Raises:
        SubjectError: there are none, only pickles, or a shard is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        paths = [folder / name for name in _shards(index)]
    elif (folder / "model.safetensors").is_file():
        paths = [folder / "model.safetensors"]
    else:
        raise _no_weights(folder)
    for path in paths:
        if not path.is_file():
            raise SubjectError(f"{path.name} of {folder} is missing", hint="copy the whole model")
    return paths


def stored_tensors(path: Path) -> list[StoredTensor]:
    """Return the tensors of one safetensors file, after checking that its bytes are all there.

    Raises:
        SubjectError: the file is corrupt or truncated.
    """
    header, position = _header(path)
    tensors = [
        _tensor(path, name, entry, position)
        for name, entry in header.items()
        if name != "__metadata__"
    ]
    # The format allows no gap and no overlap: a byte outside every tensor escapes every digest.
    for tensor in sorted(tensors, key=lambda tensor: (tensor.start, tensor.size)):
        if tensor.start != position:
            raise _broken(path, f"{tensor.name} does not follow the tensor before it")
        position += tensor.size
    if position != path.stat().st_size:
        raise _broken(path, "it is cut off, or longer than its header says")
    return tensors


def tensors_of(folder: Path) -> list[StoredTensor]:
    """Return all tensors of a folder, sorted by name.

    Raises:
        SubjectError: a file is corrupt, or two shards hold tensors of one name.
    """
    found: dict[str, StoredTensor] = {}
    for path in weight_files(folder):
        for tensor in stored_tensors(path):
            if tensor.name in found:
                raise _broken(path, f"{tensor.name} is also in {found[tensor.name].path.name}")
            found[tensor.name] = tensor
    return [found[name] for name in sorted(found)]


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        adapter = (path.parent / "adapter_config.json").is_file()
        raise SubjectError(
            f"{path.parent} has no config.json" + (", only an adapter" if adapter else ""),
            hint="merge the adapter into its base model and save the result"
            if adapter
            else "give a folder in transformers format",
        )
    config = _json_object(path)
    if "auto_map" in config and "model_type" not in config:
        raise SubjectError(
            f"{path.parent} needs code of its own, which is never run",
            hint="convert the model to an architecture that transformers knows",
        )
    return config


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise _broken(path, f"it is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise _broken(path, "it holds no JSON object")
    return value


def _shards(index: Path) -> list[str]:
    names = _json_object(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise _broken(index, "it has no weight_map")
    if any(whole_text(name) != name for name in names.values()):
        raise _broken(index, "it names a file by what is no text")
    if any(Path(name).name != name for name in names.values()):
        raise _broken(index, "it names files outside the folder")
    return sorted(set(names.values()))


def _no_weights(folder: Path) -> SubjectError:
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickles:
        return SubjectError(
            f"the weights of {folder} are pickles ({pickles[0]}), which can run code when loaded",
            hint="convert them to safetensors on a machine you trust: "
            "model.save_pretrained(folder) in transformers writes model.safetensors",
        )
    return SubjectError(
        f"{folder} has no weights (model.safetensors)",
        hint="give the folder that holds config.json and the weights",
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER_BYTES):
            raise _broken(path, "its header is cut off")
        raw = stream.read(length)
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _broken(path, "its header holds no JSON object")
    return header, 8 + length


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> StoredTensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        counted = isinstance(shape, list) and all(map(_is_count, (*shape, start, end)))
        if whole_text(name) != name or not counted:
            raise _broken(path, f"the header of {whole_text(name)} cannot be understood")
        bits = math.prod(shape) * _BITS[dtype]
        if bits != 8 * (end - start) or start < 0 or min(shape, default=0) < 0:
            raise _broken(path, f"the header of {name} contradicts itself")
        return StoredTensor(
            name=name,
            dtype=dtype,
            shape=tuple(shape),
            path=path,
            start=data_start + start,
            size=end - start,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"the header of {name} cannot be understood") from error


def _is_count(value: Any) -> bool:
    # Labels of digests hold shapes as JSON numbers; True is no 1.
    return type(value) is int and abs(value) <= LARGEST_INTEGER


def _broken(path: Path, why: str) -> SubjectError:
    return SubjectError(f"{path} is corrupt: {why}", hint="copy or download the file again")
