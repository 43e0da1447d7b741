"""The logit cache: a teacher's distributions on sequences, captured once, read at every training.

CACHE/manifest.json  whose distributions, how they are kept, the digest of every shard
CACHE/shards/        written once, never changed
CACHE/head.safetensors  the teacher's unembedding, for the scheme dense
CACHE/fidelity.json  what the kept part loses, measured when the capture ended

A sequence is found by its token ids, so another student of the same data reads the same cache. The
row of a scored position is the distribution of the token *after* it: row i of a sequence whose
first target is token f belongs to token f + i, given all tokens before that one.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from auditor.canon import digest, file_digest, leaf_hash, pretty_json
from auditor.case import atomic_write
from auditor.distill.cache_rows import Arrays, id_bits
from auditor.distill.cache_shard import Shard, sequence_key, write_shard
from auditor.distill.sequences import Sequences
from auditor.errors import CaseError
from auditor.merkle import merkle_root

SCHEMA = "auditor/logit-cache/1"
SHIFT = "row i: distribution of token first_target + i, given all tokens before it"
Scheme = Literal["dense", "topk", "pps"]
SCHEMES = get_args(Scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose distributions a cache holds and how: what must be equal for it to be read."""

    teacher: str
    """Digest of the teacher's weights."""
    tokenizer: str
    """Digest of its id -> bytes map and special tokens."""
    vocabulary: int
    """V, real token ids."""
    scheme: Scheme
    k: int
    """Entries of a position; 0 for dense."""
    temperature: float
    """What logits were divided by; 1 for dense, which can take any later."""
    dtype: str
    """Of dense states; ``packed`` otherwise."""
    seed: int
    """Of the draws of pps; 0 otherwise."""
    unit: Literal["token", "byte"] = "token"
    """What is distributed: the teacher's tokens, or the next byte, for a byte-level student."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """A line of the manifest."""

    file: str
    digest: str
    sequences: int
    positions: int
    bytes: int


class LogitCache:
    """A cache folder. Opening it verifies everything that it says about itself."""

    def __init__(self, root: Path, identity: Identity) -> None:
        """Open the cache at `root`, or start an empty one there with the first shard.

        Raises:
            CaseError: the folder holds a cache of something else, or a shard is missing, truncated
                or changed.
        """
        self.root = root
        self.identity = identity
        self.entries: list[ShardEntry] = []
        self.head_digest: str | None = None
        self._shards: list[Shard] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        if (root / "manifest.json").is_file():
            self._check_identity(_read(root / "manifest.json"))
            if self.head_digest is not None:
                _check_file(self.head_path, self.head_digest)
            for entry in self.entries:
                self._check_size(entry)
                _check_file(root / entry.file, entry.digest)
                self._use(entry)

    @property
    def head_path(self) -> Path:
        """The teacher's unembedding; written by `auditor.distill.captured.save_head`."""
        return self.root / "head.safetensors"

    def commit_head(self) -> None:
        """Name the head's file, which was just written, in the manifest."""
        self.head_digest = file_digest(self.head_path)
        self._write_manifest()

    @property
    def size(self) -> int:
        """Bytes of all shards."""
        return sum(entry.bytes for entry in self.entries)

    @property
    def positions(self) -> int:
        """Positions of all shards."""
        return sum(entry.positions for entry in self.entries)

    @property
    def merkle_root(self) -> str:
        """Root over the digests of the shards, in the order in which they were written."""
        return shards_root([entry.digest for entry in self.entries])

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def missing(self, store: Sequences, rows: Sequence[int]) -> list[int]:
        """Return those of `rows` that the cache lacks, each content once, in order."""
        seen: set[bytes] = set()
        lacking = []
        for row in rows:
            key = key_of(store, row)
            if key not in self._places and key not in seen:
                seen.add(key)
                lacking.append(row)
        return lacking

    def append(self, store: Sequences, rows: Sequence[int], arrays: Arrays) -> None:
        """Add a shard with the positions of `rows`; it is there whole or not at all.

        Raises:
            StorageError: the disk refused it.
        """
        name = f"shards/{len(self.entries):06d}.safetensors"
        path = self.root / name
        counts = [int(store.targets[row]) for row in rows]
        write_shard(path, [key_of(store, row) for row in rows], counts, arrays)
        entry = ShardEntry(
            file=name,
            digest=file_digest(path),
            sequences=len(rows),
            positions=sum(counts),
            bytes=path.stat().st_size,
        )
        # A shard that the manifest does not name is overwritten after a kill.
        self.entries.append(entry)
        self._write_manifest()
        self._use(entry)

    def read(self, store: Sequences, row: int) -> Arrays:
        """Return the arrays of a sequence's scored positions.

        Raises:
            CaseError: the cache does not hold it.
        """
        place = self._places.get(key_of(store, row))
        if place is None:
            raise CaseError(
                f"{self.root} does not hold sequence {row} of this data",
                hint="repeat the command: what is missing is captured from the teacher",
            )
        return self._shards[place[0]].read(place[1])

    def manifest(self) -> dict[str, Any]:
        """Return the content of manifest.json."""
        return {
            "schema": SCHEMA,
            "identity": asdict(self.identity),
            "shift": SHIFT,
            "id_bits": id_bits(self.identity.vocabulary),
            "sequences": sum(entry.sequences for entry in self.entries),
            "positions": self.positions,
            "bytes": self.size,
            "head": self.head_digest,
            "shards": [asdict(entry) for entry in self.entries],
            "merkle_root": self.merkle_root,
        }

    def _write_manifest(self) -> None:
        atomic_write(self.root / "manifest.json", pretty_json(self.manifest()))

    def _use(self, entry: ShardEntry) -> None:
        shard = Shard(self.root / entry.file)
        for number, key in enumerate(shard.keys):
            self._places[key] = (len(self._shards), number)
        self._shards.append(shard)

    def _check_identity(self, manifest: dict[str, Any]) -> None:
        path = self.root / "manifest.json"
        try:
            found = manifest["identity"]
            self.entries = [ShardEntry(**entry) for entry in manifest["shards"]]
            self.head_digest = manifest["head"]
            root = manifest["merkle_root"]
        except (KeyError, TypeError) as error:
            raise CaseError(f"{path} is not the manifest of a logit cache: {error}") from error
        wanted = asdict(self.identity)
        differ = [
            f"{name} ({found.get(name)!r}, here {value!r})"
            for name, value in wanted.items()
            if found.get(name) != value
        ]
        if manifest.get("schema") != SCHEMA or differ:
            raise CaseError(
                f"{self.root} holds another cache; it differs in: {', '.join(differ) or 'schema'}",
                hint="give another method.cache.path, or the teacher and method that made it",
            )
        if root != self.merkle_root:
            raise CaseError(f"{path}: the list of shards was changed", hint=_AGAIN)

    def _check_size(self, entry: ShardEntry) -> None:
        path = self.root / entry.file
        size = path.stat().st_size if path.is_file() else None
        if size not in (None, entry.bytes):
            raise CaseError(
                f"the cache shard {path} has {size} bytes, not {entry.bytes}", hint=_AGAIN
            )


def _check_file(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise CaseError(f"{path} of the logit cache is missing", hint=_AGAIN)
    if file_digest(path) != wanted:
        raise CaseError(f"{path} was changed since the logit cache was written", hint=_AGAIN)


_AGAIN = "remove the cache's folder to capture it again, or restore the file"


def shards_root(digests: Sequence[str]) -> str:
    """Return the Merkle root over the digests of shards, in order."""
    return merkle_root([leaf_hash(value.encode()) for value in digests])


def key_of(store: Sequences, row: int) -> bytes:
    """Return the name under which a sequence is kept."""
    return sequence_key(store.row(row), int(store.first[row]))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read: {error}", hint=_AGAIN) from error
    if not isinstance(content, dict):
        raise CaseError(f"{path} is not a JSON object", hint=_AGAIN)
    return content


def sequences_digest(store: Sequences, rows: Sequence[int]) -> str:
    """Return the digest of an ordered list of sequences."""
    return digest(b"".join(key_of(store, row) for row in rows))
