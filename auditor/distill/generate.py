"""The teacher's answers to the prompts, recorded as they come: RUN/generations.jsonl.

Prompts are answered in groups of fixed members, because rounding depends on what shares a batch:
after a kill the unfinished group is drawn again, and the file ends up the same byte for byte.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import canonical_json, json_digest, leaf_hash
from auditor.case import atomic_write, storage_errors
from auditor.distill.documents import prompt_digest
from auditor.distill.recipe_data import Sampling
from auditor.errors import CaseError
from auditor.progress import Progress
from auditor.types import Decoding, Probe, Sample

if TYPE_CHECKING:
    from auditor.models.base import Model

GROUP = 32
"""Prompts answered together."""
BATCH_TOKENS = 4096
"""Tokens of one generating pass: decoding is bound by reading the weights, so wide batches pay."""


class Generations:
    """The file of answers: one record line per (prompt, repeat), each bound to the one before."""

    def __init__(self, path: Path, prompts: Sequence[Probe], sampling: Sampling) -> None:
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

    def read(self) -> list[Sample]:
        """Return the recorded answers of whole groups, in order of (prompt, repeat).

        Raises:
            CaseError: a line was changed, or answers another prompt.
        """
        return [_sample(row) for row in self._rows()]

    def draw(self, teacher: "Model", progress: Progress) -> None:
        """Add the answers that are missing.

        Raises:
            StorageError: the disk is full; whole groups are kept.
        """
        lines = self._whole_groups()
        atomic_write(self._path, b"".join(line + b"\n" for line in lines))
        decoding = decoding_of(self._sampling)
        seq, prev = len(lines), leaf_hash(lines[-1]) if lines else ""
        with progress.task("teacher answers prompts", self.wanted) as task:
            task.advance(seq)
            for start in range(seq // self._sampling.samples, len(self._prompts), GROUP):
                group = self._prompts[start : start + GROUP]
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

    def _whole_groups(self) -> list[bytes]:
        if not self._path.is_file():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        group = GROUP * self._sampling.samples
        return lines if len(lines) == self.wanted else lines[: len(lines) // group * group]

    def _rows(self) -> Iterator[dict[str, Any]]:
        prev = ""
        for seq, line in enumerate(self._whole_groups()):
            row = _parsed(line)
            probe = self._prompts[seq // self._sampling.samples]
            expected = (seq, prev, prompt_digest(probe))
            if (row.get("seq"), row.get("prev"), row.get("prompt_digest")) != expected:
                raise CaseError(
                    f"{self._path}, line {seq + 1}: not the line that was written here",
                    hint="give a new --out; recorded answers are never edited",
                )
            prev = leaf_hash(line)
            yield row


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
