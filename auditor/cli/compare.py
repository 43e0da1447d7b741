"""`auditor compare`, and the options that it shares with `auditor scan`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.canon import LARGEST_INTEGER
from auditor.cli import output
from auditor.cli.executing import executor_of, executor_options
from auditor.cli.spending import limits_of, show_forecast, spending_options
from auditor.plan import DEFAULT_PROBES, AuditRequest, Watched, parse_control
from auditor.types import WATCHED, Access, Decoding

if TYPE_CHECKING:
    from auditor.cli.gate import Gate

_OPTIONS = (
    click.option(
        "--control",
        "controls",
        multiple=True,
        metavar="SPEC[=ROLE]",
        help="A control model. ROLE: independent (default), sibling, base, imitation, replication. "
        "pack:NAME stands for all controls of a shipped pack, pack:DIR for those of a folder.",
    ),
    click.option("--base", metavar="SPEC", help="The suspect's declared base model."),
    click.option(
        "--suite",
        "suites",
        multiple=True,
        metavar="NAME",
        help="A probe suite (see: auditor probes list), or a folder or items file of your own. "
        "Default: the standard mix.",
    ),
    click.option(
        "--access",
        type=click.Choice([level.name for level in Access], case_sensitive=False),
        default=Access.WEIGHTS.name,
        show_default=True,
        help="The most that may be used of any model.",
    ),
    click.option(
        "--probes",
        type=click.IntRange(min=1),
        default=DEFAULT_PROBES,
        show_default=True,
        help="Number of probes in total, spread over the suites.",
    ),
    click.option(
        "--repeats",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Samples a probe.",
    ),
    click.option(
        "--temperature",
        type=click.FloatRange(min=0),
        default=1.0,
        show_default=True,
        help="Sampling temperature; 0 is greedy.",
    ),
    click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        default=48,
        show_default=True,
        help="Longest reply, in tokens.",
    ),
    click.option(
        "--system",
        metavar="TEXT",
        help="Message before every chat that brings none of its own, for all models.",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Case folder; one that holds the same plan is continued. "
        "[default: auditor-cases/<suspect>-vs-<reference>-<digest>]",
    ),
    click.option("--device", help="cpu, cuda, cuda:1, auto. [default: a GPU where there is one]"),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "bfloat16", "float16"]),
        help="Type of the forward passes. [default: bfloat16 on a GPU, float32 on a CPU]",
    ),
    click.option(
        "--batch-tokens",
        type=click.IntRange(min=1),
        default=2048,
        show_default=True,
        help="Tokens in one forward pass.",
    ),
    click.option(
        "--watch",
        type=click.Choice(WATCHED),
        help="Make a baseline of this model besides, for `auditor watch --baseline CASE`.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0, max=LARGEST_INTEGER),
        default=0,
        show_default=True,
        help="Seed of every random choice.",
    ),
    click.option(
        "--fail-on",
        metavar="EXPR",
        help="Exit with 3 where this holds for a suspect, e.g. 'logit-kl-forward < 0.05'; "
        "with 4 where it cannot be decided.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout."),
)


def audit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of one audit to a command."""
    *others, fail_on, as_json = _OPTIONS
    command = executor_options(spending_options(fail_on(as_json(command))))
    for option in reversed(others):
        command = option(command)
    return command


@click.command()
@click.argument("suspect")
@click.argument("reference")
@audit_options
def compare(suspect: str, reference: str, **options: Any) -> int:
    """Measure how closely SUSPECT mimics REFERENCE.

    Writes a case folder with every output, a report (report.html) and the result. Without
    controls there is no verdict: add models known to be independent with --control.
    """
    return run_audit("compare", reference, (suspect,), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a look at the files of many suspects gave."""

    content: dict[str, Any] | None = None
    """``auditor/prefilter/1``."""
    unread: frozenset[str] = frozenset()
    """Specifiers of those that could not be read."""


def run_audit(
    command: str,
    reference: str,
    suspects: tuple[str, ...],
    options: dict[str, Any],
    looked: Looked | None = None,
) -> int:
    """Carry out the audit of a command line and print what it found; return the exit code.

    Args:
        command: ``compare`` or ``scan``.
        reference: specifier.
        suspects: specifiers.
        options: of `audit_options`, by name.
        looked: what was found, where the suspects were looked at before.
    """
    from auditor.audit import carry_out, default_folder, server_terms
    from auditor.cli.findings import finish
    from auditor.plan import plan_audit

    gate = gate_of(options)
    executor = executor_of(options, options["device"])
    looked = looked or Looked()
    request = replace(_request(command, reference, suspects, options), unread=looked.unread)
    limits = limits_of(options["max_requests"], options["max_cost"], options["prices"])
    plan, terms = plan_audit(request), server_terms(request, limits)
    if options["dry_run"]:
        root = options["out"] or default_folder(plan)
        return show_forecast(plan, root, terms, as_json=options["as_json"])
    case = carry_out(plan, options["out"], output.progress(), terms, executor, looked.content)
    return finish(case, gate, as_json=options["as_json"])


def gate_of(options: dict[str, Any]) -> "Gate | None":
    """Return the gate of ``--fail-on``, None where none was asked.

    Raises:
        GateError: it cannot be parsed.
    """
    from auditor.cli.gate import parse_gate
    from auditor.measures import all_measures

    if not options["fail_on"]:
        return None
    return parse_gate(options["fail_on"], {measure.name for measure in all_measures()})


def _request(
    command: str, reference: str, suspects: tuple[str, ...], options: dict[str, Any]
) -> AuditRequest:
    controls = [parse_control(text) for text in options["controls"]]
    if options["base"]:
        controls.append(parse_control(options["base"] + "=base"))
    return AuditRequest(
        command=command,
        reference=reference,
        suspects=suspects,
        controls=tuple(controls),
        suites=options["suites"],
        access=Access[options["access"].upper()],
        probes=options["probes"],
        repeats=options["repeats"],
        decoding=Decoding(
            temperature=options["temperature"], max_new_tokens=options["max_new_tokens"]
        ),
        system=options["system"],
        seed=options["seed"],
        device=options["device"],
        dtype=options["dtype"],
        batch_tokens=options["batch_tokens"],
        watch=None if options["watch"] is None else Watched(role=options["watch"]),
    )
