"""`auditor models`."""

import dataclasses
from typing import Any

import click

from auditor.cli import output


@click.group()
def models() -> None:
    """Identify models."""


@models.command()
@click.argument("spec")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def inspect(spec: str, as_json: bool) -> None:
    """Show what SPEC is: digest of its weights, tokenizer and template, size, access.

    Of recorded outputs also the format that was recognised, and what the file lacks.
    """
    from auditor.models.specifier import identify, parse

    ref = identify(spec)
    fields = {**dataclasses.asdict(ref), "access": ref.access.name}
    recorded = _recorded(spec) if parse(spec).scheme == "records" else None
    if as_json:
        beside = {} if recorded is None else {"recorded": recorded}
        output.emit_json({"schema": "auditor/model/1", **fields, **beside})
        return
    for name, value in fields.items():
        shown = "not available" if value is None else value
        output.echo(f"{name:17} {shown:,}" if isinstance(value, int) else f"{name:17} {shown}")
    for limit in (recorded or {}).get("limits", ()):
        output.echo(limit)


def _recorded(spec: str) -> dict[str, Any]:
    from auditor.models.recorded import open_recorded
    from auditor.models.specifier import parse

    model = open_recorded(parse(spec))
    model.close()
    return model.facts.as_json()
