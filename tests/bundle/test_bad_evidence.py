"""What is no case that a command can use is named with the remedy, and nothing on the disk changes."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import bagit
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tsa_world import Authority
from verify_world import copied, edit_json, manifest_again

from auditor.cli.main import run

SIGNATURE = "signatures/examiner.sigstore.json"


@pytest.fixture
def do(capsys):
    """Return what runs a command: its exit code, and its JSON object."""

    def done(*words):
        capsys.readouterr()
        code = run([str(word) for word in (*words, "--json")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, json.loads(said.out)

    return done


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


# `report --format json` and the stages print JSON on errors without an option of that name.
def words_of(name, case, place, key):
    return commands(case, place, key)[name]


ALL = tuple(commands(Path(), Path(), Path()))
NO_JSON = ("report", "measure")


@pytest.fixture
def ask(capsys, do):
    """Return what runs one of the commands on a case and gives its error."""

    def asked(name, case, place, key, code=2):
        words = words_of(name, case, place, key)
        if name not in NO_JSON:
            return refused(do, place, words, code)
        before = tree(place)
        capsys.readouterr()
        assert run([str(word) for word in words]) == code
        assert tree(place) == before
        message, _, hint = capsys.readouterr().err.partition("\nhint: ")
        assert hint
        return {"message": message, "hint": hint}

    return asked


@pytest.fixture
def place(tmp_path):
    """Return an empty folder that a test looks at."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_a_sealed_case_of_another_major_version_is_named(ask, signed, place, name):
    case = copied(signed.root, place / "case.evidence")
    edit_json(case, "evidence.json", lambda content: content.update(schema="auditor/evidence/2"))
    manifest_again(case)
    error = ask(name, case, place, signed.private)
    assert "'auditor/evidence/2'; this release reads auditor/evidence/1" in error["message"]
    assert "the release of auditor that wrote" in error["hint"]


@pytest.mark.parametrize("name", ["seal", "report", "diff", "reproduce", "measure"])
def test_a_draft_of_another_major_version_is_named(ask, finished, signed, place, name):
    case = place / "case"
    shutil.copytree(finished.data, case / "data")
    edit_json(case, "plan.json", lambda content: content.update(schema="auditor/plan/7"))
    error = ask(name, case, place, signed.private)
    assert "'auditor/plan/7'; this release reads auditor/plan/1" in error["message"]


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_a_zip_is_named_with_what_to_do(ask, signed, place, name):
    case = place / "case.zip"
    with zipfile.ZipFile(case, "w") as archive:
        for path in sorted(p for p in signed.root.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(signed.root.parent))
    error = ask(name, case, place, signed.private)
    assert "case.zip is a file, not the folder of a case" in error["message"]
    assert "unpack" in error["hint"]


def test_verify_takes_a_zip_and_leaves_it(do, signed, place):
    case = Path(
        shutil.make_archive(str(place / "case"), "zip", signed.root.parent, "case.evidence")
    )
    before = tree(place)
    assert do("verify", case, "--key", signed.public)[0] == 0
    assert tree(place) == before


@pytest.mark.parametrize("name", ["verify", "sign", "certify", "export", "crate"])
def test_a_draft_is_named(ask, finished, signed, place, name):
    case = place / "case"
    shutil.copytree(finished.data, case / "data")
    error = ask(name, case, place, signed.private)
    assert "a draft, not evidence" in error["message"] or "not a sealed case" in error["message"]
    assert "auditor seal" in error["hint"]


@pytest.mark.parametrize("name", ["seal", "report", "measure"])
def test_nothing_is_written_to_a_sealed_case(ask, signed, place, name, monkeypatch):
    case = copied(signed.root, place / "case.evidence")
    if name == "report":
        monkeypatch.setitem(globals(), "words_of", lambda *_: ("report", case))
    assert "is sealed" in ask(name, case, place, signed.private)["message"]


