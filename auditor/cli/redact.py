"""`auditor redact`: a sealed copy of a sealed case without the lines that rules name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output

if TYPE_CHECKING:
    from auditor.bundle.redact import Redacted, Redaction

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("bundle", metavar="CASE", type=_FOLDER)
@click.option(
    "--drop",
    "rules",
    multiple=True,
    metavar="RULE",
    help="Withhold record lines: subject:NAME, suite:NAME, probe:ID, "
    "record:SUBJECT/SUITE@VERSION#SEQ, or text:REGEX, looked for in replies, raw responses and "
    "errors. May be repeated.",
)
@click.option(
    "--proof",
    metavar="RECORD",
    help="Print one line, record:SUBJECT/SUITE@VERSION#SEQ, with its path to the Merkle root, as "
    "JSON, and write no copy.",
)
@click.option("--out", type=_FOLDER, help="The new folder. [default: CASE.redacted]")
@click.option("--key", type=_FILE, help="Private key in PEM that signs the copy.")
@click.option(
    "--role",
    default="custodian",
    show_default=True,
    help="In which role the key signs the copy: small letters, digits and -.",
)
@click.option("--dry-run", is_flag=True, help="Say how many lines and files would go; write none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def redact(
    bundle: Path,
    rules: tuple[str, ...],
    proof: str | None,
    out: Path | None,
    key: Path | None,
    role: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write a copy of the sealed CASE that withholds record lines and still proves all others.

    The copy keeps the original's index, payload manifest and signatures in data/parent, so that
    `auditor verify` checks it with the original examiner's key. A withheld line stands as its
    salted hash; arrays that tell of withheld replies are left out whole; reports are rendered
    again. CASE stays as it was. What was asked stays: suites are public. Statistics stay too: one
    over few replies can confirm a guess of a withheld one.
    """
    from auditor.bundle.redact import (
        check_target,
        default_target,
        plan_redaction,
    )
    from auditor.bundle.redact import (
        redact as write_copy,
    )
    from auditor.bundle.rules import parse_rule
    from auditor.cli.seal import private_key
    from auditor.errors import InputError

    if proof is not None:
        _print_proof(bundle, rules, proof)
        return
    if not rules:
        raise InputError("nothing to withhold", hint="give --drop RULE, for example subject:NAME")
    parsed = [parse_rule(rule) for rule in rules]
    target = out or default_target(bundle)
    check_target(bundle, target)
    signer = None if key is None or dry_run else private_key(key)
    wanted = plan_redaction(bundle, parsed)
    written = None if dry_run else write_copy(wanted, target, signer, role)
    if as_json:
        output.emit_json(_as_object(wanted, written))
    else:
        _show(wanted, written)


def _print_proof(bundle: Path, rules: tuple[str, ...], proof: str) -> None:
    from auditor.bundle.line_proof import line_proof
    from auditor.bundle.rules import parse_rule
    from auditor.errors import InputError

    rule = parse_rule(proof)
    if rules or rule.kind != "record":
        raise InputError(
            "a proof is of one record line, and drops none",
            hint="--proof record:SUBJECT/SUITE@VERSION#SEQ, without --drop",
        )
    output.emit_json(line_proof(bundle, rule.value))


def _as_object(wanted: "Redaction", written: "Redacted | None") -> dict[str, Any]:
    from auditor.bundle.bag import manifest_digest

    root = None if written is None else written.root
    signatures = () if written is None else written.signatures
    return {
        "schema": "auditor/redact/1",
        "case": str(wanted.case.root),
        "bundle": None if root is None else str(root),
        "parent": manifest_digest(wanted.case.root),
        "manifest_sha256": None if root is None else manifest_digest(root),
        "rules": [
            {"rule": str(rule), "lines": count}
            for rule, count in zip(wanted.rules, wanted.selection.counts, strict=True)
        ],
        "lines": {"withheld": wanted.lines, "total": wanted.selection.total},
        "files": wanted.files,
        "rewritten": list(wanted.rewritten),
        "statistics": list(wanted.statistics),
        "repeated": wanted.selection.repeated,
        "still": list(wanted.still),
        "signatures": [str(path) for path in signatures],
    }


def _show(wanted: "Redaction", written: "Redacted | None") -> None:
    from auditor.report.escape import visible

    for rule, count in zip(wanted.rules, wanted.selection.counts, strict=True):
        output.say(visible(f"{rule}: {count} lines"))
    output.say(
        f"withheld: {wanted.lines} of {wanted.selection.total} record lines, "
        f"{len(wanted.files)} files whole; not replayable from the copy: "
        f"{len(wanted.statistics)} statistics"
    )
    if wanted.selection.repeated:
        output.say(f"note: {wanted.selection.repeated} shown lines hold a reply that is withheld")
    for name in wanted.still:
        output.say(visible(f"note: a pattern occurs in data/{name}, which is shown"))
    if written is None:
        output.say("nothing was written: --dry-run")
        return
    click.echo(written.root)
    for path in written.signatures:
        click.echo(path)
    if not written.signatures:
        output.say("not signed: `auditor sign` adds a signature")
