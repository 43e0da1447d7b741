"""`auditor lineage`: what a distillation run recorded."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output
from auditor.cli.lineage_errors import errors, of_all

if TYPE_CHECKING:
    from auditor.distill.ledger_check import Clause

_RUN = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def lineage() -> None:
    """Show, check, prove and export what a distillation run recorded."""


@lineage.command()
@click.argument("run", type=_RUN)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def show(run: Path, as_json: bool) -> None:
    """Show what RUN used and made: teacher, data, dose, student, and the ledger's length."""
    from auditor.cli.distill import show as print_values
    from auditor.distill.finished_run import FinishedRun
    from auditor.report.added import read_added

    finished = FinishedRun(run)
    shown = summary(finished.lineage, finished.kinds())
    found = read_added(run, finished.folder.inherited_errors.name)
    if found is not None:
        shown["inherited_errors"] = of_all(found)
    print_values(shown, as_json=as_json)


def summary(lineage: dict[str, Any], kinds: dict[str, int]) -> dict[str, Any]:
    """Return the parts of a lineage that say where a student comes from."""
    teacher, permission = lineage["teacher"], lineage["permission"]
    return {
        "teacher": None if teacher is None else {k: teacher[k] for k in ("spec", "digest")},
        "permission": permission
        and {k: permission[k] for k in ("verdict", "licence", "scope", "digest")},
        "student": {k: lineage["student"][k] for k in ("origin", "digest", "parameters")},
        "method": lineage["method"]["kind"],
        "dose": lineage["dose"],
        "data": lineage["data"]["sources"],
        "recipe": lineage["recipe"]["digest"],
        "ledger": {
            "head": lineage["ledger"]["head"],
            "records": kinds,
            "samples": lineage["ledger"]["roots"]["samples"],
        },
    }


