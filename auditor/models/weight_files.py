"""The weights of a subject read from its files, one tensor at a time, under one set of names.

Names are those of transformers without the leading ``model.`` or ``transformer.``, so that a
folder, an older checkpoint and a GGUF file of one model agree. Shapes are those of transformers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditor.errors import AccessError, SubjectError
from auditor.models.checkpoint import StoredTensor
from auditor.models.source import Source, locate
from auditor.models.specifier import parse

if TYPE_CHECKING:
    import torch

_TORCH = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
_PREFIX = re.compile(r"^(?:model|transformer)\.(?!model\.)")
# What any two models of an architecture share: masks, rotary frequencies.
_BUFFERS = re.compile(r"(rotary_emb\.|rope_freqs|\.attn\.(masked_)?bias$|\.position_ids$)")
_GGUF_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GGUF_KINDS = ("llama", "qwen2", "qwen3")
_UNREAD = 0.01
"""Share of packed bytes above which the tensors that are read do not stand for a model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightFiles:
    """Every weight of one subject, on disk."""

    spec: str
    stored: Mapping[str, StoredTensor]
    """By name, sorted; tied ones once; floating-point only."""
    config: Mapping[str, Any]
    """Of ``config.json``, or as much of it as a GGUF file says."""
    gguf: bool = False
    others: tuple[StoredTensor, ...] = ()
    """What else is stored: packed weights, masks, a head that is tied."""

    @property
    def packed(self) -> int:
        """Bytes of weights that are packed into integers, as 4-bit ones are: they are not read."""
        return sum(
            tensor.size
            for tensor in self.others
            if tensor.dtype not in _TORCH and not _BUFFERS.search(tensor.name)
        )

    @property
    def size(self) -> int:
        """Bytes of all tensors that are stored."""
        return sum(tensor.size for tensor in (*self.stored.values(), *self.others))

    @property
    def unread(self) -> str:
        """How much of the model is packed, in words."""
        return f"{self.packed:,} of {self.size:,} bytes are packed weights, which are not read"

    def check_whole(self) -> None:
        """Refuse to lay weights side by side of which a part is not read: the rest may be equal.

        Raises:
            AccessError: more than 1 % of the bytes are packed into integers.
        """
        if self.packed > _UNREAD * self.size:
            hint = "unpack its quantisation first"
            raise AccessError(f"of {self.spec}, {self.unread}", hint=hint)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight by name."""
        return {
            name: tensor.shape[::-1] if self.gguf else tensor.shape
            for name, tensor in self.stored.items()
        }

    def stored_type(self, name: str) -> str:
        """Return the type of a tensor in the file: ``F32``, ``BF16``, ``Q4_0``, ..."""
        return self.stored[name].dtype

    def read(self, name: str) -> "torch.Tensor":
        """Return a tensor, in its own type where torch has it, else dequantised to float32.

        Raises:
            SubjectError: it holds NaN or an infinity, or is cut off.
        """
        import torch

        raw = bytearray(b"".join(self.stored[name].chunks()))
        values = self.decoded(name, raw).reshape(self.shapes[name])
        if not bool(torch.isfinite(values.float()).all()):
            raise SubjectError(
                f"{name} of {self.spec} holds NaN or infinity",
                hint="repair or convert the model again",
            )
        return self._in_rotary_order(name, values)

    def decoded(self, name: str, raw: bytearray) -> "torch.Tensor":
        """Return (n,) the elements that bytes of a tensor hold: whole blocks of it, in any order.

        Raises:
            AccessError: blocks of its type cannot be unpacked.
        """
        import torch

        tensor = self.stored[name]
        if tensor.dtype not in _TORCH:
            return _dequantised(tensor, raw)
        kind = getattr(torch, _TORCH[tensor.dtype])
        return torch.frombuffer(raw, dtype=kind) if raw else torch.empty(0, dtype=kind)

    def byte_range(self, name: str, row: int, columns: tuple[int, int]) -> tuple[int, int]:
        """Return (offset in the file, bytes) of columns [start, stop) of a row of a tensor.

        Rows are those of transformers, leading axes counted as rows. For quantised blocks `start`
        is a multiple of the block and `stop` is one too, or the end of the row.
        """
        tensor = self.stored[name]
        block, size = _block(tensor.dtype)
        width = self.shapes[name][-1] if tensor.shape else 1
        first = self._file_row(name, row) * width + columns[0]
        length = columns[1] - columns[0]
        return tensor.start + first // block * size, length // block * size

    def _file_row(self, name: str, row: int) -> int:
        """Return where the file keeps a row; see `_in_rotary_order`."""
        heads = self._paired_heads(name)
        if heads is None or len(self.shapes[name]) < 2:
            return row
        width = self.shapes[name][0] // heads
        head, (half, place) = row // width, divmod(row % width, width // 2)
        return head * width + place * 2 + half

    def check_row_order(self) -> None:
        """Refuse heads that the rows of a tensor cannot be cut into.

        Raises:
            AccessError: there are such, as in a model whose layers have heads of their own.
        """
        for name, shape in self.shapes.items():
            heads = self._paired_heads(name)
            if heads is None:
                continue
            if type(heads) is not int or heads < 1 or not shape or shape[0] % (2 * heads):
                raise AccessError(
                    f"the rows of {name} of {self.spec}, of shape {shape}, are no pairs in "
                    f"{str(heads)[:40]} heads",
                    hint="convert it to a transformers folder",
                )

    def _paired_heads(self, name: str) -> int | None:
        """Return the heads of a tensor whose rows llama.cpp keeps in another order, else None."""
        if not self.gguf or self.config["model_type"] != "llama":
            return None
        heads: int | None = {
            "q_proj": self.config.get("num_attention_heads"),
            "k_proj": self.config.get("num_key_value_heads"),
        }.get(name.split(".")[-2] if "." in name else name)
        return heads

    def _in_rotary_order(self, name: str, values: "torch.Tensor") -> "torch.Tensor":
        """Undo the row order in which llama.cpp keeps the two halves of rotary pairs."""
        heads = self._paired_heads(name)
        if heads is None:
            return values
        pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
        return pairs.transpose(1, 2).reshape(values.shape)


def open_weights(spec: str) -> WeightFiles:
    """Return the weights of a subject; headers are read, tensors are not.

    Raises:
        SubjectError: the subject has no weights here, or its files are missing or corrupt.
        AccessError: the weights are packed in a way that is not read tensor by tensor.
        MissingExtraError: the package that reads its format is not installed.
    """
    source = locate(parse(spec))
    named = _gguf_named(source) if source.is_gguf else _named(source)
    config = _gguf_config(source) if source.is_gguf else source.text_config or source.config or {}
    if config.get("tie_word_embeddings") and len(named) > 1:
        named.pop("lm_head.weight", None)
    if not named:
        raise AccessError(
            f"{spec} holds no tensor of floating-point numbers",
            hint="unpack its quantisation first",
        )
    kept = {tensor.name for tensor in named.values()}
    files = WeightFiles(
        spec=spec,
        stored={name: named[name] for name in sorted(named)},
        config=config,
        gguf=source.is_gguf,
        others=tuple(tensor for tensor in source.tensors if tensor.name not in kept),
    )
    files.check_row_order()
    return files


def _named(source: Source) -> dict[str, StoredTensor]:
    return {
        _PREFIX.sub("", tensor.name): tensor
        for tensor in source.tensors
        if tensor.dtype in _TORCH and not _BUFFERS.search(tensor.name)
    }


def _gguf_named(source: Source) -> dict[str, StoredTensor]:
    kind = _metadata(source).get("general.architecture")
    if kind not in _GGUF_KINDS:
        raise AccessError(
            f"the tensors of a GGUF file of architecture {kind!r} are not read one by one",
            hint=f"known: {', '.join(_GGUF_KINDS)}; or convert it to a transformers folder",
        )
    named = {}
    for tensor in source.tensors:
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", tensor.name)
        if match is None or match.group(2) not in _GGUF_NAMES:
            if _BUFFERS.search(tensor.name):
                continue
            raise AccessError(f"the place of {tensor.name} of {source.path} is not known")
        layer, stem, part = match.groups()
        place = "" if layer is None else f"layers.{layer}."
        named[f"{place}{_GGUF_NAMES[stem]}.{part}"] = tensor
    return named


def _gguf_config(source: Source) -> dict[str, Any]:
    metadata = _metadata(source)
    kind = metadata["general.architecture"]
    heads = metadata.get(f"{kind}.attention.head_count")
    return {
        "model_type": kind,
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.get(f"{kind}.attention.head_count_kv", heads),
    }


def _metadata(source: Source) -> dict[str, Any]:
    return {} if source.header is None else source.header.metadata


def _block(dtype: str) -> tuple[int, int]:
    """Return (elements, bytes) of the smallest part of a stored type that can be unpacked."""
    if dtype in _TORCH:
        import torch

        return 1, getattr(torch, _TORCH[dtype]).itemsize
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType[dtype]]
    return int(elements), int(size)


def _dequantised(tensor: StoredTensor, raw: bytearray) -> "torch.Tensor":
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, dequantize

    kind = GGMLQuantizationType[tensor.dtype]
    try:
        values = dequantize(np.frombuffer(raw, dtype=np.uint8), kind)
    except NotImplementedError as error:
        raise AccessError(
            f"blocks of type {tensor.dtype} cannot be unpacked", hint="pip install --upgrade gguf"
        ) from error
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
