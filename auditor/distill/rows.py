"""Rows of data that stay on disk: documents and prompts, read again whenever they are asked for.

In memory is kept where a row begins and ends, and its digest: 56 bytes a row, whatever its length.
A row that is read again must still have its digest.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, overload

import numpy as np

from auditor.distill.digests import Digests, digests_of
from auditor.distill.row_policy import RowFlags
from auditor.errors import RecipeError
from auditor.types import Array

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[T]):
    """A document or a prompt, with what it says about itself."""

    value: T
    flags: RowFlags | None = None
    """None for text that comes from nobody."""
    category: str | None = None
    """What kind of text a document says that it is: scores are reported by it."""


class RowSource(Protocol[T]):
    """Where rows come from."""

    name: str

    def scan(self) -> Iterator[Row[T]]:
        """Yield all rows in order, checking them."""

    def read(self, places: Sequence[int] | Array) -> Iterator[Row[T]]:
        """Yield the rows at `places`, counted from 0 in the order of `scan`."""


class ListedRows(Generic[T]):
    """Rows in memory: a suite's prompts, texts that a rule wrote."""

    def __init__(self, name: str, rows: Sequence[Row[T]]) -> None:
        self.name = name
        self._rows = rows

    def scan(self) -> Iterator[Row[T]]:
        """Yield all rows."""
        return iter(self._rows)

    def read(self, places: Sequence[int] | Array) -> Iterator[Row[T]]:
        """Yield the rows at `places`."""
        return (self._rows[int(place)] for place in places)


class View(Sequence[U]):
    """Something of each row, computed when asked for."""

    def __init__(self, rows: "Rows[Any]", form: Callable[[Row[Any]], U]) -> None:
        self._rows = rows
        self._form = form

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> U: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[U]: ...
    def __getitem__(self, index: int | slice) -> U | Sequence[U]:
        """Return one, or those of a slice."""
        if isinstance(index, slice):
            return View(self._rows.pick(np.arange(len(self))[index]), self._form)
        return self._form(self._rows.row(index))

    def __iter__(self) -> Iterator[U]:
        return map(self._form, self._rows.rows())

    def pick(self, positions: Array) -> "View[U]":
        """Return the view of the rows at `positions`."""
        return View(self._rows.pick(positions), self._form)


class Rows(Sequence[T]):
    """The values of rows from one or several sources, in order."""

    def __init__(
        self,
        sources: Sequence[RowSource[T]],
        digest_of: Callable[[T], str],
        digests: Digests,
        places: Array,
        begins: Array,
    ) -> None:
        """Take (n,) int64 `places`, counted over all sources, and (s + 1,) where each begins."""
        self._sources = sources
        self._begins = begins
        self._digest_of = digest_of
        self._places = places
        self.digests = digests
        """Of each value."""

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows[T]": ...
    def __getitem__(self, index: int | slice) -> "T | Rows[T]":
        """Return one value, or the rows of a slice."""
        if isinstance(index, slice):
            return self.pick(np.arange(len(self))[index])
        return self.row(index).value

    def __iter__(self) -> Iterator[T]:
        return (row.value for row in self.rows())

    def pick(self, positions: Array) -> "Rows[T]":
        """Return the rows at `positions`, in that order."""
        return Rows(
            self._sources,
            self._digest_of,
            self.digests.pick(positions),
            self._places[positions],
            self._begins,
        )

    def row(self, index: int) -> Row[T]:
        """Return one row.

        Raises:
            IndexError: there is none.
            RecipeError: it was changed since it was first read.
        """
        number = range(len(self))[index]
        return next(self.pick(np.array([number])).rows())

    def rows(self) -> Iterator[Row[T]]:
        """Yield all rows, opening each file once for rows that follow each other.

        Raises:
            RecipeError: a file was changed since it was first read.
        """
        of = np.searchsorted(self._begins, self._places, side="right") - 1
        ends = [*(np.flatnonzero(np.diff(of)) + 1).tolist(), len(self)] if len(self) else []
        start = 0
        for end in ends:
            number = int(of[start])
            source = self._sources[number]
            read = source.read(self._places[start:end] - self._begins[number])
            for index, row in enumerate(read, start):
                if self._digest_of(row.value) != self.digests[index]:
                    raise changed_while_read(source.name)
                yield row
            start = end

    def view(self, form: Callable[[Row[T]], U]) -> View[U]:
        """Return `form` of each row."""
        return View(self, form)


def scanned(sources: Sequence[RowSource[T]], digest_of: Callable[[T], str]) -> Rows[T]:
    """Return the rows of all sources, each read once to check and to digest it.

    Raises:
        RecipeError: a source cannot be read, or holds a row that is malformed.
    """
    counts = array("q")

    def found() -> Iterator[str]:
        for source in sources:
            counts.append(0)
            for row in source.scan():
                counts[-1] += 1
                yield digest_of(row.value)

    digests = digests_of(found())
    begins = np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.int64))]).astype(np.int64)
    return Rows(sources, digest_of, digests, np.arange(len(digests)), begins)


def changed_while_read(name: str) -> RecipeError:
    """Return the error for a file that is not any more what it was when it was first read."""
    return RecipeError(
        f"{name} was changed while it was being read",
        hint="repeat the command when nothing writes to that file any more",
    )
