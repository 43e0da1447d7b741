"""What all subjects of a case replied, each distinct text of a probe once.

The texts lie in an unnamed file of ``work/``; memory holds some tens of bytes a reply.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from auditor.case import Case, storage_errors
from auditor.failed import failed_names
from auditor.on_disk import Unnamed
from auditor.stored import iterate_records
from auditor.types import Array

_DIGEST = 8
"""Bytes of a text's digest. It tells the replies to one probe apart: of 10**4 different ones two
have the same with a probability of 3 * 10**-12."""


@dataclass(frozen=True, slots=True, eq=False)
class Replies:
    """Who said what."""

    said: Array
    """(A, P, N) int32: which of the different replies to a probe, in order of first appearance,
    each subject of the plan gave; -1 for none or an empty one."""
    counts: tuple[int, ...]
    """(P): the number of different replies to each probe."""
    starts: tuple[int, ...]
    """(P): the number of replies to the probes before each."""
    _firsts: Array
    """(total,) int64: the row of `_ends` where each different reply was given first."""
    _ends: Array
    """(A * P * N + 1,) int64: byte of the file after the text of each reply, by author."""
    _file: Unnamed

    def texts(self, probe: int) -> tuple[str, ...]:
        """Return the different replies to a probe, in order of first appearance; none empty."""
        start = self.starts[probe]
        firsts = self._firsts[start : start + self.counts[probe]]
        return tuple(map(self._text, firsts.tolist()))

    def _text(self, row: int) -> str:
        start, end = int(self._ends[row]), int(self._ends[row + 1])
        return self._file.read(start, end).decode("utf-8", "surrogatepass")

    @property
    def total(self) -> int:
        """Number of different replies, over all probes."""
        return sum(self.counts)


def read_replies(case: Case) -> Replies:
    """Return the replies in the records of every subject of the plan; one that failed gave none.

    Raises:
        CaseError: a file is missing or was changed.
        StorageError: there is no room for a copy of the texts.
    """
    plan = case.read_json("plan.json")
    names = [subject["name"] for subject in plan["subjects"]]
    probes = sum(len(suite["probes"]) for suite in plan["suites"])
    shape = (len(names), probes, plan["repeats"])
    digests = np.zeros(int(np.prod(shape)), dtype=np.uint64)
    ends = np.zeros(len(digests) + 1, dtype=np.int64)
    with storage_errors(case.work):
        file = Unnamed(case.work)
        with os.fdopen(file.descriptor, "wb", closefd=False) as stream:
            for row, text in enumerate(_texts(case, names, shape[1] * shape[2])):
                digests[row] = int.from_bytes(hashlib.sha256(text).digest()[:_DIGEST], "big")
                ends[row + 1] = ends[row] + stream.write(text)
    said, counts, firsts = _distinct(digests.reshape(shape), np.diff(ends).reshape(shape) > 0)
    starts = tuple([0, *accumulate(counts)][:-1])
    return Replies(said, counts, starts, firsts, ends, file)


def _texts(case: Case, names: list[str], planned: int) -> Iterator[bytes]:
    """Yield the text of every planned reply, by author; empty where there is none."""
    failed = failed_names(case)
    for name in names:
        if name in failed:
            yield from [b""] * planned
            continue
        for record in iterate_records(case, name):
            given = record["text"] if record["outcome"] == "ok" else ""
            yield given.encode("utf-8", "surrogatepass")


def _distinct(digests: Array, given: Array) -> tuple[Array, tuple[int, ...], Array]:
    """Return (`said`, `counts`, `_firsts`) of the digests (A, P, N) of the replies."""
    said = np.full(digests.shape, -1, dtype=np.int32)
    rows = np.arange(digests.size, dtype=np.int64).reshape(digests.shape)
    counts, firsts = [], [np.zeros(0, dtype=np.int64)]
    for probe in range(digests.shape[1]):
        there = given[:, probe]
        first, place = first_appearance(digests[:, probe][there])
        said[:, probe][there] = place
        counts.append(len(first))
        firsts.append(rows[:, probe][there][first])
    return said, tuple(counts), np.concatenate(firsts)


def first_appearance(values: Array) -> tuple[Array, Array]:
    """Return where each of the different values came first, and which of them each value is."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return first[order], place[inverse]
