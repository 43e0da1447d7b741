"""`auditor collect`, `measure` and `judge`: the stages of a case on their own."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output
from auditor.cli.executing import executor_of, executor_options
from auditor.cli.spending import limit_options, limits_of

_CASE = click.argument("folder", metavar="CASE", type=click.Path(path_type=Path))


@click.command()
@_CASE
@limit_options
@executor_options
def collect(folder: Path, **options: Any) -> None:
    """Run the models of CASE and store what they say; continues where it stopped."""
    from auditor.audit import collect as collect_models
    from auditor.audit import existing_draft
    from auditor.case import locked
    from auditor.collect.servers import ServerTerms

    case = existing_draft(folder)
    executor = executor_of(options, case.read_json("plan.json")["device"])
    terms = ServerTerms(limits=limits_of(**options))
    with locked(case):
        collect_models(case, output.progress(), terms, executor)
    output.echo(case.root)


@click.command()
@_CASE
def measure(folder: Path) -> None:
    """Compute the measures of a collected CASE; loads no model."""
    from auditor.audit import existing_draft
    from auditor.case import locked
    from auditor.measuring import measure_case

    case = existing_draft(folder)
    with locked(case):
        measure_case(case, output.progress())
    output.echo(case.data / "statistics.json")


@click.command()
@_CASE
def judge(folder: Path) -> None:
    """Draw the conclusion of a measured CASE."""
    from auditor.audit import existing_draft, judge_case
    from auditor.case import locked

    case = existing_draft(folder)
    with locked(case):
        judge_case(case)
    output.echo(case.data / "conclusion.json")
