"""The teacher's answers to the prompts, recorded as they come: RUN/generations.jsonl.

Prompts are answered in groups of fixed members, because rounding depends on what shares a batch:
after a kill the unfinished group is drawn again, and the file ends up the same byte for byte.
"""

import json
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.canon import canonical_json, json_digest, leaf_hash
from auditor.case import storage_errors
from auditor.distill.documents import prompt_digest
from auditor.distill.on_demand import OnDemand
from auditor.distill.recipe_data import Sampling
from auditor.distill.rows import Rows
from auditor.errors import CaseError
from auditor.progress import Progress
from auditor.types import Array, Decoding, Probe, Sample

if TYPE_CHECKING:
    from auditor.models.base import Model

GROUP = 32
"""Prompts answered together."""
BATCH_TOKENS = 4096
"""Tokens of one generating pass: decoding is bound by reading the weights, so wide batches pay."""


class Generations:
    """The file of answers: one record line per (prompt, repeat), each bound to the one before."""

    def __init__(self, path: Path, prompts: Rows[Probe], sampling: Sampling) -> None:
        self._path = path
        self._prompts = prompts
        self._sampling = sampling

    @property
    def wanted(self) -> int:
        """Lines of the finished file."""
        return len(self._prompts) * self._sampling.samples

    @property
    def is_complete(self) -> bool:
        """Whether every answer is recorded."""
        return len(self._whole_groups()) == self.wanted

    def read(self) -> "Answers":
        """Return the recorded answers of whole groups, in order of (prompt, repeat).

        Raises:
            CaseError: a line was changed, or answers another prompt.
        """
        answers = Answers(self._path, self._whole_groups())
        prev = ""
        for seq, line in enumerate(answers.lines()):
            row = _parsed(line)
            digest = self._prompts.digests[seq // self._sampling.samples]
            if (row.get("seq"), row.get("prev"), row.get("prompt_digest")) != (seq, prev, digest):
                raise CaseError(
                    f"{self._path}, line {seq + 1}: not the line that was written here",
                    hint="give a new --out; recorded answers are never edited",
                )
            prev = leaf_hash(line)
        return answers

    def draw(self, teacher: "Model", progress: Progress, who: str = "teacher") -> None:
        """Add the answers that are missing; `who` answers is shown with the progress.

        Raises:
            StorageError: the disk is full; whole groups are kept.
        """
        ends = self._whole_groups()
        with storage_errors(self._path), self._path.open("ab") as stream:
            stream.truncate(int(ends[-1]) if len(ends) else 0)
        decoding = decoding_of(self._sampling)
        seq = len(ends)
        prev = leaf_hash(Answers(self._path, ends).line(seq - 1)) if seq else ""
        with progress.task(f"{who} answers prompts", self.wanted) as task:
            task.advance(seq)
            for start in range(seq // self._sampling.samples, len(self._prompts), GROUP):
                group = tuple(self._prompts[start : start + GROUP])
                drawn = teacher.sample(group, self._sampling.samples, decoding, self._sampling.seed)
                written = []
                for sample in drawn:
                    probe = group[(seq // self._sampling.samples) - start]
                    line = canonical_json(_row(sample, probe, self._sampling, seq=seq, prev=prev))
                    seq, prev = seq + 1, leaf_hash(line)
                    written.append(line + b"\n")
                    task.advance()
                # One write a group: a reader finds whole groups or drops the last one.
                with storage_errors(self._path), self._path.open("ab") as stream:
                    stream.write(b"".join(written))

    def _whole_groups(self) -> Array:
        """Return the ends of the lines of whole groups, (n,) int64 bytes from the start."""
        ends = line_ends(self._path) if self._path.is_file() else np.empty(0, np.int64)
        group = GROUP * self._sampling.samples
        return ends if len(ends) == self.wanted else ends[: len(ends) // group * group]


class Answers(OnDemand[Sample]):
    """Recorded answers, each read when it is asked for: 8 bytes in memory an answer."""

    def __init__(self, path: Path, ends: Array) -> None:
        self._path = path
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    def member(self, index: int) -> Sample:
        """Return one answer."""
        return _sample(_parsed(self.line(index)))

    def __iter__(self) -> Iterator[Sample]:
        return (_sample(_parsed(line)) for line in self.lines())

    def line(self, index: int) -> bytes:
        """Return a line without its break."""
        start = int(self._ends[index - 1]) if index else 0
        with self._path.open("rb") as stream:
            stream.seek(start)
            return stream.read(int(self._ends[index]) - start - 1)

    def lines(self) -> Iterator[bytes]:
        """Yield all lines without their breaks."""
        with self._path.open("rb") as stream:
            for line in islice(stream, len(self)):
                yield line[:-1]


def line_ends(path: Path) -> Array:
    """Return the byte after each line break of a file, (n,) int64."""
    found = array("q")
    place = 0
    with path.open("rb") as stream:
        for line in stream:
            place += len(line)
            if line.endswith(b"\n"):
                found.append(place)
    return np.array(found, dtype=np.int64)


def decoding_of(sampling: Sampling) -> Decoding:
    """Return how a recipe's answers are drawn."""
    return Decoding(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_new_tokens=sampling.max_new_tokens,
    )


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _row(
    sample: Sample, probe: Probe, sampling: Sampling, *, seq: int, prev: str
) -> dict[str, Any]:
    request = {
        "prompt": sample.prompt,
        "decoding": decoding_of(sampling).as_json(),
        "seed": sampling.seed,
    }
    return {
        "seq": seq,
        "prev": prev,
        "prompt_id": sample.probe_id,
        "prompt_digest": prompt_digest(probe),
        "repeat": sample.repeat,
        "request": request,
        "request_digest": json_digest(request),
        "text": sample.text,
        "prompt_ids": list(sample.prompt_ids),
        "token_ids": list(sample.token_ids),
        "finish_reason": sample.finish_reason,
    }


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        probe_id=row["prompt_id"],
        repeat=row["repeat"],
        prompt=row["request"]["prompt"],
        prompt_ids=tuple(row["prompt_ids"]),
        token_ids=tuple(row["token_ids"]),
        text=row["text"],
        finish_reason=row["finish_reason"],
    )
