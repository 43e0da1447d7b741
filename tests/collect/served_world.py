"""Small cases with a suspect behind a real server and a proxy that injects faults."""

import json
from pathlib import Path

from collect_world import plan_of

from auditor.case import Case, open_case
from auditor.collect.run import collect_case
from auditor.collect.servers import ServerTerms
from auditor.exchanges import exchange_path, read_exchanges
from auditor.models.server_budget import Limits
from auditor.progress import Silent


def served_plan(reference: Path, spec: str, **changes) -> dict:
    """Return a plan of a reference and a suspect behind a server, at text access by default."""
    settings = {"access": "TEXT", "probes": 6, "repeats": 2, **changes}
    plan = plan_of({"reference": reference, "suspect": spec}, **settings)
    return {**plan, "command": "compare"}


def collect(root: Path, plan: dict, spec: str = "", **limits) -> Case:
    """Collect a plan, or what its case at `root` lacks."""
    terms = ServerTerms(specs=(spec,) if spec else (), limits=Limits(**limits))
    case = open_case(root, plan)
    collect_case(case, Silent(), terms)
    return case


def attempts(case: Case) -> list[dict]:
    """Return the lines of the suspect's exchange log."""
    return list(read_exchanges(exchange_path(case, "suspect")))


def records(case: Case) -> list[dict]:
    """Return the records of the suspect."""
    paths = sorted((case.data / "records" / "suspect").glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]


def errors(case: Case) -> list[dict]:
    """Return the rows of errors.jsonl."""
    return [json.loads(line) for line in (case.data / "errors.jsonl").read_bytes().splitlines()]


def server_facts(case: Case) -> dict:
    """Return what subjects.json says of the suspect's server."""
    rows = case.read_json("subjects.json")["subjects"]
    return next(row["server"] for row in rows if row["name"] == "suspect")
