"""`auditor certify`."""

from pathlib import Path

import click

from auditor.bundle.certificate import RULES
from auditor.cli import output


@click.command()
@click.argument("bundle", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--rule",
    type=click.Choice(RULES),
    required=True,
    help="902-13: certificate of the process; 902-14: of the copy; 702, frcp-26: checklists.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the draft here, outside of the case; it is printed otherwise.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def certify(bundle: Path, rule: str, out: Path | None, as_json: bool) -> None:
    """Draft a certificate or a checklist from the sealed CASE, for a person to complete and sign.

    Reads every file first. Only facts of the case are filled in; blanks are marked. Not legal
    advice.
    """
    from auditor.bundle.certificate import certificate
    from auditor.case import atomic_write
    from auditor.errors import InputError

    if out is not None and out.exists():
        raise InputError(f"{out} exists", hint="give another --out; nothing is replaced")
    if out is not None and out.resolve().is_relative_to(bundle.resolve()):
        raise InputError(f"{out} lies in the case", hint="a sealed case is never changed")
    text = certificate(bundle, rule)
    if out is not None:
        atomic_write(out, text.encode())
    if as_json:
        place = None if out is None else str(out)
        output.emit_json({"rule": rule, "written": place, "draft": None if out else text})
        return
    if out is None:
        output.write(text)
        return
    output.say(f"draft written to {out}: read it, complete the blanks, have it reviewed")
