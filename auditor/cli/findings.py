"""The findings of a case on the terminal: a table, the reading, where the reports are."""

from typing import TYPE_CHECKING, Any

from auditor.case import Case
from auditor.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from auditor.cli.gate import Gate


def finish(case: Case, gate: "Gate | None", *, as_json: bool) -> int:
    """Print the results of a finished case and return the exit code of the gate."""
    from auditor.failed import failed_rows
    from auditor.report.findings import suspects
    from auditor.report.result import result_json, scan_json

    plan = case.read_json("plan.json")
    names, failed = suspects(case), failed_rows(case)
    if plan["command"] == "compare":
        results = [result_json(case, names[0])]
        whole = results[0]
    else:
        whole = scan_json(case)
        results = whole["results"]
    if as_json:
        output.emit_json(whole)
    else:
        show_results(dict(zip(names, results, strict=True)))
        _show_failed(failed)
    code = gate_code(results, gate)
    # Nothing that was not examined passes a gate.
    return output.INCONCLUSIVE if code == output.DONE and gate is not None and failed else code


def _show_failed(rows: list[dict[str, Any]]) -> None:
    from auditor.failed import failure_words

    for row in rows:
        words = failure_words(row["spec"])
        output.echo(f"{row['name']}: failed, {row['spec']} {words}: {row['error']}")
        if row["hint"]:
            output.echo(f"  remedy: {row['hint']}; the same command with the same --out goes on")


def gate_code(results: list[dict[str, Any]], gate: "Gate | None") -> int:
    """Return 3 where the gate holds for a suspect, 4 where that is unknown, else 0."""
    from auditor.cli.gate import result_values

    if gate is None:
        return output.DONE
    truths = [gate.holds(result_values(result)) for result in results]
    if any(truth is True for truth in truths):
        return output.GATE_MET
    return output.INCONCLUSIVE if any(truth is None for truth in truths) else output.DONE


def show_results(results: dict[str, dict[str, Any]]) -> None:
    """Print one table over all suspects, then each reading with its report."""
    console = output.console()
    console.print(_table(results))
    for name, result in results.items():
        conclusion = result["conclusion"]
        console.print(f"{name}: {conclusion['reading']} ({conclusion['basis']})", markup=False)
        console.print(f"  report: {result['report']}", soft_wrap=True, markup=False)
    limits = next(iter(results.values()))["conclusion"]["limits"]
    console.print("\n".join(limits[:1]), markup=False)


def _table(results: dict[str, dict[str, Any]]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    first = next(iter(results.values()))
    title = escape(f"compared with {first['reference']['spec']}")
    table = Table(title=title, title_justify="left")
    table.add_column("measure", no_wrap=True)
    table.add_column("unit")
    table.add_column("closer")
    for name in results:
        table.add_column(escape(name), justify="right")
    for index, row in enumerate(first["measurements"]):
        cells = [value_text(result["measurements"][index]) for result in results.values()]
        table.add_row(row["measure"].partition("@")[0], row["unit"], row["closer"], *cells)
    return table


def value_text(row: dict[str, Any]) -> str:
    """Return a measurement as short text: value, interval, rank; or that it is undefined."""
    if row["value"] is None:
        return "undefined"
    text = f"{row['value']:.4g}"
    if row["interval"] is not None:
        low, high = row["interval"]
        text += f" [{low:.3g}, {high:.3g}]"
    if row["rank_p"] is not None:
        text += f" p={row['rank_p']:.2g}"
    return text.replace("[", r"\[")
