"""`auditor audit`: a plan carried out, from the models to the report."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.case import Case
from auditor.cli import output
from auditor.cli.executing import executor_of, executor_options
from auditor.cli.seal import private_key
from auditor.cli.spending import limits_of, show_forecast, spending_options

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_NOT_SEALED = "The case is not sealed: nothing shows whether its files are changed from now on."


@click.command()
@click.argument("file", metavar="PLAN.yaml", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Case folder; replaces outputs.folder of the plan. "
    "[default: auditor-cases/<suspect>-vs-<reference>-<digest>]",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    show_default=True,
    help="Continue the case that the folder holds.",
)
@click.option(
    "--accept-deviation",
    "accept",
    metavar="REASON",
    help="Go on although something differs from the plan; REASON goes into the case and report.",
)
@click.option(
    "--fail-on",
    metavar="EXPR",
    help="Exit with 3 where this holds for a suspect, e.g. 'reading == imitation'; "
    "with 4 where it cannot be decided, or does not hold and the audit departed from its plan.",
)
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Private key in PEM: seal the finished case to CASE.evidence and sign it.",
)
@spending_options
@executor_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def audit(
    file: Path,
    out: Path | None,
    resume: bool,
    accept: str | None,
    fail_on: str | None,
    key: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Carry out a plan: collect, measure, look for marks, judge, report; with a key, seal.

    A plan that was locked must be as it was locked. Whatever departs from it is listed in the
    report. Without --key the case is not sealed: its files can still be changed unnoticed. Can be
    interrupted and repeated at any moment.
    """
    from auditor.audit import carry_out, default_folder, server_terms
    from auditor.cli.gate import parse_gate
    from auditor.measures import all_measures
    from auditor.plan_lock import declared_plan

    gate = parse_gate(fail_on, {one.name for one in all_measures()}) if fail_on else None
    signer = None if key is None else private_key(key)
    dry_run = options.pop("dry_run")
    plan, case_plan = declared_plan(file, accept)
    executor = executor_of(options, case_plan["device"])
    limits = limits_of(**options)
    folder = plan.outputs.folder
    root = out or (plan.path(folder) if folder else default_folder(case_plan))
    if not resume:
        _require_new(root)
    terms = server_terms(plan.request(), limits)
    if dry_run:
        return show_forecast(case_plan, root, terms, as_json=as_json)
    case = carry_out(case_plan, root, output.progress(), terms, executor)
    sealed = None if signer is None else _sealed(case, signer)
    return _finish(case, gate, sealed, as_json=as_json)


def _sealed(case: Case, key: "EllipticCurvePrivateKey") -> Path:
    """Return the sealed case: made now, or found, and signed where a kill left no signature."""
    from auditor.bundle.evidence import FILE
    from auditor.bundle.seal import default_target
    from auditor.canon import json_digest
    from auditor.sealing import Signing, seal_case, sign_sealed

    target = default_target(case)
    if (target / "data" / FILE).is_file():
        plan = json_digest(case.read_json("plan.json"))
        if Case(target).read_json(FILE)["case_id"] == plan:
            sign_sealed(target, Signing(key=key))
            return target
    return seal_case(case, signing=Signing(key=key)).root


def _require_new(root: Path) -> None:
    from auditor.errors import CaseError

    if (root / "data" / "plan.json").is_file():
        raise CaseError(f"{root} holds a case", hint="leave out --no-resume to continue it")


def _finish(case: Case, gate: Any, sealed: Path | None, *, as_json: bool) -> int:
    from auditor.cli.findings import gate_code, show_results
    from auditor.report.findings import suspects
    from auditor.report.result import scan_json

    results = scan_json(case)["results"]
    deviations = case.read_json("deviations.json")
    collections = _collections(case)
    if as_json:
        output.emit_json(
            {
                "schema": "auditor/audit/1",
                "case": str(case.root),
                "plan": deviations["plan"],
                "lock": deviations["lock"],
                "sealed": None if sealed is None else str(sealed),
                "collections": collections,
                "deviations": deviations["deviations"],
                "results": results,
            }
        )
    else:
        names = suspects(case)
        show_results(dict(zip(names, results, strict=True)))
        _show_marks(dict(zip(names, results, strict=True)))
        _show_deviations(deviations, collections)
        output.echo(_NOT_SEALED if sealed is None else f"sealed and signed: {sealed}")
    code = gate_code(results, gate)
    # A gate that was passed by another audit than the planned one was not passed.
    departed = gate is not None and bool(deviations["deviations"])
    return output.INCONCLUSIVE if code == output.DONE and departed else code


def _collections(case: Case) -> int:
    """Return how often collection was begun: more than once where it was interrupted."""
    lines = (case.data / "custody.jsonl").read_bytes().splitlines()
    return sum(json.loads(line)["event"] == "collecting" for line in lines)


def _show_marks(results: dict[str, Any]) -> None:
    for name, result in results.items():
        for kind, test in result.get("marks", {}).get("tests", {}).items():
            words = kind.replace("_", " ")
            if test["p_value"] is None:
                found = f"not tested: {test['undefined']}"
            else:
                verdict = "found" if test["found"] else "not found"
                found = f"{verdict}, p {test['adjusted_p']:.2g} after correction"
            output.echo(f"{name}: marks ({words}) {found}")


def _show_deviations(deviations: dict[str, Any], collections: int) -> None:
    found = deviations["deviations"]
    output.echo(f"plan {deviations['plan']}, lock {deviations['lock'] or 'none'}")
    output.echo(f"deviations from the plan: {len(found) or 'none'}")
    for one in found:
        output.echo(f"  {one['kind']}: {one['what']}")
    if collections > 1:
        output.echo(f"collection was begun {collections} times: see custody.jsonl")
