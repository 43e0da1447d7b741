"""Starts `model_server.py` and talks to its control path."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ModelServer:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"

    @property
    def base_url(self) -> str:
        return f"{self._root}/v1"

    def spec(self, model: str = "tiny-model", **options: Any) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"openai:{model}?base_url={self.base_url}{more}"

    def control(self, *faults: dict[str, Any], **settings: Any) -> None:
        """Set what the next requests meet, and forget what was received."""
        body = json.dumps({"faults": faults, "settings": settings}).encode()
        request = urllib.request.Request(f"{self._root}/control", data=body)  # noqa: S310
        with urllib.request.urlopen(request):  # noqa: S310
            pass

    def received(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self._root}/control") as reply:  # noqa: S310
            found: list[dict[str, Any]] = json.loads(reply.read())["received"]
        return found


@contextlib.contextmanager
def model_server(folder: Path, scratch: Path) -> Iterator[ModelServer]:
    """Serve the model in `folder` until the block ends."""
    port = scratch / "port"
    script = Path(__file__).with_name("model_server.py")
    process = subprocess.Popen([sys.executable, script, str(folder), str(port)])
    try:
        for _ in range(600):
            if port.is_file() or process.poll() is not None:
                break
            time.sleep(0.05)
        yield ModelServer(int(port.read_text()))
    finally:
        process.kill()
        process.wait()
