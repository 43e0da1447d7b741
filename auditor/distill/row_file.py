"""A file of documents or prompts, read line by line: only the places of its rows stay in memory."""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from auditor.distill.rows import Row, changed_while_read
from auditor.errors import RecipeError
from auditor.types import Array

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text, or several that belong together."""

    number: int
    """Of the (first) line, from 1."""
    start: int
    """Its first byte in the file."""
    end: int
    """The byte after its last one, line break excluded."""
    text: str


class RowFile(Generic[T]):
    """Rows of one file: its lines that are not blank, or its parts between empty lines.

    A line ends with LF, CR LF or CR. The file's digest is that of its text with LF alone.
    """

    def __init__(
        self,
        path: Path,
        name: str,
        parse: Callable[[str, int], Row[T]],
        *,
        paragraphs: bool = False,
    ) -> None:
        """Name a file.

        Args:
            path: of the file.
            name: of the recipe's key and the file, for messages.
            parse: from the text of a row and the number of its line to the row.
            paragraphs: rows are parts between empty lines.
        """
        self.name = name
        self._path = path
        self._parse = parse
        self._split = _paragraphs if paragraphs else _filled
        self._starts, self._ends = array("q"), array("q")
        self._state: tuple[int, int] | None = None
        self._digest = ""

    @property
    def digest(self) -> str:
        """Digest of the whole text, known after `scan`."""
        return self._digest

    def scan(self) -> Iterator[Row[T]]:
        """Yield all rows, and remember where they are.

        Raises:
            RecipeError: the file is missing, empty, not UTF-8 or changes while it is read; or a row
                is malformed.
        """
        hasher = hashlib.sha256()
        with self._open() as stream:
            self._state = _state(stream)
            for line in self._split(self._lines(stream, hasher)):
                row = self._parse(line.text, line.number)
                self._starts.append(line.start)
                self._ends.append(line.end)
                yield row
            if _state(stream) != self._state:
                raise changed_while_read(self.name)
        if not self._starts:
            raise RecipeError(f"{self.name} is empty", hint="name a file with text in it")
        self._digest = "sha256:" + hasher.hexdigest()

    def read(self, places: Sequence[int] | Array) -> Iterator[Row[T]]:
        """Yield the rows at `places`.

        Raises:
            RecipeError: the file is missing now, or is not the one that was scanned.
        """
        with self._open() as stream:
            if _state(stream) != self._state:
                raise changed_while_read(self.name)
            for place in places:
                start, end = self._starts[place], self._ends[place]
                stream.seek(start)
                content = _line_feeds(stream.read(end - start))
                yield self._parse(self._decoded(content, 0), 0)

    @contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        try:
            with self._path.open("rb") as stream:
                yield stream
        except OSError as error:
            raise RecipeError(
                f"{self.name}: cannot read {self._path}: {error.strerror}",
                hint="file names in a recipe start at the recipe's own folder",
            ) from error

    def _lines(self, stream: BinaryIO, hasher: "hashlib._Hash") -> Iterator[Line]:
        start, number = 0, 0
        for raw in stream:
            content = _line_feeds(raw)
            hasher.update(content)
            at = start
            # A CR inside ends a line too; it is one byte, as the LF that takes its place.
            for part in content.removesuffix(b"\n").split(b"\n"):
                number += 1
                text = self._decoded(part, number)
                yield Line(number=number, start=at, end=at + len(part), text=text)
                at += len(part) + 1
            start += len(raw)

    def _decoded(self, content: bytes, number: int) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            where = f"{self.name}, line {number}" if number else self.name
            raise RecipeError(f"{where}: not UTF-8 text: {error}") from error


def _line_feeds(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _state(stream: BinaryIO) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def _filled(lines: Iterator[Line]) -> Iterator[Line]:
    return (line for line in lines if line.text.strip())


def _paragraphs(lines: Iterator[Line]) -> Iterator[Line]:
    """Yield each run of lines that are not empty as one line, unless all of it is blank."""
    run: list[Line] = []
    for line in lines:
        if line.text:
            run.append(line)
        elif run:
            yield from _joined(run)
            run = []
    yield from _joined(run)


def _joined(run: list[Line]) -> Iterator[Line]:
    text = "\n".join(line.text for line in run)
    if text.strip():
        yield Line(number=run[0].number, start=run[0].start, end=run[-1].end, text=text)
