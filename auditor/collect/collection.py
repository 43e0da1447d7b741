"""What every stage of one collecting run shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.case import Case
from auditor.collect.custody import Custody
from auditor.progress import Progress
from auditor.types import Access, ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One run over a case: its plan, where it logs, how it shows progress."""

    case: Case
    plan: dict[str, Any]
    custody: Custody
    progress: Progress

    @property
    def reference(self) -> str:
        """Name of the reference."""
        return str(self.plan["subjects"][0]["name"])

    @property
    def allowed(self) -> Access:
        """The most that the plan allows to use of any subject."""
        return Access[self.plan["access"]]

    @property
    def longest_text(self) -> int | None:
        """Longest teacher-forced sequence in tokens; None for no limit."""
        return self.plan.get("texts")

    def show(self, what: str, total: int, steps: Iterable[int]) -> None:
        """Do `steps`, each of which yields the units that it has done."""
        with self.progress.task(what, total) as task:
            for amount in steps:
                task.advance(amount)

    def log_cut(self, path: Path, cut: int) -> None:
        """Log that `cut` bytes of a torn or incomplete batch were dropped from a file."""
        if cut:
            file = path.relative_to(self.case.root).as_posix()
            self.custody.log("cut", file=file, bytes=cut)

    def access_reason(self, ref: ModelRef, needed: Access) -> str | None:
        """Return why `needed` cannot be observed of a subject, or None where it can."""
        if self.allowed < needed:
            return f"the plan allows {self.allowed.name} access only, {needed.name} is needed"
        if ref.access < needed:
            return f"{ref.spec} offers {ref.access.name} access only, {needed.name} is needed"
        return None
