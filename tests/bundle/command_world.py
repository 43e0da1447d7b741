"""Commands that read a case, run in this process, with a digest of all that they could change."""

import hashlib
from pathlib import Path

SIGNATURE = "signatures/examiner.sigstore.json"


def tree(root: Path) -> str:
    """Return one digest of all names, kinds and contents below a folder."""
    entries = [
        (str(p.relative_to(root)), p.read_bytes().hex() if p.is_file() else "", p.lstat().st_mode)
        for p in sorted(root.rglob("*"))
    ]
    return hashlib.sha256(repr(entries).encode()).hexdigest()


def refused(do, place, words, code=2):
    """Run a command that must fail and change nothing; return its error."""
    before = tree(place)
    found, printed = do(*words)
    assert found == code, printed
    assert tree(place) == before
    error = printed["error"]
    assert set(error) == {"type", "message", "hint"}
    assert error["hint"], error
    return error


def commands(case, place, key):
    """Return every command that reads a case, with what else it needs."""
    return {
        "verify": ("verify", case),
        "seal": ("seal", case, "--out", place / "new.evidence"),
        "sign": ("sign", case, "--key", key, "--role", "reviewer"),
        "report": ("report", case, "--format", "json"),
        "diff": ("diff", case, case),
        "reproduce": ("reproduce", case, "--sample", "1"),
        "certify": ("certify", case, "--rule", "902-13", "--out", place / "draft.md"),
        "export": ("export", case, "--to", "cyclonedx", "--out", place / "bill.json"),
        "crate": ("export", case, "--to", "ro-crate", "--out", place / "crate"),
        "measure": ("measure", case),
    }


ALL = tuple(commands(Path(), Path(), Path()))


def stamped(do, case, authority, place):
    """Have an authority answer a request over a signature; return the request and the answer."""
    code, printed = do("timestamp", "request", case / SIGNATURE, "--out", place / "request.tsq")
    assert (code, printed) == (0, {"written": str(place / "request.tsq")})
    return authority.answer(place / "request.tsq", place / "answer.tsr")
