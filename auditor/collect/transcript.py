"""How likely each subject finds the texts that the reference was trained on, in committed order.

The reference must be the student of a distillation run: RUN/student, beside RUN/lineage.json, whose
digests commit to RUN/transcript.jsonl and to the student's weights.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import digest
from auditor.collect.arrays import ArrayWriter
from auditor.collect.collection import Collection
from auditor.collect.store import part_path
from auditor.errors import InputError
from auditor.models.base import Model
from auditor.models.specifier import parse
from auditor.panel import TRANSCRIPT
from auditor.types import Access, Array, Score

SCHEMA = "auditor/transcript/1"
TEXTS = 512
"""At most this many texts, evenly spread over the order, are scored."""
BYTES = 480
"""Of each text, from its start: a byte-level model of 512 positions reads them."""
_NONE = "the reference has no committed training order"


@dataclass(frozen=True, slots=True)
class CommittedText:
    """A text that the reference was trained on."""

    position: int
    """In the order in which the reference last saw its texts."""
    step: int
    text: str


def score_transcript(run: Collection, model: Model, name: str) -> dict[str, str]:
    """Write a subject's scores of the committed texts; return why they are missing, if they are.

    Raises:
        StorageError: the disk is full; the batches written before are kept.
    """
    reason = run.access_reason(model.ref, Access.LOGITS)
    if reason:
        return {"transcripts": reason}
    reference = run.plan["subjects"][0]
    try:
        texts = committed_texts(reference["spec"], reference["digest"])
        if name != run.reference and not run.case.array("transcript", run.reference).is_file():
            return {"transcripts": "the reference cannot score the texts that it was trained on"}
        run.show(f"transcript {name}", len(texts), _write_scores(run, model, name, texts))
    except InputError as error:
        # No order, or one that this model cannot read; what it said itself still counts.
        part_path(run.case.array("transcript", name)).unlink(missing_ok=True)
        return {"transcripts": error.message}
    return {}


def committed_texts(spec: str, student: str | None) -> list[CommittedText]:
    """Return the texts of the run whose student `spec` names, by rising position.

    Args:
        spec: specifier of the reference.
        student: digest of its weights.

    Raises:
        InputError: it is no student of a run, the run committed to no order, or a file of it was
            changed; the message says which.
    """
    parsed = parse(spec)
    folder = parsed.path.parent
    if parsed.scheme != "local" or not (folder / "lineage.json").is_file():
        raise InputError(f"{_NONE}: {spec} is not the student folder of a distillation run")
    lineage = _lineage(folder / "lineage.json")
    committed = lineage.get("files", {}).get("transcript.jsonl")
    if committed is None:
        raise InputError(f"{_NONE}: the lineage of its run names no transcript.jsonl")
    if student is None or lineage.get("student", {}).get("digest") != student:
        raise InputError(f"{_NONE}: it is not the student that the lineage beside it describes")
    path = folder / "transcript.jsonl"
    content = path.read_bytes() if path.is_file() else b""
    if digest(content) != committed:
        raise InputError(f"{_NONE}: {path.name} is missing or not the one of the lineage")
    return _selected(content)


def _lineage(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{_NONE}: {path.name} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _selected(content: bytes) -> list[CommittedText]:
    """Return the texts to score. The digest was checked, so a run of ours wrote this."""
    header, *rows = [json.loads(line) for line in content.splitlines()]
    if header["schema"] != SCHEMA:
        raise InputError(f"{_NONE}: this release reads {SCHEMA}, found {header['schema']}")
    chosen = np.linspace(0, len(rows) - 1, min(len(rows), TEXTS)).round().astype(np.int64)
    texts = [
        CommittedText(rows[i]["position"], rows[i]["step"], _head(rows[i]["text"]))
        for i in np.unique(chosen).tolist()
    ]
    if not texts:
        raise InputError(f"{_NONE}: its run was trained on no text")
    return texts


def _head(text: str) -> str:
    return text.encode()[:BYTES].decode(errors="ignore")


def _write_scores(
    run: Collection, model: Model, name: str, texts: Sequence[CommittedText]
) -> Iterator[int]:
    """Write what is lacking of arrays/transcript, in committed order; yield texts done."""
    path = run.case.array("transcript", name)
    if path.is_file():
        yield len(texts)
        return
    longest = max(len(model.encode(text.text).token_ids) for text in texts)
    size = max(1, run.plan["batch_tokens"] // max(longest, 1))
    starts = range(0, len(texts), size)
    with ArrayWriter(path, TRANSCRIPT, len(texts)) as writer:
        done = writer.resume([min(start + size, len(texts)) for start in starts])
        run.log_cut(path, writer.cut)
        for start in starts:
            batch = texts[start : start + size]
            if start >= done:
                scores = model.score([text.text for text in batch])
                writer.append(_rows(batch, list(scores)))
            yield len(batch)
        writer.finish()


def _rows(texts: Sequence[CommittedText], scores: Sequence[Score]) -> Array:
    rows = np.zeros(len(texts), dtype=TRANSCRIPT)
    rows["step"] = [text.step for text in texts]
    rows["text"] = [text.position for text in texts]
    # Without a start token the first token is predicted by nothing.
    rows["bytes"] = [int(score.byte_ends[-1]) - score.first_byte if len(score.byte_ends) else 0
                     for score in scores]  # fmt: skip
    rows["logprob"] = [float(score.logprobs.sum()) for score in scores]
    return rows
