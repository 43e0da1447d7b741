"""Training sequences packed into a file of the run, from which each batch reads its own.

RUN/work/sequences/tokens.int32      the tokens of all sequences, one after the other, little-endian
RUN/work/sequences/index.safetensors where each begins, its first target, who wrote it
RUN/work/sequences/manifest.json     of what they were made, and the digests of both; written last

In memory are 13 bytes a sequence. Tokens are read by position instead of being mapped: the pages of
a mapped file count as memory of the process until the system takes them back.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import digest, file_digest, json_digest, pretty_json
from auditor.case import atomic_stream, atomic_write
from auditor.distill.ranks import is_first_rank, wait_for_ranks
from auditor.distill.run_folder import RunFolder
from auditor.distill.sequences import Row, Sequences, nothing_to_train_on, with_targets
from auditor.errors import CaseError
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SCHEMA = "auditor/packed-sequences/1"
_REMEDY = "remove that folder and repeat the command: the sequences are packed again"


class TokenFile:
    """The int32 tokens of a file, read slice by slice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getitem__(self, part: slice) -> Array:
        """Return the tokens of a slice with both ends.

        Raises:
            CaseError: the file is gone or was cut.
        """
        count = int(part.stop - part.start)
        try:
            found = np.fromfile(self._path, dtype="<i4", count=count, offset=4 * int(part.start))
        except OSError as error:
            raise CaseError(
                f"{self._path} cannot be read: {error.strerror}", hint=_REMEDY
            ) from error
        if len(found) != count:
            raise CaseError(f"{self._path} was cut while it was in use", hint=_REMEDY)
        return found


class PackedSequences:
    """The folder of packed sequences, bound to what they are made of."""

    def __init__(self, root: Path, made_of: str) -> None:
        """Take the folder and a digest over everything that decides the tokens."""
        self._tokens = root / "tokens.int32"
        self._index = root / "index.safetensors"
        self._manifest = root / "manifest.json"
        self._made_of = made_of

    @property
    def is_complete(self) -> bool:
        """Whether the folder holds these very sequences; anything else in it is replaced.

        Raises:
            CaseError: the manifest cannot be read.
        """
        return self._manifest.is_file() and self._recorded().get("made_of") == self._made_of

    def write(self, rows: Iterable[Row]) -> None:
        """Pack the rows that have targets.

        Raises:
            RecipeError: there is none.
            StorageError: the disk is full; nothing is half there.
        """
        self._manifest.unlink(missing_ok=True)
        sizes, first, generated = array("q"), array("i"), bytearray()
        hasher = hashlib.sha256()
        with atomic_stream(self._tokens) as stream:
            for ids, target, by_teacher in with_targets(rows):
                content = np.asarray(ids, dtype="<i4").tobytes()
                hasher.update(content)
                stream.write(content)
                sizes.append(len(ids))
                first.append(target)
                generated.append(by_teacher)
            if not sizes:
                raise nothing_to_train_on()
        offsets = np.concatenate([[0], np.cumsum(np.frombuffer(sizes, np.int64))])
        self._write_index(
            offsets=offsets.astype("<i8"),
            first=np.frombuffer(first, np.int32).astype("<i4"),
            generated=np.frombuffer(bytes(generated), np.uint8),
        )
        manifest = {
            "schema": SCHEMA,
            "made_of": self._made_of,
            "sequences": len(sizes),
            "tokens": {"count": int(offsets[-1]), "digest": "sha256:" + hasher.hexdigest()},
            "index": {"digest": file_digest(self._index)},
        }
        atomic_write(self._manifest, pretty_json(manifest))

    def open(self) -> Sequences:
        """Return the sequences, whose files are checked against their digests first.

        Raises:
            CaseError: a file is missing or was changed.
        """
        from safetensors.numpy import load_file

        recorded = self._recorded()
        for path, part in ((self._tokens, "tokens"), (self._index, "index")):
            if not path.is_file() or file_digest(path) != recorded[part]["digest"]:
                raise CaseError(f"{path} is not as it was written", hint=_REMEDY)
        index = load_file(self._index)
        return Sequences(
            tokens=TokenFile(self._tokens),
            offsets=index["offsets"],
            first=index["first"],
            generated=index["generated"].astype(bool),
        )

    def _write_index(self, **arrays: Array) -> None:
        from safetensors.numpy import save

        atomic_write(self._index, save(arrays))

    def _recorded(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._manifest.read_bytes())
        except (OSError, ValueError) as error:
            raise CaseError(f"{self._manifest} cannot be read: {error}", hint=_REMEDY) from error
        return found


def packer(
    folder: RunFolder, tokenizer: "PreTrainedTokenizerFast", inserted: Sequence[str]
) -> Callable[[Iterable[Row]], Sequences]:
    """Return what packs the rows of a run into its folder, or opens what it packed before.

    The first rank writes. What decides the rows besides the inputs of the run: the tokenizer, the
    answers, and `inserted` documents.
    """

    def pack(rows: Iterable[Row]) -> Sequences:
        answers = folder.generations
        made_of = {
            "inputs": file_digest(folder.inputs),
            "tokenizer": digest(tokenizer.backend_tokenizer.to_str().encode()),
            "end": tokenizer.eos_token_id,
            "template": tokenizer.chat_template,
            "answers": file_digest(answers) if answers.is_file() else None,
            "inserted": json_digest(list(inserted)),
        }
        packed = PackedSequences(folder.packed, json_digest(made_of))
        if is_first_rank() and not packed.is_complete:
            packed.write(rows)
        wait_for_ranks()
        return packed.open()

    return pack
