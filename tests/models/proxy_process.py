"""Starts `fault_proxy.py` and talks to its control path; starts `transformers serve` for it."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from started_process import Controlled, Restartable, started


class Proxy(Controlled):
    """A running proxy in front of a server that knows its model by `model`."""

    def answered(self) -> list[str]:
        """Return the body of every request that was answered with a whole reply."""
        return [json.dumps(row["body"]) for row in self.received() if row["became"] == 200]


@contextlib.contextmanager
def fault_proxy(upstream: str, model: str, scratch: Path) -> Iterator[Proxy]:
    """Run a proxy in front of `upstream` until the block ends."""
    with started("fault_proxy.py", upstream, scratch=scratch) as port:
        yield Proxy(port, model)


class TransformersServer(Restartable):
    """`transformers serve` with the model of a folder; can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = str(folder)

    def start(self, seconds: float = 300.0) -> None:
        """Return when it answers."""
        words = [shutil.which("transformers"), "serve", self.model, "--host", "127.0.0.1"]
        words += ["--port", self.port, "--device", "cpu", "--dtype", "float32"]
        self.run(words, seconds=seconds, environment={"OMP_NUM_THREADS": "1"})