@pytest.mark.parametrize("name", [one for one in ALL if one != "verify"])
def test_the_bag_of_another_tool_is_named(ask, signed, place, name):
    (place / "bag").mkdir()
    (place / "bag" / "photo.txt").write_text("a photograph")
    bagit.make_bag(str(place / "bag"), {"Contact-Name": "an archive"}, checksums=["sha256"])
    error = ask(name, place / "bag", place, signed.private)
    assert "is not a" in error["message"]


def test_verify_says_that_another_tools_bag_has_no_index(do, place):
    (place / "photo.txt").write_text("a photograph")
    bagit.make_bag(str(place), checksums=["sha256"])
    before = tree(place)
    code, printed = do("verify", place)
    assert code == 5
    assert any("another tool's bag" in d for c in printed["checks"] for d in c["details"])
    assert tree(place) == before


@pytest.mark.parametrize("name", ALL)
def test_a_folder_that_is_not_there_is_named(ask, signed, place, name):
    error = ask(name, place / "nowhere", place, signed.private)
    assert "nowhere" in error["message"]


def pem(key, lock=None) -> bytes:
    """Return a private key as PEM."""
    locked = NoEncryption() if lock is None else BestAvailableEncryption(lock)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked)


def public(key) -> bytes:
    """Return the public half of a key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def wrong_keys():
    """Return {name: (private PEM, public PEM)} of keys that sign no case; None: not that way."""
    good = ec.generate_private_key(ec.SECP256R1())
    others = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    }
    pairs = {name: (pem(key), public(key)) for name, key in others.items()}
    pairs["the other half"] = (public(good), pem(good))
    pairs["protected"] = (pem(good, b"a passphrase"), pem(good, b"a passphrase"))
    pairs["garbage"] = (b"\xff\x00 no key", b"\xff\x00 no key")
    pairs["empty"] = (b"", b"")
    return pairs


@pytest.mark.parametrize("kind", list(wrong_keys()))
@pytest.mark.parametrize("name", ["sign", "seal", "verify"])
def test_a_key_that_signs_no_case_is_named(do, finished, signed, place, name, kind, monkeypatch):
    monkeypatch.delenv("AUDITOR_KEY_PASSPHRASE", raising=False)
    private, opened = wrong_keys()[kind]
    (place / "key.pem").write_bytes(opened if name == "verify" else private)
    sealed, draft = copied(signed.root, place / "case.evidence"), place / "case"
    shutil.copytree(finished.data, draft / "data")
    key = ("--key", place / "key.pem")
    words = {
        "sign": ("sign", sealed, *key, "--role", "reviewer"),
        "seal": ("seal", draft, "--out", place / "new.evidence", *key),
        "verify": ("verify", sealed, *key),
    }[name]
    error = refused(do, place, words)
    assert error["type"] == "SigningKeyError"
    assert "key.pem" in error["message"]


def stamped(do, case, authority, place):
    """Have an authority answer a request over a signature; return the request and the answer."""
    code, printed = do("timestamp", "request", case / SIGNATURE, "--out", place / "request.tsq")
    assert (code, printed) == (0, {"written": str(place / "request.tsq")})
    return authority.answer(place / "request.tsq", place / "answer.tsr")


def test_a_time_stamp_over_something_else_is_not_attached(do, signed, authority, place):
    case = copied(signed.root, place / "case.evidence")
    (place / "other.txt").write_text("something else")
    answer = stamped(do, signed.root, authority, place)
    error = refused(do, place, ("timestamp", "attach", place / "other.txt", answer))
    assert error["type"] == "TimestampError"
    assert "over something else" in error["message"]
    (place / "no.tsr").write_bytes(b"yesterday")
    error = refused(do, place, ("timestamp", "attach", case / SIGNATURE, place / "no.tsr"))
    assert "no RFC 3161 response" in error["message"]


def test_a_second_time_stamp_is_not_attached(do, signed, authority, place):
    case = copied(signed.root, place / "case.evidence")
    words = ("timestamp", "attach", case / SIGNATURE, stamped(do, case, authority, place))
    assert do(*words)[0] == 0
    assert "has a time stamp" in refused(do, place, words)["message"]


def test_a_time_stamp_of_an_ended_authority_fails_the_verification(do, signed, place):
    case = copied(signed.root, place / "case.evidence")
    (place / "tsa").mkdir()
    ended = Authority(place / "tsa", days=-1)
    assert do("timestamp", "attach", case / SIGNATURE, stamped(do, case, ended, place))[0] == 0
    before = tree(place)
    words = ("verify", case, "--key", signed.public, "--tsa-root", ended.certificate)
    code, printed = do(*words)
    assert code == 5
    (times,) = [check for check in printed["checks"] if check["id"] == "V06"]
    assert times["outcome"] == "fail"
    assert tree(place) == before


def test_what_holds_no_certificate_is_named(do, signed, place):
    (place / "root.pem").write_text("no certificate")
    words = ("verify", signed.root, "--tsa-root", place / "root.pem")
    assert refused(do, place, words)["type"] == "TimestampError"


def test_a_request_over_a_signature_is_not_written_into_the_closed_case(do, signed, place):
    case = copied(signed.root, place / "case.evidence")
    code, printed = do("timestamp", "request", case / SIGNATURE)
    assert (code, printed["written"]) == (0, str(place.resolve() / "case.evidence.examiner.tsq"))
    assert do("verify", case, "--key", signed.public)[0] == 0


@contextlib.contextmanager
def nobody_may_write(folder):
    """Act as a user who may read a folder and not write to it."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture
