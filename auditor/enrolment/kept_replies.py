"""Replies of servers, kept beside a baseline until it is written: they are paid once.

A file for each server: what one answered is never taken for an answer of another. It is removed
when the baseline is there. Enrolled again later, a model may be another one: a reply from before
would make a baseline that is partly of the old one.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from auditor.canon import digest
from auditor.case import storage_errors
from auditor.held import held
from auditor.models import parse


def replies_path(target: Path, spec: str) -> Path:
    """Return where the replies of a server are kept for the baseline `target`."""
    name = digest(parse(spec).canonical.encode()).partition(":")[2][:12]
    return target.with_name(f"{target.name}.{name}.exchanges.jsonl")


@contextlib.contextmanager
def kept_replies(target: Path, specs: Sequence[str]) -> Iterator[list[Path]]:
    """Yield where replies are kept, held for this process; removed at the end without an error.

    Args:
        target: the baseline, which is written before the end.
        specs: whose deployments are enrolled.

    Raises:
        InputError: another process enrols the same.
        StorageError: it may not be written there.
    """
    served = [spec for spec in specs if parse(spec).scheme == "openai"]
    paths = list(dict.fromkeys(replies_path(target, spec) for spec in served))
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        for path in paths:
            stack.enter_context(held(path, "--enrol"))
            stack.callback(_remove_empty, path)
        yield paths
        for path in paths:
            path.unlink(missing_ok=True)


def _remove_empty(path: Path) -> None:
    if path.is_file() and not path.stat().st_size:
        path.unlink()
