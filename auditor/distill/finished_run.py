"""A finished run as its folder records it: lineage, ledger, inputs, recipe."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from auditor.distill.ledger import parse
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run_folder import RunFolder, read_lineage
from auditor.errors import CaseError


class FinishedRun:
    """The folder of a finished run, opened to be read: nothing in it is trusted yet."""

    def __init__(self, root: Path) -> None:
        """Read lineage.json and ledger.jsonl.

        Raises:
            CaseError: it is not a finished run, or one that kept no ledger.
        """
        self.folder = RunFolder(root)
        self.lineage = read_lineage(self.folder)
        if not isinstance(self.lineage, dict) or "ledger" not in self.lineage:
            raise CaseError(
                f"{root} has no ledger: the run was made by a version that kept none",
                hint="distill it again to have one",
            )
        try:
            content = self.folder.ledger.read_bytes()
        except OSError as error:
            raise CaseError(
                f"{self.folder.ledger} cannot be read: {error.strerror}",
                hint="restore the file as the run wrote it",
            ) from error
        self.records, self.problem = parse(content)

    def bodies(self, kind: str) -> list[dict[str, Any]]:
        """Return the bodies of the records of a kind, in order."""
        return [record.body for record in self.records if record.kind == kind]

    def kinds(self) -> dict[str, int]:
        """Return how many records there are of each kind, by the first of it."""
        return dict(Counter(record.kind for record in self.records))

    def last(self, kind: str) -> dict[str, Any]:
        """Return the body of the last record of a kind.

        Raises:
            CaseError: there is none.
        """
        found = self.bodies(kind)
        if not found:
            raise CaseError(f"the ledger has no record of kind {kind}")
        return found[-1]

    def inputs(self) -> dict[str, Any]:
        """Return what the run was started with."""
        found: dict[str, Any] = json.loads(self.folder.inputs.read_bytes())
        return found

    def recipe(self) -> Recipe:
        """Return the recipe as used; files it names are not looked for."""
        return recipe_from(self.lineage["recipe"]["content"])


def unchanged(spec: str, digest: str | None) -> str:
    """Return a specifier whose model is the one that the lineage names; any where it names none.

    Raises:
        CaseError: it is another model.
        SubjectError: it cannot be found.
    """
    from auditor.models.specifier import identify

    if digest is not None and identify(spec).digest != digest:
        raise CaseError(
            f"{spec} is not the model that lineage.json names: its weights differ",
            hint="restore it, or say where it is now (--teacher)",
        )
    return spec
