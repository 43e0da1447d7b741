"""``python -m auditor.controls.comparison``: run the opponents, and write the tables."""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from auditor.errors import AuditorError, InputError
from auditor.progress import Task


@click.group()
def main() -> None:
    """Compare other tools and published statistics on models of known relation."""


@main.command()
@click.argument("rows", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--reference", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True
)
@click.option(
    "--suspects",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="JSON {name: [folder, role or role/kind, family, split, headline]}; folders from there.",
)
@click.option("--opponent", "opponents", multiple=True, help="Only these; all by default.")
@click.option(
    "--python", "pythons", multiple=True, metavar="TOOL=PATH", help="Interpreter that has a tool."
)
@click.option("--retry", is_flag=True, help="Ask again where there was no score.")
@click.option("--seconds", type=float, default=300.0, show_default=True, help="Limit of a pair.")
def run(rows: Path, reference: Path, suspects: Path, **options: Any) -> None:
    """Ask every opponent about every suspect; rows that ROWS has are not done again."""
    from auditor.controls.comparison.run import OPPONENTS, Settings, compare_opponents

    settings = Settings(
        opponents=options["opponents"] or OPPONENTS,
        pythons=_pythons(options["pythons"]),
        seconds=options["seconds"],
        retry=options["retry"],
        progress=_Bars(),
    )
    found = compare_opponents(rows, reference, _suspects(suspects), settings)
    click.echo(f"{rows}: {len(found)} rows")


@main.command()
@click.argument(
    "rows", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1, required=True
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--split", default="locked", show_default=True, help="Whose models count; or `all`.")
@click.option("--about", multiple=True, help="A sentence under the title.")
def report(rows: tuple[Path, ...], out: Path, split: str, about: tuple[str, ...]) -> None:
    """Write comparison.md and comparison.json from files of rows."""
    from auditor.controls.comparison.run import read_rows
    from auditor.controls.comparison.summary import summarise
    from auditor.controls.comparison.tables import write_comparison

    found = [row for path in rows for row in read_rows(path)]
    summaries = summarise(found, split=None if split == "all" else split)
    for path in write_comparison(out, summaries, about=about):
        click.echo(path)


class _Bars:
    """A bar on stderr where that is a terminal; click shows nothing of it elsewhere."""

    @contextlib.contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """Open a task of `total` pairs."""
        with click.progressbar(length=total, label=description, file=sys.stderr) as bar:
            yield _Bar(bar)


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()  # two opponents advance it

    def advance(self, amount: int = 1) -> None:
        """Move the bar."""
        with self._lock:
            self._bar.update(amount)


def _pythons(pairs: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for pair in pairs:
        tool, separator, path = pair.partition("=")
        if not separator:
            raise InputError(f"--python {pair!r} is not TOOL=PATH")
        found[tool] = Path(path)
    return found


def _suspects(path: Path) -> dict[str, tuple[Any, ...]]:
    try:
        content = json.loads(path.read_bytes())
        return {name: (path.parent / folder, *rest) for name, (folder, *rest) in content.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no list of suspects ({error})") from error


if __name__ == "__main__":
    try:
        main()
    except AuditorError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        sys.exit(2)
