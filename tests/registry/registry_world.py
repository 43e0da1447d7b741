"""Small model folders and GGUF files of known relation, made on disk for the tests."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from auditor.models.tiny import tiny_folder
from auditor.models.weight_files import _GGUF_NAMES
from auditor.registry.card import read_card

GGUF_NAMES = {place: name for name, place in _GGUF_NAMES.items()}


def card(folder, readme=None, **files):
    """Write a model folder of a card and JSON files, and read its claims."""
    folder.mkdir(exist_ok=True)
    if readme is not None:
        (folder / "README.md").write_bytes(readme if isinstance(readme, bytes) else readme.encode())
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return read_card(folder)


def told(found):
    return [(claim.kind, claim.target, claim.relation) for claim in found.claims]


def copied(name: str, target: Path, change=None) -> Path:
    """Copy a shipped model; `change` maps its tensors to those that are written."""
    shutil.copytree(tiny_folder(name), target)
    (target / "lineage.json").unlink(missing_ok=True)
    if change is not None:
        weights = load_file(target / "model.safetensors")
        save_file(change(weights), target / "model.safetensors", metadata={"format": "pt"})
    return target


def with_noise(share: float, seed: int = 0):
    """Return a change: noise of `share` standard deviations on every tensor."""

    def change(weights):
        rng = np.random.RandomState(seed)
        return {
            name: (w + rng.standard_normal(w.shape) * w.std() * share).astype(w.dtype)
            for name, w in sorted(weights.items())
        }

    return change


def packed(seed, pattern="_proj"):
    """Return a change: matrices of a name that matches become integers, eight to a number."""

    def change(weights):
        rng = np.random.RandomState(seed)
        return {
            name.replace(".weight", ".qweight") if re.search(pattern, name) else name: (
                rng.randint(0, 2**31, size=(max(1, len(w) // 8), *w.shape[1:]), dtype=np.int32)
                if re.search(pattern, name)
                else w
            )
            for name, w in sorted(weights.items())
        }

    return change


def reordered(weights):
    """Swap the neurons of every feed-forward block: the same function, other places."""
    changed = dict(weights)
    for name, w in weights.items():
        if ".mlp." in name:
            changed[name] = np.ascontiguousarray(w[:, ::-1] if "down_proj" in name else w[::-1])
    return changed


def as_gguf(folder: Path, path: Path, kind=None, heads_said=None) -> Path:
    """Write a llama folder as a GGUF file as llama.cpp orders it, matrices in `kind`.

    `heads_said`: what its header says of the attention heads; None: the truth.
    """
    import gguf

    config = json.loads((folder / "config.json").read_text())
    heads = config["num_attention_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(heads if heads_said is None else heads_said)
    writer.add_head_count_kv(heads)
    for name, value in sorted(load_file(folder / "model.safetensors").items()):
        array = value.astype(np.float32)
        place = name.removeprefix("model.")
        if ".q_proj" in name or ".k_proj" in name:
            halves = array.reshape(heads, 2, len(array) // heads // 2, -1)
            array = halves.swapaxes(1, 2).reshape(array.shape)
        packed = kind is not None and array.ndim == 2
        writer.add_tensor(
            gguf_name(place),
            gguf.quantize(array, kind) if packed else array,
            raw_dtype=kind if packed else None,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def gguf_name(place: str) -> str:
    layer = re.match(r"layers\.(\d+)\.(.*)\.(weight|bias)$", place)
    if layer is None:
        stem, _, part = place.rpartition(".")
        return f"{GGUF_NAMES[stem]}.{part}"
    return f"blk.{layer[1]}.{GGUF_NAMES[layer[2]]}.{layer[3]}"


SEVEN_B = {
    "embed_tokens.weight": (32_000, 4096),
    "norm.weight": (4096,),
    "lm_head.weight": (32_000, 4096),
    **{
        f"layers.{layer}.{name}.weight": shape
        for layer in range(32)
        for name, shape in {
            "input_layernorm": (4096,),
            "post_attention_layernorm": (4096,),
            "self_attn.q_proj": (4096, 4096),
            "self_attn.k_proj": (4096, 4096),
            "self_attn.v_proj": (4096, 4096),
            "self_attn.o_proj": (4096, 4096),
            "mlp.gate_proj": (11_008, 4096),
            "mlp.up_proj": (11_008, 4096),
            "mlp.down_proj": (4096, 11_008),
        }.items()
    },
}
"""Shapes of Llama 2 7B (Touvron et al. 2023): 6,738,415,616 parameters."""
