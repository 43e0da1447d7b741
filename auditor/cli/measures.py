"""`auditor measures`."""

import inspect

import click

from auditor.cli import output


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def measures(name: str | None, as_json: bool) -> None:
    """List the measures, or explain NAME: formula, source, range, what it is no evidence of."""
    from auditor.measures import all_measures, get

    chosen = [get(name)] if name else list(all_measures())
    if as_json:
        output.emit_json({"measures": [measure.as_json() for measure in chosen]})
    elif name:
        output.echo(f"{chosen[0].id}  [{chosen[0].unit}, closer is {chosen[0].closer}]\n")
        output.echo(inspect.cleandoc(chosen[0].function.__doc__ or ""))
    else:
        for measure in chosen:
            summary = (measure.function.__doc__ or "").strip().partition("\n")[0]
            output.echo(f"{measure.name:24} {measure.group:15} {summary}")
