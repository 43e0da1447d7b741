"""`auditor scan`: many suspects beside one reference, looked at cheaply first where asked."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import output
from auditor.cli.compare import Looked, audit_options, gate_of, run_audit
from auditor.errors import InputError

if TYPE_CHECKING:
    from auditor.registry.listing import Listed
    from auditor.registry.prefilter import Look, Prefiltered

_OWN = ("lists", "top", "prefilter", "prefilter_only", "graph")
_GRAPHS = (".svg", ".html")


@click.command()
@click.argument("reference")
@click.argument("suspects", nargs=-1, metavar="[SUSPECT]...")
@click.option(
    "--list",
    "lists",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A text file with one suspect a line; # begins a comment; paths start at its folder. "
    "A line that cannot be used is reported, the others go on.",
)
@click.option(
    "--prefilter",
    is_flag=True,
    help="Look at the files of all suspects first (headers, tokenizer, byte ranges of the "
    "weights) and keep what was found as context. Implied by --list, a folder of models, --top "
    "and --graph.",
)
@click.option("--prefilter-only", is_flag=True, help="Stop after that look; no model is run.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure only the N suspects whose weights are nearest in that look, and those whose "
    "weights cannot be read. [default: all]",
)
@click.option(
    "--graph",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OUT",
    help="Write the lineage graph of that look: OUT.svg, or a page with its table, OUT.html.",
)
@audit_options
def scan(reference: str, suspects: tuple[str, ...], **options: Any) -> int:
    """Compare every SUSPECT with REFERENCE: one table, one report each.

    SUSPECT is a model, or a folder that holds models. Each model is loaded and run once. Can be
    interrupted and repeated at any moment.
    """
    own = {name: options.pop(name) for name in _OWN}
    _check(suspects, own, options)
    if not _looks_first(suspects, own):
        return run_audit("scan", reference, suspects, options)
    gate_of(options)  # an expression that cannot be read is refused before any work
    found = _prefiltered(reference, suspects, own, options)
    _write_graph(own["graph"], found.content)
    _report_refused(found.content)
    if own["prefilter_only"]:
        return _show(found.content, as_json=options["as_json"])
    look = Looked(content=found.content, unread=frozenset(found.unread))
    code = run_audit("scan", reference, found.planned, options, look)
    return _gated(code, found.content, options)


def _check(suspects: tuple[str, ...], own: dict[str, Any], options: dict[str, Any]) -> None:
    if not suspects and not own["lists"]:
        raise InputError(
            "no suspect was given", hint="name models or a folder of models, or give --list FILE"
        )
    if own["prefilter_only"] and options["fail_on"]:
        raise InputError(
            "--fail-on has nothing to decide with --prefilter-only: that look gives no findings",
            hint="leave out one of the two",
        )
    if own["graph"] is not None and own["graph"].suffix.lower() not in _GRAPHS:
        raise InputError(
            f"--graph {own['graph']}: the name says no format that is written",
            hint=f"end it with {' or '.join(_GRAPHS)}",
        )
    if own["graph"] is not None:
        _check_place(own["graph"])


def _check_place(graph: Path) -> None:
    part = graph.with_name(graph.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        part.unlink()
    except OSError as error:
        raise InputError(
            f"--graph {graph} cannot be written: {error.strerror}",
            hint="name a file in a folder that can be written to",
        ) from error


def _looks_first(suspects: tuple[str, ...], own: dict[str, Any]) -> bool:
    from auditor.registry.listing import is_collection

    return any(own.values()) or any(is_collection(spec) for spec in suspects)


def _prefiltered(
    reference: str, suspects: tuple[str, ...], own: dict[str, Any], options: dict[str, Any]
) -> "Prefiltered":
    from auditor.registry.listing import listed
    from auditor.registry.prefilter import Look, prefilter

    measured = not own["prefilter_only"]
    look = Look(reference=reference, seed=options["seed"], top=own["top"], measured=measured)
    named = listed(suspects, own["lists"])
    if measured and options["out"] is not None:
        look = replace(look, chosen=_chosen_before(options["out"], look, named))
    return prefilter(look, named, output.progress())


def _chosen_before(root: Path, look: "Look", named: "Listed") -> frozenset[str] | None:
    from auditor.case import Case
    from auditor.registry.continued import chosen_before
    from auditor.report.result import PREFILTER

    case = Case(root)
    if not all((case.data / name).is_file() for name in ("plan.json", PREFILTER)):
        return None
    return chosen_before(case.read_json("plan.json"), case.read_json(PREFILTER), look, named)


def _write_graph(path: Path | None, content: dict[str, Any]) -> None:
    from auditor.case import atomic_write
    from auditor.report.prefilter import prefilter_page, prefilter_svg

    if path is None:
        return
    drawn = prefilter_page(content) if path.suffix.lower() == ".html" else prefilter_svg(content)
    if drawn is None:
        raise InputError(
            "there is no graph: the weights of the reference, or of every suspect, cannot be read",
            hint="leave out --graph",
        )
    atomic_write(path, drawn.encode())


def _report_refused(content: dict[str, Any]) -> None:
    for row in content["refused"]:
        output.say(f"not examined: {row['origin']}: {row['entry']}: {row['reason']}")


def _show(content: dict[str, Any], *, as_json: bool) -> int:
    if as_json:
        output.emit_json(content)
        return output.DONE
    from rich.markup import escape
    from rich.table import Table

    from auditor.report.prefilter import COLUMNS, label_of, left_out_sentence, table_rows

    console = output.console()
    reference = label_of(content["reference"]["spec"])
    title = escape(f"context, not evidence: files beside those of {reference}")
    table = Table(title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, no_wrap=column == COLUMNS[0])
    for row in table_rows(content):
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(content["note"], markup=False)
    console.print(left_out_sentence(content), markup=False)
    return output.DONE


def _gated(code: int, content: dict[str, Any], options: dict[str, Any]) -> int:
    """Return 4 where a gate was asked and did not see every suspect: nothing unseen passes."""
    unseen = content["left_out"] or any(not row["repeated"] for row in content["refused"])
    if code == output.DONE and options["fail_on"] and unseen and not options["dry_run"]:
        return output.INCONCLUSIVE
    return code
