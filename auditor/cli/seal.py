"""`auditor seal` and `auditor sign`: close a case, and put signatures on a closed one."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from auditor.sealing import Sealed

_CASE = click.Path(path_type=Path)  # of a file, what to do is said where it is opened
_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.command()
@click.argument("folder", metavar="CASE", type=_CASE)
@click.option("--out", type=_FOLDER, help="The new folder. [default: CASE.evidence]")
@click.option("--key", type=_FILE, help="Private key in PEM that signs the sealed case.")
@click.option(
    "--role",
    default="examiner",
    show_default=True,
    help="In which role the key signs: small letters, digits and -.",
)
@click.option(
    "--secret-file",
    "secret_files",
    multiple=True,
    type=_FILE,
    help="File with a secret that must not be in the case; may be repeated.",
)
@click.option(
    "--accept-key-like",
    "key_like",
    metavar="REPLY",
    multiple=True,
    help="Reply, SUBJECT/SUITE#LINE from 0, that holds what only looks like a key; may be "
    "repeated. It goes into the custody log, and `auditor verify` shows it. The value of a key "
    "variable or of --secret-file is never accepted.",
)
@click.option(
    "--plan-tsr",
    "plan_stamp",
    type=_FILE,
    help="Time stamp over the plan's lock, from `auditor timestamp attach`; goes into the case.",
)
@_JSON
def seal(
    folder: Path,
    out: Path | None,
    key: Path | None,
    role: str,
    secret_files: tuple[Path, ...],
    key_like: tuple[str, ...],
    plan_stamp: Path | None,
    as_json: bool,
) -> None:
    """Close a finished CASE: a new folder that others can verify; CASE stays as it was.

    Refuses a case that lacks something planned, that was changed since it was collected, or that
    holds a secret: the value of an environment variable named like a key, or the shape of one.
    """
    from auditor.audit import existing_case
    from auditor.sealing import Screening, Signing, seal_case

    case = existing_case(folder)
    signing = None if key is None else Signing(key=private_key(key), role=role)
    screening = Screening(secret_files=secret_files, key_like=key_like)
    sealed = seal_case(case, out, signing, screening, plan_stamp)
    if as_json:
        output.emit_json(as_object(sealed))
        return
    output.echo(sealed.root)
    for path in sealed.signatures:
        output.echo(path)
    if key is None:
        output.say("not signed: `auditor sign` adds a signature")


def as_object(sealed: "Sealed") -> dict[str, Any]:
    """Return what `auditor seal --json` prints."""
    from auditor.bundle.bag import manifest_digest

    return {
        "schema": "auditor/seal/1",
        "bundle": str(sealed.root),
        "case_id": sealed.evidence["case_id"],
        "sealed": sealed.evidence["sealed"],
        "manifest_sha256": manifest_digest(sealed.root),
        "files": len(sealed.evidence["files"]) + 1,
        "signatures": [path.relative_to(sealed.root).as_posix() for path in sealed.signatures],
    }


@click.command()
@click.argument("bundle", type=_CASE)
@click.option("--key", type=_FILE, required=True, help="Private key in PEM.")
@click.option(
    "--role",
    required=True,
    help="In which role: reviewer, custodian, opposing-expert, or another word.",
)
@click.option(
    "--opinion",
    is_flag=True,
    help="Sign the conclusion too: the signer stands by it, not only by the files.",
)
@_JSON
def sign(bundle: Path, key: Path, role: str, opinion: bool, as_json: bool) -> None:
    """Add a signature to the sealed case BUNDLE, after reading all its files.

    Says that these are the files that the signer saw. A signature is never replaced.
    """
    from auditor.bundle.signature import sign_case, sign_opinion

    loaded = private_key(key)
    paths = [sign_case(bundle, loaded, role)]
    if opinion:
        paths.append(sign_opinion(bundle, loaded, role))
    if as_json:
        output.emit_json({"bundle": str(bundle), "signatures": [str(path) for path in paths]})
        return
    for path in paths:
        output.echo(path)


def private_key(path: Path) -> "EllipticCurvePrivateKey":
    """Return the key of a file; its passphrase is in the environment, or asked for."""
    from auditor.bundle.keys import PASSPHRASE, is_protected, load_private_key
    from auditor.report.escape import visible

    passphrase = os.environ.get(PASSPHRASE)
    if passphrase is None and is_protected(path) and sys.stdin.isatty():
        passphrase = click.prompt(visible(f"passphrase of {path}"), hide_input=True, err=True)
    return load_private_key(path, passphrase)
