"""`auditor verify`: the checks V01 to V14 of a sealed case, and the level that they establish."""

import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import output

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from auditor.bundle.verify import Trust, Verification

_LEVELS = ("L1", "L2", "L3", "L4")
_FILE = click.Path(path_type=Path, dir_okay=False)
_INDENT = " " * 7
_NARROWEST = 40
"""Columns."""


@click.command()
@click.argument("path", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=_FILE,
    help="Public key in PEM that must have signed; may be repeated. No key in CASE is trusted.",
)
@click.option(
    "--tsa-root",
    "roots",
    multiple=True,
    type=_FILE,
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
@click.option(
    "--svr",
    type=_FILE,
    metavar="OUT.json",
    help="Write what passed as an in-toto Simple Verification Result (SVR v0.2); nothing is "
    "replaced.",
)
@click.option(
    "--svr-key",
    type=_FILE,
    help="Private key in PEM of the verifier, which signs the result (DSSE envelope).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def verify(
    path: Path,
    keys: tuple[Path, ...],
    roots: tuple[Path, ...],
    replay: bool,
    min_level: str,
    svr: Path | None,
    svr_key: Path | None,
    as_json: bool,
) -> int:
    """Check the sealed CASE, a folder or a zip. Nothing in it is run, nothing is changed.

    Exit codes: 0 verified to the level asked, 4 only V09 failed (the files are as sealed, the audit
    is not the planned one), 5 another check failed, 6 intact but not authenticated to the level
    asked, 2 no sealed case. A deviation that the case states fails nothing: V09 names it.
    """
    from auditor.bundle.keys import load_public_key
    from auditor.bundle.reading import available_cores
    from auditor.bundle.timestamp import load_certificates
    from auditor.bundle.verify import Trust
    from auditor.bundle.verify import verify as verify_case

    result = _Result.checked(path, svr, svr_key)
    trust = Trust(
        keys=[load_public_key(key) for key in keys],
        roots=[root for name in roots for root in load_certificates(name)],
        replay=replay,
        workers=available_cores(),
    )
    found = verify_case(
        path, trust.keys, roots=trust.roots, replay=trust.replay, workers=trust.workers
    )
    if as_json:
        output.emit_json(found.as_json())
    else:
        show(found)
    if result is not None:
        result.write(found, trust, min_level)
    if found.level == "L0":
        departed = found.failed == ["V09"]
        return output.INCONCLUSIVE if departed else output.VERIFICATION_FAILED
    return output.DONE if found.level >= min_level else output.NOT_AUTHENTICATED


@dataclass(frozen=True, slots=True)
class _Result:
    """The file that a verification result goes into."""

    out: Path
    key: "EllipticCurvePrivateKey | None"

    @classmethod
    def checked(cls, case: Path, out: Path | None, key: Path | None) -> "_Result | None":
        """Return what `--svr` and `--svr-key` ask for, refused before the case is read."""
        from auditor.cli.seal import private_key
        from auditor.errors import InputError

        if out is None:
            if key is not None:
                raise InputError("--svr-key signs the file of --svr", hint="give --svr OUT.json")
            return None
        if out.exists() or out.resolve().is_relative_to(case.resolve()):
            raise InputError(
                f"{out} exists or lies in the case", hint="give another --svr; nothing is replaced"
            )
        return cls(out, None if key is None else private_key(key))

    def write(self, found: "Verification", trust: "Trust", min_level: str) -> None:
        """Write it, or say on stderr why there is nothing to write."""
        from auditor.bundle.svr import svr_file
        from auditor.case import atomic_write
        from auditor.errors import CaseError

        try:
            content = svr_file(found, trust, min_level, self.key)
        except CaseError as error:
            output.say(f"{error.message}: {error.hint}")
            return
        atomic_write(self.out, content)
        output.say(f"written to {self.out}")


def show(found: "Verification") -> None:
    """Print the checks, what they found and what to do, and the level."""
    from auditor.bundle.verify import LEVELS

    for check in found.checks:
        output.echo(f"{check.id}  {check.outcome:7}  {check.title}")
        for detail in check.details:
            _indented(detail)
        if check.remedy is not None:
            _indented(f"what to do: {check.remedy}")
    output.echo(f"{found.level}   {LEVELS[found.level]}")


def _indented(text: str) -> None:
    """Print a line below its check, folded where a terminal is narrow; a file gets it whole."""
    from auditor.report.escape import visible

    # One line: a line break of a stranger could show a check that was never made.
    line = " ".join(visible(text).split())
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(line) + len(_INDENT)
    folded = textwrap.wrap(
        line,
        max(width, _NARROWEST),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT + "  ",
        break_on_hyphens=False,
    )
    output.echo("\n".join(folded))
