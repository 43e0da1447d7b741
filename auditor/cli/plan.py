"""`auditor plan`: write, freeze and show the plan of an audit."""

from pathlib import Path
from typing import Any

import click

from auditor.cli import output

_FILE = click.Path(path_type=Path, dir_okay=False)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


@click.group()
def plan() -> None:
    """Write, freeze and show the plan of an audit, before any output is seen."""


@plan.command()
@click.argument("file", type=_FILE, default="plan.yaml")
@_JSON
def init(file: Path, as_json: bool) -> None:
    """Write a plan to fill in to FILE [default: plan.yaml]; it runs as it stands on tiny models."""
    from auditor.case import atomic_write
    from auditor.data import data_dir
    from auditor.errors import PlanError

    if file.exists():
        raise PlanError(f"{file} exists and is left alone", hint="give another name")
    atomic_write(file, (data_dir("reports") / "templates" / "audit-plan.yaml").read_bytes())
    if as_json:
        output.emit_json({"file": str(file)})
        return
    output.echo(file)


@plan.command()
@click.argument("file", metavar="PLAN.yaml", type=_FILE)
@_JSON
def lock(file: Path, as_json: bool) -> None:
    """Freeze a complete plan: its content, models, suites, marks and rules, by digest.

    Writes PLAN.lock.json beside it. Deposit the digest with somebody else: a lock holds no time,
    since the clock of its maker proves nothing.
    """
    from auditor.plan_lock import lock_path, lock_plan

    made = lock_plan(file)
    if as_json:
        output.emit_json({"file": str(lock_path(file)), "lock": made})
        return
    output.echo(f"{lock_path(file)}\ndigest {made['digest']}")


@plan.command()
@click.argument("file", metavar="PLAN.yaml", type=_FILE)
@_JSON
def show(file: Path, as_json: bool) -> None:
    """Show a plan with every default filled in, what it lacks, and whether it is locked."""
    from auditor.cli.distill import show as print_values

    print_values(_shown(file, as_json=as_json), as_json=as_json)


def _shown(file: Path, *, as_json: bool) -> dict[str, Any]:
    from auditor.canon import json_digest
    from auditor.frozen import differences
    from auditor.plan_file import load_plan
    from auditor.plan_lock import incomplete, lock_path, read_lock

    loaded = load_plan(file)
    content = loaded.as_json()
    held = read_lock(lock_path(file))
    changed = [] if held is None else differences(held["plan"], content, "plan")
    state = {
        "digest": json_digest(content),
        "missing": incomplete(loaded),
        "lock": None if held is None else held["digest"],
        "changed since the lock": [one["key"] for one in changed],
    }
    return {"plan": content, **state} if as_json else {**_readable(content), **state}


def _readable(content: dict[str, Any]) -> dict[str, Any]:
    """Return the plan with its lists of mappings as numbered lines."""
    return {
        key: {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, list) and any(isinstance(item, dict) for item in value)
        else value
        for key, value in content.items()
    }
