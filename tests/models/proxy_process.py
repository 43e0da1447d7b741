"""Starts `fault_proxy.py` and talks to its control path; starts `transformers serve` for it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Proxy:
    """A running proxy in front of a server that knows its model by `model`."""

    def __init__(self, port: int, model: str) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.model = model

    def spec(self, model: str | None = None, **options: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"openai:{model or self.model}?base_url={self._root}/v1{more}"

    def control(self, *faults: dict[str, Any] | None, **settings: Any) -> None:
        """Set what the next requests meet, and forget what was received."""
        body = json.dumps({"faults": faults, "settings": settings}).encode()
        request = urllib.request.Request(f"{self._root}/control", data=body)  # noqa: S310
        with urllib.request.urlopen(request):  # noqa: S310
            pass

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self._root}/control") as reply:  # noqa: S310
            found: dict[str, Any] = json.loads(reply.read())
        return found

    def received(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state()["received"]
        return found

    def answered(self) -> list[str]:
        """Return the body of every request that was answered with a whole reply."""
        return [json.dumps(row["body"]) for row in self.received() if row["became"] == 200]


@contextlib.contextmanager
def fault_proxy(upstream: str, model: str, scratch: Path) -> Iterator[Proxy]:
    """Run a proxy in front of `upstream` until the block ends."""
    port = scratch / "proxy-port"
    script = Path(__file__).with_name("fault_proxy.py")
    process = subprocess.Popen([sys.executable, script, upstream, str(port)])
    try:
        for _ in range(600):
            if port.is_file() or process.poll() is not None:
                break
            time.sleep(0.05)
        yield Proxy(int(port.read_text()), model)
    finally:
        process.kill()
        process.wait()


class TransformersServer:
    """`transformers serve` with the model of a folder; can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model = str(folder)
        self.root = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 300.0) -> None:
        """Return when it answers."""
        command = shutil.which("transformers")
        words = [command, "serve", self.model, "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--device", "cpu", "--dtype", "float32"]
        self._process = subprocess.Popen(
            words,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.root}/health"),  # noqa: S310
            ):
                return
            time.sleep(0.2)
        raise RuntimeError("transformers serve did not start")

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
