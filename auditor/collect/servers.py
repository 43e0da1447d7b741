"""The servers of one case: how they are asked, what may be spent on them, and what they said.

Their logs lie in ``data/exchanges/``. How many requests go at once and where a key is read are no
part of a subject: they lie in ``work/servers.json``, by name and never as a key.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write
from auditor.exchanges import exchange_path, is_served, log_owner, read_exchanges
from auditor.models.exchange_log import ExchangeLog
from auditor.models.openai_server import OpenAIServer, open_audited
from auditor.models.server_address import SETTINGS
from auditor.models.server_budget import Budget, Limits
from auditor.models.specifier import Specifier, parse
from auditor.stored import planned_suites
from auditor.types import Access

if TYPE_CHECKING:
    from auditor.models.base import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTerms:
    """How the servers of a case may be asked in a run."""

    specs: tuple[str, ...] = ()
    """Specifiers as they were typed, with concurrency and place of the key."""
    limits: Limits = field(default_factory=Limits)


class Servers:
    """Opens the subjects of a case that are behind servers; all share one budget."""

    def __init__(self, case: Case, terms: ServerTerms | None = None) -> None:
        """Ask nothing yet; cut off what a kill left half written. The caller holds the lock.

        Raises:
            InputError: a limit on cost without the price of a model.
            CaseError: a log was changed.
            StorageError: the disk refused the cut.
        """
        self._case = case
        self._plan = case.read_json("plan.json")
        specs = [s["spec"] for s in self._plan["subjects"] if is_served(s["spec"])]
        limits = Limits() if terms is None else terms.limits
        limits.check(parse(spec).rest for spec in specs)
        self.budget = Budget(limits)
        self._logs: dict[Path, ExchangeLog] = {}
        for path in sorted((case.data / "exchanges").rglob("*.jsonl")):
            self._logs[path] = ExchangeLog(path)
            self.budget.count(read_exchanges(path))
        self._settings = _settings(case, () if terms is None else terms.specs)

    def open(self, spec: str) -> "Model":
        """Return the model of a specifier, asked which access it offers.

        Raises:
            AccessError, SubjectError, ServerError, BudgetError, StorageError: as `open_audited`.
        """
        kinds = {p.kind for suite in planned_suites(self._case) for p in suite.probes}
        most = Access[self._plan["access"]]
        return self._opened(
            spec, exchange_path(self._case, log_owner(self._plan, spec)), kinds, most
        )

    def open_for_marks(self, spec: str) -> "Model":
        """Return the model for the prompts of marks: its text, with a log of their own."""
        path = exchange_path(self._case, f"marks/{log_owner(self._plan, spec)}")
        return self._opened(spec, path, {"chat"}, Access.TEXT)

    def _opened(self, spec: str, path: Path, kinds: Collection[str], most: Access) -> OpenAIServer:
        specifier = self._specifier(spec)
        log = self._logs.pop(path, None)  # read once
        log = ExchangeLog(path) if log is None else log
        return open_audited(specifier, log=log, kinds=kinds, most=most, budget=self.budget)

    def _specifier(self, spec: str) -> Specifier:
        parsed = parse(spec)
        typed = self._settings.get(parsed.canonical, {})
        return replace(parsed, options={**parsed.options, **typed})


def _settings(case: Case, specs: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return how to ask each server, by canonical specifier; what is typed now replaces the old."""
    path = case.work / "servers.json"
    known: dict[str, dict[str, str]] = json.loads(path.read_bytes()) if path.is_file() else {}
    typed = {
        parsed.canonical: {k: v for k, v in parsed.options.items() if k in SETTINGS}
        for parsed in map(parse, specs)
        if parsed.scheme == "openai"
    }
    if typed and {**known, **typed} != known:
        known = {**known, **typed}
        atomic_write(path, pretty_json(known))
    return known
