"""`auditor timestamp`: trusted time over a plan's lock or a signature, by files alone."""

from pathlib import Path

import click

from auditor.cli import output

_FILE = click.Path(path_type=Path, dir_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.group()
def timestamp() -> None:
    """Ask for a trusted time (RFC 3161), and keep the answer; nothing is sent from here."""


@timestamp.command()
@click.argument("file", type=_FILE)
@click.option(
    "--out",
    type=_FILE,
    help="The request. [default: FILE with the ending .tsq; of a signature, beside its case]",
)
@_JSON
def request(file: Path, out: Path | None, as_json: bool) -> None:
    """Write the request for a time stamp over FILE: plan.lock.json, or ROLE.sigstore.json.

    Send it to an authority, for example by: curl -H 'Content-Type: application/timestamp-query'
    --data-binary @FILE.tsq URL > FILE.tsr. It learns a hash.
    """
    from auditor.bundle.timestamp import request_path, write_request

    target = out or request_path(file)
    write_request(file, target)
    _say(target, as_json=as_json)


@timestamp.command()
@click.argument("file", type=_FILE)
@click.argument("response", type=_FILE)
@_JSON
def attach(file: Path, response: Path, as_json: bool) -> None:
    """Keep the authority's RESPONSE with FILE, after checking that it is over FILE.

    It goes into a signature, and beside any other file. Whether to believe the authority is for the
    verifier to say.
    """
    from auditor.bundle.timestamp import attach as keep

    _say(keep(file, response), as_json=as_json)


def _say(path: Path, *, as_json: bool) -> None:
    if as_json:
        output.emit_json({"written": str(path)})
    else:
        output.echo(path)
