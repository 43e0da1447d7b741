"""`auditor fingerprint`: compare models of two parties without weights or text leaving either."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from auditor.canon import LARGEST_INTEGER
from auditor.cli import output

_TERMS = (
    click.option(
        "--suite",
        "suites",
        multiple=True,
        metavar="NAME",
        help="A probe suite whose words are read. Default: the standard mix.",
    ),
    click.option(
        "--probes", type=click.IntRange(min=1), default=96, show_default=True, help="In total."
    ),
    click.option(
        "--seed",
        type=click.IntRange(-LARGEST_INTEGER, LARGEST_INTEGER),
        default=0,
        show_default=True,
        help="Of the probes and projections. Fingerprints of one model under several seeds add up "
        "to more than each tells.",
    ),
    click.option(
        "--positions",
        type=click.IntRange(min=1),
        default=32,
        show_default=True,
        help="Most tokens of one probe after which the distribution is sketched, up to 65536.",
    ),
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
_FILE = click.Path(path_type=Path, dir_okay=False)


def _with_terms(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_TERMS):
        command = option(command)
    return command


@click.group()
def fingerprint() -> None:
    """Compare models of two parties who show each other neither weights nor text.

    Both agree on the terms (suites, probes, seed, sizes) and each makes a fingerprint of its own
    model. They exchange the digests of these files first and the files afterwards: whoever has the
    other's file first could copy from it. A fingerprint tells its receiver nearly as much as the
    log-probabilities of the likeliest tokens after the probes' words would.
    """


@fingerprint.command()
@click.argument("subject")
@click.option("--out", type=_FILE, required=True, help="FILE to write; none is replaced.")
@click.option("--name", default="model", show_default=True, help="What the file calls the model.")
@_with_terms
@click.option(
    "--projections",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Numbers of each sketch, k, a multiple of 256 up to 8192: squared distances have a "
    "relative error of sqrt(2/k).",
)
@click.option(
    "--tensor-projections",
    type=click.IntRange(min=0),
    default=32,
    show_default=True,
    help="Numbers of each eighth of a weight matrix, up to 4096; 0 says nothing about the weights.",
)
@click.option("--device", help="cpu, cuda, cuda:1, auto. [default: a GPU where there is one]")
@_JSON
def make(
    subject: str, out: Path, name: str, device: str | None, as_json: bool, **terms: Any
) -> int:
    """Make a fingerprint of SUBJECT.

    Send the digest that it prints to the other party, and the file only when you have theirs.
    """
    from auditor.canon import file_digest
    from auditor.errors import InputError
    from auditor.fingerprint.file import write_fingerprint
    from auditor.fingerprint.making import make_fingerprint
    from auditor.fingerprint.plan import Agreed, terms_of

    if out.exists():
        raise InputError(f"{out} exists", hint="give another --out; nothing is replaced")
    agreed = terms_of(Agreed(**terms))
    content = make_fingerprint(subject, name, agreed, output.progress(), device)
    write_fingerprint(out, content)
    summary = {
        "file": str(out),
        "file_digest": file_digest(out),
        "bytes": out.stat().st_size,
        "terms_digest": content["terms_digest"],
        "positions": content["arrays"]["probe"]["shape"][0],
        "missing": content["missing"],
    }
    if as_json:
        output.emit_json(summary)
        return output.DONE
    output.echo(f"{out}: {summary['positions']} positions, {summary['bytes'] / 1e6:.1f} MB")
    output.echo(f"{summary['file_digest']}: send this first, the file when you have the other's")
    output.echo(f"terms {summary['terms_digest']}: the other party's must be the same")
    for what, why in content["missing"].items():
        output.echo(f"without {what}: {why}")
    return output.DONE


@fingerprint.command("compare")
@click.argument("suspect", type=_FILE)
@click.argument("reference", type=_FILE)
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="FILE[=ROLE]",
    help="Fingerprint of a control. ROLE: independent (default), sibling, base, imitation, "
    "replication.",
)
@click.option(
    "--suite", "suites", multiple=True, metavar="DIR", help="A suite that is not shipped."
)
@click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="sha256:HEX",
    help="Of SUSPECT and of REFERENCE, once each: what `make` printed and the parties exchanged "
    "before the files. Another file is refused; without, equal tensors are not read as a copy.",
)
@click.option("--out", type=_FILE, help="FILE for the result as JSON.")
@click.option(
    "--fail-on",
    metavar="EXPR",
    help="Exit with 3 where this holds, e.g. 'logit-js < 0.05'; with 4 where it cannot be decided.",
)
@_JSON
def compare(suspect: Path, reference: Path, as_json: bool, **given: Any) -> int:
    """Run the measures on two fingerprints; each value comes with what the sketch costs it.

    A reading follows an audit's rules, as far as its error rate was measured on sketches to be
    small: equal tensors are replication, where the digests of both files were exchanged before the
    files (--digest); what behaviour alone shows stays inconclusive.
    """
    from auditor.canon import pretty_json
    from auditor.case import atomic_write
    from auditor.cli.findings import gate_code
    from auditor.cli.gate import parse_gate
    from auditor.fingerprint.comparing import compare_fingerprints
    from auditor.fingerprint.file import read_fingerprint
    from auditor.measures import all_measures
    from auditor.plan import parse_control

    gate = None
    if given["fail_on"]:
        gate = parse_gate(given["fail_on"], {measure.name for measure in all_measures()})
    controls = [parse_control(text) for text in given["controls"]]
    _check_out(given["out"], [suspect, reference, *(Path(one.spec) for one in controls)])
    result = compare_fingerprints(
        read_fingerprint(suspect),
        read_fingerprint(reference),
        [(control.role, read_fingerprint(Path(control.spec))) for control in controls],
        output.progress(),
        digests=given["digests"],
        suites=given["suites"],
    )
    if given["out"]:
        atomic_write(given["out"], pretty_json(result))
    if as_json:
        output.emit_json(result)
    else:
        _show(result)
    return gate_code([result], gate)


def _check_out(out: Path | None, inputs: Sequence[Path]) -> None:
    from auditor.errors import InputError

    if out is None or not out.exists():
        return
    if any(path.exists() and path.samefile(out) for path in inputs):
        raise InputError(
            f"{out} is one of the files to compare",
            hint="give another --out; no fingerprint is replaced",
        )


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    from auditor.cli.findings import value_text

    table = Table(title="fingerprints", title_justify="left")
    for name in ("measure", "unit", "closer"):
        table.add_column(name, no_wrap=True)
    table.add_column("value", justify="right")
    table.add_column("error of the sketch")
    for row in result["measurements"]:
        if row["value"] is None:
            continue
        error = row["projection_error"]
        loss = row["loss"] or "none" if error is None else f"{error:.2g}"
        name = row["measure"].partition("@")[0]
        table.add_row(name, row["unit"], row["closer"], value_text(row), loss)
    output.console().print(table)
    for row in result["measurements"]:
        if row["value"] is None:
            output.echo(f"{row['measure'].partition('@')[0]}: undefined, {row['undefined']}")
    output.echo(f"{result['conclusion']['reading']} ({result['conclusion']['basis']})")
    for limit in result["conclusion"]["limits"]:
        output.echo(limit)


@fingerprint.command()
@click.argument("file", type=_FILE)
@click.argument("subject")
@click.option(
    "--suite", "suites", multiple=True, metavar="DIR", help="A suite that is not shipped."
)
@click.option("--device", help="cpu, cuda, cuda:1, auto. [default: a GPU where there is one]")
@_JSON
def check(
    file: Path, subject: str, suites: tuple[str, ...], device: str | None, as_json: bool
) -> int:
    """Make the fingerprint of FILE again from SUBJECT and compare. Exit code 5: it is another."""
    from auditor.fingerprint.checking import check_fingerprint
    from auditor.fingerprint.file import read_fingerprint

    result = check_fingerprint(
        read_fingerprint(file), subject, output.progress(), suites=suites, device=device
    )
    if as_json:
        output.emit_json(result)
    else:
        for name, difference in result["differences"].items():
            output.echo(f"{name}: {difference}")
        output.echo("the same" if result["same"] else f"{file} is not of {subject}")
    return output.DONE if result["same"] else output.VERIFICATION_FAILED


@fingerprint.command()
@click.argument("suspect")
@click.argument("reference")
@_with_terms
@click.option(
    "--projections",
    multiple=True,
    type=click.IntRange(min=1),
    default=(256, 1024, 4096),
    show_default=True,
    help="k to try, multiples of 256 up to 8192.",
)
@click.option(
    "--draws", type=click.IntRange(min=1), default=1, show_default=True, help="Seeds of each k."
)
@_JSON
def precision(suspect: str, reference: str, draws: int, as_json: bool, **given: Any) -> int:
    """Measure what sketches lose, on two models that are both at hand."""
    from auditor.fingerprint.plan import Agreed
    from auditor.fingerprint.precision import precision_rows

    projections = given.pop("projections")
    rows = precision_rows((suspect, reference), Agreed(**given), projections, draws)
    if as_json:
        output.emit_json({"schema": "auditor/fingerprint-precision/1", "rows": rows})
        return output.DONE
    output.echo(f"{'measure':20} {'k':>6} {'full':>10} {'sketched':>10} {'rms error':>10}")
    for row in rows:
        output.echo(
            f"{row['measure']:20} {row['projections']:6} {row['full']:10.4f} "
            f"{row['sketched']:10.4f} {row['rms_error']:10.2g}"
        )
    return output.DONE
