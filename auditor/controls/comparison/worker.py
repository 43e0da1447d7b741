"""Another tool in a process of its own: its own Python, no network, no keys, a time limit."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from auditor.errors import AuditorError, MissingExtraError

_SCRIPT = Path(__file__).with_name("peer_process.py")
_START_SECONDS = 900.0
_REASON_CHARACTERS = 300
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}
_INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class PeerFailedError(AuditorError):
    """The other tool gave no answer on this pair: it raised, ended or ran out of time.

    Caught by the opponent, in whose result it becomes the reason.
    """


class PeerWorker:
    """One process that has loaded one tool and answers requests in turn.

    Only a few variables of the environment reach it, so that no key or token does; its home and
    working folder are empty and removed at the end, so that no result of an earlier run is reused.
    """

    def __init__(
        self, tool: str, requirement: str, *, python: Path | None = None, seconds: float = 300.0
    ) -> None:
        """Start nothing yet: `version` or `ask` does.

        Args:
            tool: a key of `peer_process.TOOLS`.
            requirement: what pip installs, e.g. ``modeldna==0.1.0``.
            python: interpreter of the tool's environment; this one by default.
            seconds: time limit of one pair.
        """
        self.tool = tool
        self._requirement = requirement
        self._python = str(python or sys.executable)
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader: threading.Thread | None = None
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._version = ""

    @property
    def version(self) -> str:
        """Version of the tool, which is started for it.

        Raises:
            MissingExtraError: the interpreter or the tool is not there.
            PeerFailedError: it did not start in time.
        """
        self._started()
        return self._version

    def ask(self, request: Mapping[str, Any]) -> tuple[Any, float]:
        """Return the tool's answer and the processor seconds it took.

        Raises:
            MissingExtraError: the tool is not installed.
            PeerFailedError: it raised, ended, or took longer than its limit; then it is stopped
                and the next request starts it anew.
        """
        process = self._started()
        try:
            stdin = _pipe(process.stdin)
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
        except OSError as error:
            raise self._stopped("ended") from error
        answer = self._next(self._seconds)
        if "error" in answer:
            raise PeerFailedError(" ".join(str(answer["error"]).split())[:_REASON_CHARACTERS])
        return answer["result"], float(answer["seconds"])

    def close(self) -> None:
        """End the process and remove its folder."""
        process, self._process = self._process, None
        if process is not None:
            # The group: a tool may have started helpers of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if self._reader is not None:
                self._reader.join()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    _pipe(stream).close()
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = self._launch()
            hello = self._next(_START_SECONDS)
            if "missing" in hello:
                self.close()
                raise self._not_installed(hello["missing"])
            self._version = str(hello["version"])
        return self._process

    def _launch(self) -> "subprocess.Popen[str]":
        self._home = tempfile.TemporaryDirectory(prefix=f"auditor-{self.tool}-")
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            # -I: neither our folder nor the user's own packages may stand in for the tool's.
            process = subprocess.Popen(  # noqa: S603
                [self._python, "-I", "-X", "utf8", str(_SCRIPT), self.tool],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                cwd=self._home.name,
                env={**kept, **_OFFLINE, "HOME": self._home.name},
                process_group=0,
            )
        except OSError as error:
            self.close()
            raise self._not_installed(f"{self._python} cannot be run") from error
        self._lines = queue.Queue()
        self._reader = threading.Thread(
            target=_forward, args=(_pipe(process.stdout), self._lines), daemon=True
        )
        self._reader.start()
        return process

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            raise self._stopped(f"gave no answer in {seconds:g} s") from None
        if line is None:
            raise self._stopped("ended without an answer")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stopped(self, why: str) -> PeerFailedError:
        self.close()
        return PeerFailedError(f"{self.tool} {why}")

    def _not_installed(self, why: str) -> MissingExtraError:
        return MissingExtraError(
            f"{self.tool} is not installed for {self._python}: {why}",
            hint=f"pip install '{self._requirement}' (all of them: pip install 'auditor[bench]'), "
            f"or name the Python that has it: --python {self.tool}=PATH",
        )


def _forward(stream: IO[str], lines: "queue.Queue[str | None]") -> None:
    """Move lines to the queue; None says that there will be no more."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise PeerFailedError("the process has no pipe")
    return stream
