"""`auditor probes`."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from auditor.cli import output

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.group()
def probes() -> None:
    """List, show, check, digest and import probe suites.

    NAME is a shipped suite (`instructions`, or `instructions@1`), a suite folder, or an items
    file of your own (JSON lines).
    """


@probes.command("list")
@_JSON
def list_(as_json: bool) -> None:
    """List the shipped suites."""
    from auditor.collect.suite import list_suites

    suites = list_suites()
    if as_json:
        output.emit_json({"suites": [_summary(suite) for suite in suites]})
        return
    for suite in suites:
        output.echo(f"{suite.id:20} {len(suite.probes):5} probes  {suite.licence:8} {suite.title}")


@probes.command()
@click.argument("name")
@click.option(
    "--reveal",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Items of a part that was published by digest only; checked against that digest.",
)
@_JSON
def show(name: str, reveal: Path | None, as_json: bool) -> None:
    """Print every probe of NAME."""
    from auditor.collect.suite import load_suite

    suite = load_suite(name, reveal=reveal)
    if as_json:
        items = [dataclasses.asdict(probe) for probe in suite.probes]
        output.emit_json({**_summary(suite), "items": items})
        return
    for probe in suite.probes:
        text = probe.text if probe.text is not None else probe.messages[-1].content
        output.echo(f"{probe.id}\t{probe.category}\t{probe.language or ''}\t{text!r}")


@probes.command()
@click.argument("names", nargs=-1)
def lint(names: tuple[str, ...]) -> int:
    """Check NAMES (default: all shipped): licence, unique ids, digests, released versions."""
    from auditor.collect.suite import lint_root, lint_suite, list_suites, suite_path
    from auditor.data import data_dir

    if names:
        found = {name: lint_suite(suite_path(name)) for name in names}
        problems = [f"{name}: {problem}" for name, lines in found.items() for problem in lines]
        count = len(names)
    else:
        problems = lint_root(data_dir("probes"))
        count = len(list_suites())
    for problem in problems:
        output.say(problem)
    output.echo(f"{count} suites checked, {len(problems)} problems")
    return output.BAD_INPUT if problems else output.DONE


@probes.command()
@click.argument("name")
def digest(name: str) -> None:
    """Print the digest of NAME."""
    from auditor.collect.suite import load_suite

    suite = load_suite(name)
    output.echo(f"{suite.digest}  {suite.id}")


@probes.command("import")
@click.argument("file", metavar="FILE")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The new suite folder.",
)
@click.option("--name", default="imported", show_default=True, help="Name of the suite.")
@click.option("--title", help="One line on what it is. [default: the file's name]")
@click.option(
    "--licence",
    default="LicenseRef-unstated",
    show_default=True,
    help="Licence of the prompts: an SPDX identifier, or LicenseRef-NAME.",
)
@click.option("--author", "authors", multiple=True, help="Who wrote the prompts; repeatable.")
@click.option(
    "--language", default="und", show_default=True, help="Their language, BCP 47; und: unknown."
)
@click.option(
    "--kind", type=click.Choice(["chat", "text"]), help="Which to take of a file with both."
)
@_JSON
def import_(
    file: str, out: Path, title: str | None, authors: tuple[str, ...], as_json: bool, **about: Any
) -> None:
    """Make a suite of what was asked in recorded outputs, to ask other models the same.

    FILE is records:FILE with its options, or a bare .jsonl, .eval, .json or .parquet file.
    """
    from auditor.collect.suite_import import About, import_suite

    who = authors or ("unstated",)
    named = title or Path(file.partition("?")[0]).name
    done = import_suite(file, out, About(title=named, authors=who, **about))
    if as_json:
        found = {"folder": str(out), "left_out": done.left_out}
        output.emit_json({**_summary(done.suite), **found})
        return
    click.echo(f"{out}  {done.suite.id}  {len(done.suite.probes)} probes")
    if done.left_out:
        output.say(f"{done.left_out} prompts of another kind or form were left out")


def _summary(suite: Any) -> dict[str, Any]:
    return {
        "name": suite.name,
        "version": suite.version,
        "title": suite.title,
        "licence": suite.licence,
        "digest": suite.digest,
        "probes": len(suite.probes),
        "sealed": suite.sealed,
    }
