"""Runs the command line inside the test process: importing torch once is enough."""

import contextlib
import io
import json
from dataclasses import dataclass

from auditor.cli.main import run
from auditor.data import data_dir

TINY = data_dir("probes") / "packs" / "tiny"


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


def auditor(*words: object) -> Done:
    """Run one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(word) for word in words])
    return Done(code, out.getvalue(), err.getvalue())


def failure(done: Done) -> dict:
    """Return the error object of a command that failed as bad input, with no traceback."""
    assert done.code == 2, done.err + done.out
    assert "Traceback" not in done.err
    error = done.json["error"]
    assert set(error) == {"type", "message", "hint"}
    return error
