"""The packages that are compared with: one process each, their own Python."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auditor.controls.comparison import verdicts
from auditor.controls.comparison.opponent import PeerResult, failures
from auditor.controls.comparison.replies import ReplyServer, model_replies
from auditor.controls.comparison.worker import PeerFailedError, PeerWorker
from auditor.errors import InputError, SubjectError

REPLY_TOKENS = 128
"""Tokens of a reply: the tool asks for 500, which tiny models have no positions for."""

Read = Callable[[Mapping[str, Any], str], tuple[PeerResult, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A package from the index, and how its answer is read."""

    module: str
    requirement: str
    """What pip installs: the version that the comparison was written against."""
    readings: tuple[str, ...]
    read: Read
    question: str | None = None
    chats: bool = False
    """Whether it must be shown replies through a server."""


TOOLS: dict[str, Tool] = {
    "modeldna": Tool(
        module="modeldna",
        requirement="modeldna==0.1.0",
        readings=("modeldna",),
        read=verdicts.modeldna,
    ),
    "weightscope": Tool(
        module="weightscope",
        requirement="weightscope==0.4.3",
        readings=("weightscope-lineage", "weightscope-diff"),
        read=verdicts.weightscope,
    ),
    "provenance-kit": Tool(
        module="provenancekit",
        requirement="cisco-ai-provenance-kit==1.0.0",
        readings=("provenance-kit", "provenance-kit-identity"),
        read=verdicts.provenancekit,
    ),
    "modelaudit-reef": Tool(
        module="modelaudit",
        requirement="knowlyr-modelaudit[whitebox,blackbox]==0.4.1",
        readings=("modelaudit-reef",),
        read=verdicts.modelaudit_reef,
        question="reef",
    ),
    "modelaudit-audit": Tool(
        module="modelaudit",
        requirement="knowlyr-modelaudit[whitebox,blackbox]==0.4.1",
        readings=("modelaudit-audit",),
        read=verdicts.modelaudit_audit,
        question="audit",
        chats=True,
    ),
}


class ToolOpponent:
    """A package that answers pair after pair. Its failures are results with a reason."""

    def __init__(self, name: str, *, python: Path | None = None, seconds: float = 300.0) -> None:
        """Name the tool; nothing runs yet.

        Raises:
            InputError: there is no such tool here.
        """
        if name not in TOOLS:
            raise InputError(f"no opponent {name!r}", hint=f"known: {', '.join(TOOLS)}")
        self._tool = TOOLS[name]
        self._worker = PeerWorker(
            self._tool.module, self._tool.requirement, python=python, seconds=seconds
        )
        self._server: ReplyServer | None = None
        self._prompts: list[str] = []
        self._served: set[Path] = set()

    @property
    def readings(self) -> tuple[str, ...]:
        """Names of its results, in order."""
        return self._tool.readings

    @property
    def version(self) -> str:
        """Version of the package.

        Raises:
            MissingExtraError: it is not installed.
        """
        return self._worker.version

    def compare(self, suspect: Path, reference: Path) -> tuple[PeerResult, ...]:
        """Return what the tool says of the pair.

        Raises:
            MissingExtraError: the tool is not installed.
        """
        version = self.version
        folders = {"suspect": suspect.resolve(), "reference": reference.resolve()}
        try:
            request = {name: str(folder) for name, folder in folders.items()}
            if self._tool.chats:
                request["api_base"] = self._serve(folders.values())
            if self._tool.question:
                request["question"] = self._tool.question
            answer, seconds = self._worker.ask(request)
            found = self._tool.read(answer, version)
        except (PeerFailedError, SubjectError) as error:
            return failures(self.readings, version, error.message)
        except (ValueError, KeyError, TypeError) as error:
            # A tool whose answer lost a field has changed: that is no score either.
            why = f"unexpected answer: {type(error).__name__}: {error}"
            return failures(self.readings, version, why)
        return tuple(_timed(one, seconds) for one in found)

    def close(self) -> None:
        """End its process and its server."""
        self._worker.close()
        if self._server is not None:
            self._server.close()
            self._server = None

    def _serve(self, folders: Iterable[Path]) -> str:
        """Return the address where the replies of these models are served."""
        if self._server is None:
            self._server = ReplyServer()
            self._prompts = list(self._worker.ask({"question": "prompts"})[0])
        for folder in folders:
            if folder not in self._served:
                replies = model_replies(folder, self._prompts, REPLY_TOKENS)
                self._server.add(str(folder), replies)
                self._served.add(folder)
        return self._server.address


def _timed(result: PeerResult, seconds: float) -> PeerResult:
    if result.score is not None and not math.isfinite(result.score):
        return replace(result, seconds=seconds, score=None, failure=f"a score of {result.score}")
    return replace(result, seconds=seconds)
