"""`auditor diff`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from auditor.cli import output

_CASE = click.Path(path_type=Path)


@click.command()
@click.argument("a", type=_CASE)
@click.argument("b", type=_CASE)
@click.option(
    "--exit-code",
    "by_exit_code",
    is_flag=True,
    help="Exit with 3 if anything but the environment differs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def diff(a: Path, b: Path, by_exit_code: bool, as_json: bool) -> None:
    """Show what differs between the cases A and B, and by how much.

    Plan, subjects, environment, replies, measurements and conclusions; sealed cases or drafts.
    """
    from auditor.audit import existing_case
    from auditor.bundle.difference import difference, is_same

    found = difference(existing_case(a), existing_case(b))
    if as_json:
        output.emit_json(found)
    else:
        _show(found, same=is_same(found))
    if by_exit_code and not is_same(found):
        sys.exit(output.GATE_MET)


def _show(found: dict[str, Any], *, same: bool) -> None:

    for line in _lines(found):
        output.echo(line)
    if same:
        output.echo("same plan, subjects, replies, measurements and conclusions")


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for key in ("plan", "subjects", "environment"):
        for row in found[key]:
            yield f"{key} {row['key']}: {row['a']} -> {row['b']}"
    for row in found["records"]:
        if row["changed"] or row["only_a"] or row["only_b"]:
            text = "{file}: {same} replies the same, {changed} changed, {only_a} only in A, "
            yield (text + "{only_b} only in B").format(**row)
    for row in found["measurements"]:
        yield _measurement(row)
    for row in found["conclusions"]:
        yield f"{row['suspect']} {row['field']}: {row['a']} -> {row['b']}"


def _measurement(row: dict[str, Any]) -> str:
    from auditor.report.words import number

    sides = []
    for side in (row["a"], row["b"]):
        value = None if side is None else side["value"]
        sides.append("none" if value is None else number(value))
    text = f"{row['suspect']} {row['measure']}: {sides[0]} -> {sides[1]}"
    if row["change"] is not None:
        text += f" ({row['change']:+.3g})"
    return text + (", intervals apart" if row["apart"] else "")