@lineage.command()
@click.argument("run", type=_RUN)
@click.option(
    "--calls",
    type=click.IntRange(min=1),
    help="Recorded answers, drawn at random, that a local teacher must give again. Needs --recipe.",
)
@click.option("--recipe", type=_FILE, help="The recipe that RUN was made with; finds the teacher.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.pass_context
def verify(
    ctx: click.Context, run: Path, calls: int | None, recipe: Path | None, as_json: bool
) -> int:
    """Check RUN against its own record, a line a clause; exit code 5 where one fails.

    Shows that nothing was changed since lineage.json was written, and that the parts of the record
    agree. Keep the digest of lineage.json elsewhere: who changes all files can change it too.
    """
    from auditor.distill import ledger_check
    from auditor.distill.finished_run import FinishedRun

    if (calls is None) != (recipe is None):
        raise click.UsageError("give --calls and --recipe together", ctx=ctx)
    finished = FinishedRun(run)
    clauses = ledger_check.verify(finished)
    if calls is not None and recipe is not None:
        from auditor.distill.ledger_calls import repeat_calls
        from auditor.distill.recipe import load_recipe

        asked = load_recipe(recipe)
        clauses.append(repeat_calls(finished, asked, calls, output.progress()))
    _show_clauses(run, clauses, as_json=as_json)
    failed = any(clause.passed is False for clause in clauses)
    return output.VERIFICATION_FAILED if failed else output.DONE


def _show_clauses(run: Path, clauses: "list[Clause]", *, as_json: bool) -> None:
    if as_json:
        output.emit_json(
            {
                "schema": "auditor/lineage-verification/1",
                "run": str(run),
                "passed": not any(clause.passed is False for clause in clauses),
                "clauses": [clause.as_json() for clause in clauses],
            }
        )
        return
    words = {True: "pass", False: "FAIL", None: "skip"}
    for clause in clauses:
        output.echo(f"{words[clause.passed]}  {clause.name:12} {clause.detail}")


@lineage.command()
@click.argument("run", type=_RUN)
@click.option(
    "--text-file", type=_FILE, help="UTF-8 text of one sample; a final line break is left out."
)
@click.option("--digest", "sample", help="Digest of the sample: sha256: and 64 hex digits.")
@click.pass_context
def prove(ctx: click.Context, run: Path, text_file: Path | None, sample: str | None) -> None:
    """Print the proof that a text was offered to RUN for training, or that it was not.

    A text is a document, a turn of a prompt or an answer of the teacher, equal to the last
    character. The proof shows no other text, and `check-proof` needs lineage.json alone.
    """
    from auditor.distill.finished_run import FinishedRun
    from auditor.distill.ledger_samples import prove as proof_of
    from auditor.distill.ledger_samples import read_samples, text_digest

    if (text_file is None) == (sample is None):
        raise click.UsageError("give either --text-file or --digest", ctx=ctx)
    finished = FinishedRun(run)
    wanted = text_digest(text_file) if text_file is not None else str(sample)
    output.emit_json(proof_of(read_samples(finished.folder.samples), wanted))


@lineage.command(name="check-proof")
@click.argument("proof", type=_FILE)
@click.option("--lineage", "file", type=_FILE, required=True, help="lineage.json of the run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def check_proof(proof: Path, file: Path, as_json: bool) -> int:
    """Check PROOF against the roots in lineage.json; exit code 5 where it does not hold.

    An exclusion rests on the sorting of the run's samples.txt, which `verify` checks.
    """
    from auditor.distill.ledger_samples import refutation
    from auditor.errors import InputError

    content, named = _json(proof), _json(file)
    try:
        samples = named["ledger"]["roots"]["samples"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} names no ledger", hint="give the lineage.json of a run that kept one"
        ) from error
    reason = refutation(content, samples)
    if as_json:
        kind = content.get("kind") if isinstance(content, dict) else None
        output.emit_json({"holds": reason is None, "kind": kind, "reason": reason})
    elif reason is None:
        output.echo(f"holds: {content['kind']} of {content['sample']}")
    else:
        output.echo(f"does not hold: {reason}")
    return output.DONE if reason is None else output.VERIFICATION_FAILED


@lineage.command()
@click.argument("run", type=_RUN)
@click.option(
    "--format",
    "form",
    type=click.Choice(["slsa", "cyclonedx"]),
    required=True,
    help="slsa: in-toto Statement v1 with SLSA provenance v1; cyclonedx: CycloneDX 1.6 ML-BOM.",
)
def export(run: Path, form: str) -> None:
    """Print the lineage of RUN in a format that other tools read, as JSON."""
    from auditor.distill import ledger_export
    from auditor.distill.finished_run import FinishedRun

    made = {"slsa": ledger_export.slsa, "cyclonedx": ledger_export.cyclonedx}[form]
    output.emit_json(made(FinishedRun(run)))


@lineage.command()
@click.argument("run", type=_RUN)
@click.argument("suspect")
@click.option("--reveal", type=_FILE, help="The file with the key. [default: the run folder's]")
@click.option(
    "--suite", default="instructions", show_default=True, help="Prompts, for a green list."
)
@click.option(
    "--probes",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="How many of them the suspect answers.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def marks(
    run: Path,
    suspect: str,
    reveal: Path | None,
    suite: str,
    probes: int,
    seed: int,
    as_json: bool,
) -> None:
    """Look in SUSPECT for the marks that RUN committed to before it trained.

    p-values are exact: a model that was not trained on the data of RUN finds p <= alpha with
    probability alpha at most. Not finding a mark is no sign of innocence: paraphrase removes it.
    """
    from auditor.cli.distill import show as print_values
    from auditor.collect.suite import load_suite, select_probes
    from auditor.mark_tests import mark_tests

    chosen = select_probes([load_suite(suite)], probes, seed)
    prompts = [probe for _, some in chosen for probe in some]
    found = mark_tests(run, suspect, prompts, reveal=reveal, seed=seed)
    print_values(found, as_json=as_json)


@lineage.command()
@click.argument("run", type=_RUN)
@click.option("--teacher", metavar="SPEC", help="Where the teacher is. [default: as recorded]")
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="SPEC[=ROLE]",
    help="As for `auditor compare`. [default: the shipped controls, for a shipped teacher]",
)
@click.option(
    "--probes",
    type=click.IntRange(min=1),
    help="Number of probes in total. [default: as many as the controls are calibrated on, or 96]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def measure(
    run: Path, teacher: str | None, controls: tuple[str, ...], probes: int | None, as_json: bool
) -> int:
    """Audit the student of RUN against its declared teacher; exit code 5 where they contradict.

    Says `consistent`, `contradicted` or `not measurable` with the reason, keeps the case of the
    audit under RUN/audit, and writes it into the report of RUN.
    """
    from auditor.cli.distill import show as print_values
    from auditor.measured_lineage import CONTRADICTED, measure_lineage
    from auditor.plan import parse_control
    from auditor.report.distillation import write_run_report

    found = measure_lineage(
        run,
        teacher=teacher,
        controls=tuple(parse_control(text) for text in controls),
        probes=probes,
        progress=output.progress(),
    )
    write_run_report(run)
    print_values(found, as_json=as_json)
    return output.VERIFICATION_FAILED if found["outcome"] == CONTRADICTED else output.DONE


lineage.add_command(errors)


def _json(path: Path) -> Any:
    from auditor.errors import InputError

    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="give the name of a file that is there"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint="give the file as written") from error
