"""`auditor demo`."""

import shlex
from pathlib import Path

import click

from auditor.cli import output


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("auditor-demo"),
    show_default=True,
    help="Folder for the student, the case and the reports.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def demo(out: Path, as_json: bool) -> int:
    """Distill a tiny student, then audit it and three other models beside the shipped controls.

    Uses the models that ship with the package; downloads nothing; under two minutes on two CPU
    cores. Suspects: the student, a fine-tuned copy of its teacher with its neurons in another
    order, an independent model, and a student of a sibling of the teacher.
    """
    from auditor.cli.findings import finish
    from auditor.demo import demonstrate

    made = demonstrate(out, output.progress())
    code = finish(made.case, None, as_json=as_json)
    if not as_json:
        _say_next(out, made.sealed, made.public_key)
    return code


def _say_next(out: Path, sealed: Path, key: Path) -> None:
    output.echo(f"\nall reports: {out / 'case' / 'data' / 'report.html'}")
    output.echo(f"distillation: {out / 'distilled' / 'report.html'}")
    output.echo(f"sealed and signed: {sealed}; check it, and recompute its numbers, by")
    output.echo(
        f"  auditor verify {shlex.quote(str(sealed))} --key {shlex.quote(str(key))} --replay"
    )
    output.echo(
        "next: compare two models of your own, with a control that you know is independent:"
    )
    output.echo("  auditor compare SUSPECT REFERENCE --control CONTROL")
