"""`auditor export`."""

import json
from pathlib import Path

import click

from auditor.cli import output

_REPLIES = ("jsonl", "parquet")


@click.command()
@click.argument("bundle", metavar="CASE", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "form",
    type=click.Choice(["cyclonedx", "ro-crate", *_REPLIES]),
    required=True,
    help="cyclonedx: a bill of the models with the readings as claims; ro-crate: a folder with the "
    "case and its description; jsonl, parquet: the replies of one subject, which records:FILE "
    "reads (the case need not be sealed).",
)
@click.option(
    "--subject", metavar="NAME", help="jsonl, parquet: whose replies. [default: the suspect's]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="cyclonedx, jsonl: the new file, printed otherwise; parquet: the new file, ro-crate: the "
    "new folder, required.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object: where it was written."
)
def export(bundle: Path, form: str, subject: str | None, out: Path | None, as_json: bool) -> None:
    """Give the sealed CASE to other tools, after reading all its files; CASE is not changed."""
    from auditor.bundle.bill import bill_of_materials
    from auditor.bundle.crate import write_crate
    from auditor.case import atomic_write
    from auditor.errors import InputError

    _check_new(out, bundle)
    if form in _REPLIES:
        _export_replies(bundle, form, subject, out, as_json=as_json)
        return
    if subject is not None:
        raise InputError("--subject goes with jsonl and parquet", hint="leave it out")
    if form == "ro-crate":
        if out is None:
            raise InputError("a crate is a new folder", hint="give --out FOLDER")
        _say(write_crate(bundle, out), as_json=as_json)
        return
    bill = bill_of_materials(bundle)
    if out is None:
        output.emit_json(bill)
        return
    text = json.dumps(bill, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(out, text.encode())
    if as_json:
        _say(out, as_json=True)
    else:
        output.say(f"written to {out}")


def _check_new(out: Path | None, bundle: Path) -> None:
    from auditor.case import storage_errors
    from auditor.errors import InputError

    if out is None:
        return
    with storage_errors(out):
        taken = out.exists() or out.resolve().is_relative_to(bundle.resolve())
    if taken:
        raise InputError(
            f"{out} exists or lies in the case", hint="give another --out; nothing is replaced"
        )


def _say(path: Path, *, as_json: bool) -> None:
    if as_json:
        output.emit_json({"written": str(path)})
    else:
        output.echo(path)


def _export_replies(
    bundle: Path, form: str, subject: str | None, out: Path | None, *, as_json: bool
) -> None:
    from auditor.case import Case, check_format
    from auditor.collect.reply_export import exported_lines, write_jsonl, write_parquet
    from auditor.errors import InputError

    check_format(bundle)
    case = Case(bundle)
    if out is None:
        if form == "parquet":
            raise InputError("parquet is not text", hint="give --out FILE.parquet")
        for line in exported_lines(case, subject):
            output.echo(line.decode())
        return
    write = write_jsonl if form == "jsonl" else write_parquet
    count = write(case, subject, out)
    if as_json:
        _say(out, as_json=True)
    else:
        output.say(f"{count} lines written to {out}")
