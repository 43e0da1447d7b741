"""The files of a pack while it is made: models, the texts that teachers wrote, token streams."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import json_digest
from auditor.case import atomic_write
from auditor.controls.material import build_tokenizer, documents_of, token_stream
from auditor.controls.members import Member, members_of
from auditor.controls.recipe import PackRecipe, Strict
from auditor.controls.rewording import reworded
from auditor.errors import CaseError
from auditor.types import Array

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from auditor.controls.ensemble_shape import Shape


ARCHITECTURES = {"llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}
"""Class that transformers loads a shape as; it stands in config.json."""


def claim(root: Path, recipe: Strict) -> None:
    """Create the folder of a recipe, or check that it is this recipe's.

    Raises:
        CaseError: it holds the models of another recipe.
    """
    marker = root / "recipe.json"
    wanted = recipe.model_dump(mode="json", by_alias=True)
    if not marker.is_file():
        atomic_write(marker, json.dumps(wanted, sort_keys=True, indent=1).encode())
    elif json_digest(json.loads(marker.read_bytes())) != json_digest(wanted):
        raise CaseError(f"{root} holds the pack of another recipe", hint="give another --out")


class PackFolder:
    """A pack's folder on disk. What is there is not made again."""

    def __init__(self, recipe: PackRecipe, root: Path) -> None:
        self.recipe = recipe
        self.root = root
        self._tokenizers: dict[str, PreTrainedTokenizerFast] = {}

    def claim(self) -> None:
        """Create the folder, or check that it is this recipe's.

        Raises:
            CaseError: it holds the pack of another recipe.
        """
        claim(self.root, self.recipe)

    @cached_property
    def members(self) -> dict[str, Member]:
        """Every member by name, each after those it depends on."""
        return {member.name: member for member in members_of(self.recipe)}

    def model(self, name: str) -> Path:
        """Return the folder of a member's model (transformers format, fp16)."""
        return self.root / "models" / name

    def has_model(self, name: str) -> bool:
        """Whether a member is finished."""
        return (self.model(name) / "config.json").is_file()

    def written(self, member: Member) -> Path:
        """Return the file of the documents that a text student's teacher wrote for it."""
        teaching = member.group.teaching
        heat = 1.0 if teaching is None else teaching.temperature
        return self.root / "texts" / f"{member.teacher}-{heat:g}.json"

    def shape(self, member: Member) -> "Shape":
        """Return the shape of a member's model."""
        from auditor.controls.ensemble_shape import Shape

        choice = self.recipe.shapes[member.shape]
        return Shape(
            architecture=choice.architecture,
            vocabulary=len(self.tokenizer(member)),
            hidden=choice.hidden,
            layers=choice.layers,
            heads=choice.heads,
            intermediate=choice.intermediate,
            positions=choice.positions,
            tied=choice.architecture == "gpt2",
        )

    def tokenizer(self, member: Member) -> "PreTrainedTokenizerFast":
        """Return the tokenizer of a member's shape."""
        name = self.recipe.shapes[member.shape].tokenizer
        if name not in self._tokenizers:
            self._tokenizers[name] = build_tokenizer(self.recipe.tokenizers[name])
        return self._tokenizers[name]

    def own_stream(self, member: Member) -> Array:
        """Return (n,) int32: the tokens of the documents that the member trains on."""
        choice = self.recipe.texts[str(member.group.text)]
        tokenizer = self.recipe.shapes[member.shape].tokenizer
        path = self.root / "streams" / f"{member.group.text}-{tokenizer}.npy"
        shared = choice.seed != "own"
        if shared and path.is_file():
            return np.load(path, allow_pickle=False)
        stream = token_stream(self.tokenizer(member), documents_of(choice, member.seed))
        if shared:
            save_array(path, stream)
        return stream

    def imitated_stream(self, member: Member) -> Array | None:
        """Return (n,) int32: the tokens of what the teacher wrote; None for other members."""
        teaching = member.group.teaching
        if teaching is None or teaching.via != "text":
            return None
        tokenizer = self.recipe.shapes[member.shape].tokenizer
        reworded_too = "-reworded" if teaching.paraphrase else ""
        stem = self.written(member).stem
        path = self.root / "streams" / f"{stem}{reworded_too}-{tokenizer}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)
        documents: list[str] = json.loads(self.written(member).read_bytes())
        if teaching.paraphrase:
            documents = [reworded(document) for document in documents]
        stream = token_stream(self.tokenizer(member), documents)
        save_array(path, stream)
        return stream

    def load(self, name: str) -> dict[str, "torch.Tensor"]:
        """Return a finished member's weights in float32, by transformers' names."""
        from safetensors.torch import load_file

        found = load_file(self.model(name) / "model.safetensors")
        return {key: value.float() for key, value in found.items()}

    def save(self, member: Member, weights: dict[str, "torch.Tensor"]) -> None:
        """Write a member's model; its config.json comes last and says that it is complete."""
        from safetensors.torch import save_file

        from auditor.controls.ensemble_shape import config_of

        tokenizer = self.tokenizer(member)
        folder = self.model(member.name)
        folder.mkdir(parents=True, exist_ok=True)
        halves = {key: value.half().contiguous() for key, value in sorted(weights.items())}
        save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
        tokenizer.save_pretrained(folder)
        config: Any = config_of(self.shape(member), tokenizer)
        config.architectures = [ARCHITECTURES[self.shape(member).architecture]]
        atomic_write(folder / "config.json", config.to_json_string(use_diff=True).encode())


def save_array(path: Path, values: Array) -> None:
    """Write an array so that a reader, or a second process, sees it whole or not at all."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    atomic_write(path, buffer.getvalue())


def names_of(members: Sequence[Member]) -> list[str]:
    """Return the names of some members."""
    return [member.name for member in members]
