"""Starts `model_server.py` and talks to its control path."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from started_process import Controlled, Restartable, started


class ModelServer(Controlled):
    """A running server."""

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"


@contextlib.contextmanager
def model_server(folder: Path, scratch: Path) -> Iterator[ModelServer]:
    """Serve the model in `folder` until the block ends."""
    with started("model_server.py", folder, scratch=scratch) as port:
        yield ModelServer(port, "tiny-model")


class RestartedServer(Restartable):
    """The same server, which can be killed and started again."""

    ready = "/control"

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__()
        script = Path(__file__).with_name("model_server.py")
        self._words = (sys.executable, script, folder, scratch / "port", self.port)

    def start(self) -> None:
        """Return when it answers."""
        self.run(self._words, seconds=60)
