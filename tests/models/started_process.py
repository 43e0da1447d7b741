"""How every server of the tests is started, waited for, controlled and killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


@contextlib.contextmanager
def started(script: str, *words: object, scratch: Path) -> Iterator[int]:
    """Run a script of this folder until the block ends; yield the port that it says it has.

    Its last argument is the file for the port.
    """
    port = scratch / f"{Path(script).stem}-port"
    command = [sys.executable, _HERE / script, *map(str, words), port]
    process = subprocess.Popen(command)
    try:
        for _ in range(600):
            if port.is_file() or process.poll() is not None:
                break
            time.sleep(0.05)
        yield int(port.read_text())
    finally:
        process.kill()
        process.wait()


class Controlled:
    """A started script that serves a model and a control path beside it."""

    def __init__(self, port: int, model: str) -> None:
        self.root = f"http://127.0.0.1:{port}"
        self.model = model

    def spec(self, model: str | None = None, **options: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"openai:{model or self.model}?base_url={self.root}/v1{more}"

    def control(self, *faults: dict[str, Any] | None, **settings: Any) -> None:
        """Set what the next requests meet, and forget what was received."""
        body = json.dumps({"faults": faults, "settings": settings}).encode()
        request = urllib.request.Request(f"{self.root}/control", data=body)  # noqa: S310
        with urllib.request.urlopen(request):  # noqa: S310
            pass

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.root}/control") as reply:  # noqa: S310
            found: dict[str, Any] = json.loads(reply.read())
        return found

    def received(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state()["received"]
        return found


class Restartable:
    """A server on a port that it has again after a SIGKILL."""

    ready = "/health"
    """Path that it answers once it serves."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self,
        words: Sequence[object],
        *,
        seconds: float,
        log: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start the command and return when it answers."""
        with log.open("ab") if log else contextlib.nullcontext(subprocess.DEVNULL) as said:
            self._process = subprocess.Popen(
                [str(word) for word in words],
                stdout=said,
                stderr=subprocess.STDOUT if log else subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.root}{self.ready}"),  # noqa: S310
            ):
                return
            time.sleep(0.1)
        raise RuntimeError(f"the server did not start: {log.read_text()[-2000:] if log else ''}")

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
