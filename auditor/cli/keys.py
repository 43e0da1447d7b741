"""`auditor keys`: keys that sign sealed cases."""

import os
from pathlib import Path

import click

from auditor.cli import output


@click.group()
def keys() -> None:
    """Make keys that sign sealed cases."""


@keys.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    show_default=True,
    help="Folder for both files.",
)
@click.option("--name", default="auditor", show_default=True, help="First part of their names.")
@click.option(
    "--ask-passphrase",
    is_flag=True,
    help="Protect the private key by a passphrase, asked for here; "
    "without this, by that of $AUDITOR_KEY_PASSPHRASE where it is set.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def new(out: Path, name: str, ask_passphrase: bool, as_json: bool) -> None:
    """Make an ECDSA P-256 key: NAME.key.pem to sign with, NAME.pub.pem to give to verifiers.

    Give the public file, or its fingerprint, to the verifier by another way than the case: a key
    that comes with what it signs shows nothing.
    """
    from auditor.bundle.keys import PASSPHRASE, new_key

    passphrase = os.environ.get(PASSPHRASE)
    if ask_passphrase:
        passphrase = click.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
    pair = new_key(out, name, passphrase)
    if as_json:
        paths = {"private": str(pair.private), "public": str(pair.public)}
        output.emit_json({**paths, "fingerprint": pair.fingerprint, "protected": bool(passphrase)})
        return
    output.echo(f"{pair.private}\n{pair.public}\nfingerprint {pair.fingerprint}")
