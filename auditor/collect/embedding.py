"""Sentence embeddings of every reply; each distinct text is embedded once, by digest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from auditor.canon import digest, json_digest
from auditor.case import Case
from auditor.collect.arrays import ArrayReader, ArrayWriter
from auditor.collect.collection import Collection
from auditor.stored import iterate_records
from auditor.types import Array

_BATCH = 256


class Encoder(Protocol):
    """What embeds texts: see `auditor.models.encoder`."""

    @property
    def ref(self) -> dict[str, Any]:
        """Name, digest and ``dimension`` E."""
        ...

    def embed(self, texts: Sequence[str]) -> Array:
        """Return (n, E) float32 unit rows."""
        ...


@dataclass(frozen=True, slots=True)
class DistinctTexts:
    """The different replies of all subjects, in the order of first appearance."""

    texts: list[str]
    row_of: dict[str, int]
    """Row of a text by its digest."""


def distinct_texts(case: Case, subjects: Sequence[str]) -> DistinctTexts:
    """Return every reply of the subjects once."""
    found = DistinctTexts([], {})
    for subject in subjects:
        for record in iterate_records(case, subject):
            key = digest(record["text"].encode())
            if record["outcome"] != "error" and key not in found.row_of:
                found.row_of[key] = len(found.texts)
                found.texts.append(record["text"])
    return found


def embed_texts(run: Collection, found: DistinctTexts, encoder: Encoder) -> Iterator[int]:
    """Write the vectors that ``work/embeddings`` still lacks; yield the texts done, by batch.

    Raises:
        StorageError: the disk is full; the batches written before are kept.
    """
    path = _cache(run.case, found, encoder)
    if path.is_file():
        yield len(found.texts)
        return
    width, total = encoder.ref["dimension"], len(found.texts)
    with ArrayWriter(path, np.float32, total, (width,)) as writer:
        done = writer.resume([min(end, total) for end in range(0, total + _BATCH, _BATCH)])
        run.log_cut(path, writer.cut)
        for start in range(0, total, _BATCH):
            batch = found.texts[start : start + _BATCH]
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
    rows = [_row(record, found) for record in iterate_records(case, subject)]
    width = source.shape[1]
    with ArrayWriter(path, np.float32, len(rows), (width,)) as writer:
        writer.resume([0])
        for start in range(0, len(rows), _BATCH):
            picked = rows[start : start + _BATCH]
            block = np.full((len(picked), width), np.nan, dtype=np.float32)
            for place, row in enumerate(picked):
                if row is not None:
                    block[place] = source.read(row, row + 1)[0]
            writer.append(block)
        writer.finish()


def _row(record: dict[str, str], found: DistinctTexts) -> int | None:
    if record["outcome"] == "error":
        return None
    return found.row_of[digest(record["text"].encode())]


def _cache(case: Case, found: DistinctTexts, encoder: Encoder) -> Path:
    # Named after what is in it: another encoder or other texts never meet these vectors.
    key = json_digest([encoder.ref, list(found.row_of)]).removeprefix("sha256:")[:16]
    return case.work / "embeddings" / f"{key}.npy"
