"""Sentence embeddings of every reply; each distinct text is embedded once, by digest."""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from auditor.canon import digest, json_digest
from auditor.case import Case
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.replies import first_appearance
from auditor.on_disk import OnDisk
from auditor.stored import iterate_records
from auditor.types import Array

_BATCH = 256
_NONE = -1
_DIGEST = 8
"""Bytes of a text's digest: of 10**6 different texts two have the same with a probability of
3 * 10**-8."""


class Encoder(Protocol):
    """What embeds texts: see `auditor.models.encoder`."""

    @property
    def ref(self) -> dict[str, Any]:
        """Name, digest and ``dimension`` E."""
        ...

    def embed(self, texts: Sequence[str]) -> Array:
        """Return (n, E) float32 unit rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class DistinctTexts:
    """The different replies of all subjects, in the order of first appearance."""

    firsts: Array
    """(n,) int64: which of all replies each was first."""
    rows: Mapping[str, Array]
    """(P * N,) int64 of each subject: which text each of its records holds, -1 for none."""
    key: str
    """Digest of all."""
    _said: Sequence[str]

    def __len__(self) -> int:
        return len(self.firsts)

    def texts(self, start: int, stop: int) -> list[str]:
        """Return some of the texts, from the disk."""
        return [self._said[reply] for reply in self.firsts[start:stop].tolist()]


def distinct_texts(case: Case, subjects: Sequence[str]) -> DistinctTexts:
    """Return every reply of the subjects once.

    Raises:
        CaseError: a record is missing or was changed.
        StorageError: there is no room for a copy of the texts.
    """
    digests, given = array("Q"), array("b")

    def said() -> Iterator[str]:
        for record in (one for subject in subjects for one in iterate_records(case, subject)):
            given.append(record["outcome"] != "error")
            if given[-1]:
                content = hashlib.sha256(record["text"].encode()).digest()
                digests.append(int.from_bytes(content[:_DIGEST], "big"))
                yield record["text"]

    texts = OnDisk(case.work, said(), str.encode, bytes.decode)
    firsts, places = first_appearance(np.array(digests, dtype=np.uint64))
    rows = np.full(len(given), _NONE, dtype=np.int64)
    rows[np.array(given, dtype=bool)] = places
    by_subject = dict(zip(subjects, rows.reshape(len(subjects), -1), strict=True))
    key = digest(np.array(digests, dtype=np.uint64)[firsts].tobytes())
    return DistinctTexts(firsts, by_subject, key, texts)


def embed_texts(run: Collection, found: DistinctTexts, encoder: Encoder) -> Iterator[int]:
    """Write the vectors that ``work/embeddings`` still lacks; yield the texts done, by batch.

    Raises:
        StorageError: the disk is full; the batches written before are kept.
    """
    path = _cache(run.case, found, encoder)
    if path.is_file():
        yield len(found)
        return
    width, total = encoder.ref["dimension"], len(found)
    with ArrayWriter(path, np.float32, total, (width,)) as writer:
        done = writer.resume([min(end, total) for end in range(0, total + _BATCH, _BATCH)])
        run.log_cut(path, writer.cut)
        for start in range(0, total, _BATCH):
            batch = found.texts(start, start + _BATCH)
            if start >= done:
                writer.append(encoder.embed(batch))
            yield len(batch)
        writer.finish()


def place_embeddings(case: Case, subject: str, found: DistinctTexts, encoder: Encoder) -> None:
    """Write ``arrays/embeddings/<subject>.npy``: (P * N, E) float32 in record order.

    NaN where there is no reply. An empty reply has the vector that the encoder gives it.

    Raises:
        StorageError: the disk is full.
    """
    path = case.array("embeddings", subject)
    if path.is_file():
        return
    source = ArrayReader(_cache(case, found, encoder))
    rows, width = found.rows[subject], source.shape[1]
    with ArrayWriter(path, np.float32, len(rows), (width,)) as writer:
        writer.resume([0])
        for start in range(0, len(rows), _BATCH):
            picked = rows[start : start + _BATCH]
            block = np.full((len(picked), width), np.nan, dtype=np.float32)
            for place in np.flatnonzero(picked != _NONE).tolist():
                block[place] = source.read(picked[place], picked[place] + 1)[0]
            writer.append(block)
        writer.finish()


def _cache(case: Case, found: DistinctTexts, encoder: Encoder) -> Path:
    # Named after what is in it: another encoder or other texts never meet these vectors.
    key = json_digest([encoder.ref, found.key]).removeprefix("sha256:")[:16]
    return case.work / "embeddings" / f"{key}.npy"
