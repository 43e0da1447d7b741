"""Lists of likely tokens on their way into a file of rows of `auditor.collect.topk.topk_dtype`.

The longest list gives the rows their width, so it is known last. Until then the lists lie in
unnamed files of ``work/``: memory does not follow their number.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO

import numpy as np

from auditor.case import storage_errors
from auditor.collect.arrays import ArrayWriter
from auditor.collect.store import Closing
from auditor.collect.topk import UNLISTED, topk_dtype
from auditor.types import Array

_LIST = np.dtype([("probe", "<i4"), ("tokens", "<i4")])
_TOKEN = np.dtype([("id", "<i4"), ("logprob", "<f4")])
_BLOCK = 4096
"""Rows held at once."""


class ListedRows(Closing):
    """Lists of (token id, log-probability), each of one position of a probe."""

    def __init__(self, folder: Path) -> None:
        """Hold nothing yet.

        Args:
            folder: where the unnamed files lie.

        Raises:
            StorageError: it takes none.
        """
        self._folder, self._files = folder, ExitStack()
        self._shown = self._longest = self._count = 0
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lists = self._files.enter_context(_unnamed(folder))
            self._tokens = self._files.enter_context(_unnamed(folder))

    def __len__(self) -> int:
        """Return the number of lists."""
        return self._count

    @property
    def shown(self) -> int:
        """Number of lists that are not empty."""
        return self._shown

    def add(self, probe: int, lists: Sequence[Sequence[tuple[int, float]]]) -> None:
        """Keep the lists of some positions of a probe.

        Raises:
            StorageError: the disk is full.
        """
        lengths = [len(tokens) for tokens in lists]
        heads = np.zeros(len(lists), dtype=_LIST)
        heads["probe"], heads["tokens"] = probe, lengths
        listed = np.zeros(sum(lengths), dtype=_TOKEN)
        listed["id"] = [token for tokens in lists for token, _ in tokens]
        listed["logprob"] = [value for tokens in lists for _, value in tokens]
        with storage_errors(self._folder):
            self._lists.write(heads.tobytes())
            self._tokens.write(listed.tobytes())
        self._count += len(lists)
        self._shown += sum(map(bool, lengths))
        self._longest = max(self._longest, *lengths, 0)

    def write(self, path: Path) -> None:
        """Write a row for each list, in the order in which they came.

        Raises:
            CaseError, StorageError: as `ArrayWriter`.
        """
        with ArrayWriter(path, topk_dtype(self._longest), self._count) as writer:
            writer.resume([0])
            for heads, tokens in self._blocks():
                writer.append(self._rows(heads, tokens))
            writer.finish()

    def _blocks(self) -> Iterator[tuple[Array, Array]]:
        """Yield (n,) of dtype _LIST, and the tokens of these lists, one list after another."""
        with storage_errors(self._folder):  # what waits in their buffers is written here
            self._lists.seek(0)
            self._tokens.seek(0)
        while block := self._lists.read(_BLOCK * _LIST.itemsize):
            heads = np.frombuffer(block, dtype=_LIST)
            size = int(heads["tokens"].sum()) * _TOKEN.itemsize
            yield heads, np.frombuffer(self._tokens.read(size), dtype=_TOKEN)

    def _rows(self, heads: Array, tokens: Array) -> Array:
        """Return (n,) of dtype topk_dtype; a shorter list is filled up with what is no token."""
        k = self._longest
        places = np.arange(k) - heads["tokens"][:, None]  # (n, k), below 0: in the list
        rows = np.zeros(len(heads), dtype=topk_dtype(k))
        rows["probe"] = heads["probe"]
        rows["ids"], rows["logprobs"] = -1 - places, UNLISTED
        rows["ids"][places < 0] = tokens["id"]
        rows["logprobs"][places < 0] = tokens["logprob"]
        listed = np.exp(rows["logprobs"].astype(np.float64)).sum(axis=1)
        rows["tail"] = np.clip(1.0 - listed, 0.0, 1.0)
        return rows

    def close(self) -> None:
        """Forget the lists."""
        with suppress(OSError):  # what a full disk does not take is not needed any more
            self._files.close()


def _unnamed(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)