def readable():
    """Return a folder that every user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="auditor-read-only-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "name", ["seal", "sign", "report", "measure", "certify", "export", "crate", "request", "attach"]
)
def test_a_folder_that_may_not_be_written_is_named(
    capsys, do, finished, signed, authority, readable, tmp_path, name
):
    draft, sealed = readable / "case", copied(signed.root, readable / "case.evidence")
    shutil.copytree(finished.data, draft / "data")
    key = shutil.copy(signed.private, readable / "key.pem")
    answer = stamped(do, sealed, authority, readable)
    words = {
        **commands(sealed, readable, key),
        "seal": ("seal", draft, "--out", readable / "new.evidence"),
        "report": ("report", draft),
        "measure": ("measure", draft),
        "request": ("timestamp", "request", sealed / SIGNATURE),
        "attach": ("timestamp", "attach", sealed / SIGNATURE, answer),
    }[name]
    # Once where it may write: what is imported on the way may be out of another user's reach.
    elsewhere = Path(shutil.copytree(readable, tmp_path / "copy"))
    moved = [str(word).replace(str(readable), str(elsewhere)) for word in words]
    assert run(moved) == 0
    before = tree(readable)
    with nobody_may_write(readable):
        capsys.readouterr()
        code = run([str(word) for word in words])
    said = capsys.readouterr().err
    assert code == 2, said
    assert "not allowed to write" in said
    assert "hint: " in said
    assert tree(readable) == before


def test_verify_needs_no_permission_to_write(do, signed, readable):
    case = copied(signed.root, readable / "case.evidence")
    public_key = shutil.copy(signed.public, readable / "key.pem")
    words = ("verify", case, "--key", public_key)
    assert do(*words)[0] == 0
    with nobody_may_write(readable):
        assert do(*words)[0] == 0


def test_all_commands_of_the_list_work_on_what_they_are_for(do, finished, signed, place):
    # Otherwise a refusal above could have another cause.
    sealed = copied(signed.root, place / "case.evidence")
    draft = SimpleNamespace(root=place / "case")
    shutil.copytree(finished.data, draft.root / "data")
    for name in ALL:
        case = draft.root if name in ("seal", "measure", "report") else sealed
        words = [str(word) for word in words_of(name, case, place, signed.private)]
        assert run(words) == (6 if name == "verify" else 0), name
