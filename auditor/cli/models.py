"""`auditor models`."""

import dataclasses

import click

from auditor.cli import output


@click.group()
def models() -> None:
    """Identify models."""


@models.command()
@click.argument("spec")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def inspect(spec: str, as_json: bool) -> None:
    """Show what SPEC is: digest of its weights, tokenizer and template, size, access."""
    from auditor.models.specifier import identify

    ref = identify(spec)
    fields = {**dataclasses.asdict(ref), "access": ref.access.name}
    if as_json:
        output.emit_json({"schema": "auditor/model/1", **fields})
        return
    for name, value in fields.items():
        shown = "not available" if value is None else value
        output.echo(f"{name:17} {shown:,}" if isinstance(value, int) else f"{name:17} {shown}")
