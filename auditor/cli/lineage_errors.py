"""`auditor lineage errors`: which of the teacher's wrong answers a student repeats."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--teacher", metavar="SPEC", help="Where the teacher is. [default: as recorded]")
@click.option(
    "--suite", "suites", multiple=True, metavar="NAME", help="As for compare. [default: reasoning]"
)
@click.option("--probes", type=click.IntRange(min=1), help="Questions in total. [default: all]")
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="Of an answer, in tokens.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def errors(
    run: Path,
    teacher: str | None,
    suites: tuple[str, ...],
    probes: int | None,
    max_new_tokens: int,
    as_json: bool,
) -> None:
    """Ask teacher and student of RUN questions with a known answer: which errors are inherited.

    Says by category what the student learned and which wrong answers of the teacher it repeats,
    beside the student before training and shuffled answers, and writes it into the report of RUN.
    """
    from auditor.cli.distill import show as print_values
    from auditor.inherited_errors import DEFAULT_SUITES, Questions, inherited_errors
    from auditor.report.distillation import write_run_report

    asked = Questions(suites=suites or DEFAULT_SUITES, probes=probes, max_new_tokens=max_new_tokens)
    found = inherited_errors(run, asked, teacher=teacher, progress=output.progress())
    write_run_report(run)
    print_values(found if as_json else of_all(found), as_json=as_json)


def of_all(found: dict[str, Any]) -> dict[str, Any]:
    """Return the results over all categories of inherited-errors.json, to be printed."""
    kept = ("probes", "right", "learned", "errors", "repeated", "p_shuffled", "p_untouched")
    return {**{key: found[key] for key in kept}, "better": _better(found)}


def _better(found: dict[str, Any]) -> str:
    """Say whether the student repeats more than chance and than before, with the p-values."""
    if found["better"] is None:
        return "not known: the teacher makes no error"
    return (
        f"{'yes' if found['better'] else 'no'}, with exact one-sided p "
        f"{found['p_shuffled']:.2g} against its shuffled answers and "
        f"{found['p_untouched']:.2g} against the untouched student"
    )
