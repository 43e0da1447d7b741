"""`auditor verify`: the checks V01 to V14 of a sealed case, and the level that they establish."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import output

if TYPE_CHECKING:
    from auditor.bundle.verify import Verification

_LEVELS = ("L1", "L2", "L3", "L4")


@click.command()
@click.argument("path", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Public key in PEM that must have signed; may be repeated. No key in CASE is trusted.",
)
@click.option(
    "--tsa-root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Root certificates in PEM of trusted time-stamp authorities; may be repeated.",
)
@click.option("--replay", is_flag=True, help="Recompute every statistic and the conclusion.")
@click.option(
    "--min-level",
    type=click.Choice(_LEVELS),
    default="L2",
    show_default=True,
    help="Exit with 6 below it: L1 intact, L2 signer known, L3 time trusted, L4 replayed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(
    path: Path,
    keys: tuple[Path, ...],
    roots: tuple[Path, ...],
    replay: bool,
    min_level: str,
    as_json: bool,
) -> int:
    """Check the sealed CASE, a folder or a zip. Nothing in it is run, nothing is changed.

    Exit codes: 0 verified to the level asked, 5 a check failed, 6 intact but not authenticated to
    the level asked, 2 no sealed case.
    """
    from auditor.bundle.keys import load_public_key
    from auditor.bundle.timestamp import load_certificates
    from auditor.bundle.verify import verify as verify_case

    found = verify_case(
        path,
        [load_public_key(key) for key in keys],
        roots=[root for name in roots for root in load_certificates(name)],
        replay=replay,
    )
    if as_json:
        output.emit_json(found.as_json())
    else:
        _show(found)
    if found.level == "L0":
        return output.VERIFICATION_FAILED
    return output.DONE if found.level >= min_level else output.NOT_AUTHENTICATED


def _show(found: "Verification") -> None:
    from auditor.bundle.verify import LEVELS

    for check in found.checks:
        output.echo(f"{check.id}  {check.outcome:7}  {check.title}")
        for detail in check.details:
            output.echo(f"       {detail}")
    output.echo(f"{found.level}   {LEVELS[found.level]}")
