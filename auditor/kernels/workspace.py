"""Tables of logits that are used again by the next call."""

from torch import Tensor

from auditor.kernels.projection import Projection


class Workspace:
    """Keeps the tables of one caller; not to be shared by threads.

    Fresh memory is handed out by the system page by page while it is first written to, which on a
    CPU costs about as much as the arithmetic on it. A caller that computes the same kind of loss
    again and again, as training does, keeps its tables instead: they stay allocated as long as the
    workspace lives.
    """

    def __init__(self) -> None:
        """Start without tables."""
        self._tables: dict[str, Tensor] = {}

    def logits(self, projection: Projection, rows: int) -> Tensor:
        """Return a (rows, V) table of any content for `Projection.logits_into`."""
        kept = self._tables.get(projection.name)
        if kept is None or not _fits(kept, projection, rows):
            self._tables.pop(projection.name, None)  # before its successor is allocated
            kept = self._tables[projection.name] = projection.buffer(rows)
        return kept[:rows]


def _fits(table: Tensor, projection: Projection, rows: int) -> bool:
    shape = table.shape[0] >= rows and table.shape[1] == projection.vocabulary
    device = projection.hidden.device
    return shape and table.dtype == projection.dtype and table.device == device
