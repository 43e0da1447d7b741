"""Where the files of a local subject are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.errors import SubjectError
from auditor.models.checkpoint import StoredTensor, check_folder, tensors_of
from auditor.models.gguf_header import GgufHeader, read_header
from auditor.models.specifier import Specifier

_HUB_FILES = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
_OTHER_FORMS = ["consolidated*", "original/*", "onnx/*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder in transformers format, or a GGUF file."""

    path: Path
    specifier: Specifier
    config: dict[str, Any] | None = None
    """``config.json`` of a folder; None for a GGUF file."""
    header: GgufHeader | None = None
    """Header of a GGUF file; None for a folder."""
    tensors: tuple[StoredTensor, ...] = ()
    """What is stored, sorted by name."""

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file."""
        return self.header is not None

    @property
    def rows(self) -> int | None:
        """Number of token embeddings of the model, None where the files do not say."""
        if self.is_gguf:
            tables = (t.shape for t in self.tensors if t.name == "token_embd.weight" and t.shape)
            return next((shape[-1] for shape in tables), None)
        value = (self.config or {}).get("vocab_size", self.text_config.get("vocab_size"))
        return value if type(value) is int and value > 0 else None

    @property
    def text_config(self) -> dict[str, Any]:
        """The part of ``config.json`` about text, where a model takes images too; else empty."""
        found = (self.config or {}).get("text_config")
        return found if isinstance(found, dict) else {}


def locate(specifier: Specifier) -> Source:
    """Return the files of a subject whose weights are at hand; downloads for ``hf:`` only.

    Config and headers are read and checked; tensors are not.

    Raises:
        SubjectError: they are missing, incomplete or corrupt, or the subject has no weights.
        MissingExtraError: the package that carries them is not installed.
    """
    if specifier.scheme in ("gguf", "smollm2"):
        path = _gguf_file(specifier)
        header = read_header(path)
        return Source(path=path, specifier=specifier, header=header, tensors=header.tensors)
    folder = _folder(specifier)
    config = check_folder(folder)
    tensors = tuple(tensors_of(folder))
    return Source(path=folder, specifier=specifier, config=config, tensors=tensors)


def _gguf_file(specifier: Specifier) -> Path:
    if specifier.scheme == "smollm2":
        from auditor.models.smollm2 import smollm2_file

        return smollm2_file()
    if not specifier.path.is_file():
        raise SubjectError(f"{specifier.path} is missing", hint="give an existing .gguf file")
    return specifier.path


def _folder(specifier: Specifier) -> Path:
    if specifier.scheme == "local":
        return specifier.path
    if specifier.scheme == "tiny":
        from auditor.models.tiny import tiny_folder

        return tiny_folder(specifier.rest)
    if specifier.scheme == "hf":
        return hub_folder(specifier.rest, specifier.revision)
    raise SubjectError(
        f"{specifier.canonical} has no weights here",
        hint="give a model whose weights are at hand: local:, gguf:, hf:, smollm2 or tiny:",
    )


def hub_folder(name: str, revision: str | None) -> Path:
    """Return the folder of a hub model in the local cache, downloaded first where that is allowed.

    Raises:
        SubjectError: it is not in the cache and the offline flags are set, or the hub refused.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from auditor.models.quiet import quiet

    shown = f"hf:{name}@{revision}" if revision else f"hf:{name}"
    offline = constants.is_offline_mode()
    try:
        with quiet():
            return Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=_HUB_FILES,
                    ignore_patterns=_OTHER_FORMS,
                    local_files_only=offline,
                )
            )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = "it is not in the offline cache" if offline else " ".join(str(error).split())[:200]
        raise SubjectError(
            f"{shown} cannot be loaded: {reason}",
            hint="unset HF_HUB_OFFLINE to allow the download, or give a local folder"
            if offline
            else "check the name, the revision and the network, or give a local folder",
        ) from error
