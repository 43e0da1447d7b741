"""Under which licences the probes of a case were used, as their suites state."""

import tomllib
from typing import Any

from auditor.case import Case
from auditor.errors import CaseError

LICENCES = (
    "Licences of models are not observable from their files and are not stated here; what a model "
    "wrote belongs to whom its licence says. Packages and their versions are under “Environment”."
)


def licensed_suites(case: Case) -> tuple[dict[str, Any], ...]:
    """Return the suites of the plan, each with the licence that it states, or ``unstated``.

    Raises:
        CaseError: the manifest of a suite is no TOML.
    """
    return tuple(
        {**suite, "licence": _licence(case, f"{suite['name']}@{suite['version']}")}
        for suite in case.read_json("plan.json")["suites"]
    )


def _licence(case: Case, name: str) -> str:
    manifest = case.data / "probes" / name / "suite.toml"
    if not manifest.is_file():
        return "unstated"
    try:
        return str(tomllib.loads(manifest.read_text(encoding="utf-8")).get("licence", "unstated"))
    except ValueError as error:
        raise CaseError(
            f"data/probes/{name}/suite.toml cannot be read: {error}",
            hint="restore the file: `auditor collect` wrote it",
        ) from error
