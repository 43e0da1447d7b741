"""Keys that sign: how they are written, and which are refused."""

import hashlib
import json
import subprocess
import sys

import pytest

from auditor.bundle.keys import PASSPHRASE, load_private_key, load_public_key, new_key
from auditor.errors import SigningKeyError, StorageError


def test_a_new_key_is_p256_and_its_private_file_is_the_owners_alone(tmp_path):
    pair = new_key(tmp_path / "keys", "lab")
    assert [pair.private.name, pair.public.name] == ["lab.key.pem", "lab.pub.pem"]
    assert pair.private.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(
        ["openssl", "pkey", "-in", pair.private, "-noout", "-text"], capture_output=True, text=True
    )
    assert "NIST CURVE: P-256" in shown.stdout
    derived = subprocess.run(
        ["openssl", "pkey", "-in", pair.private, "-pubout"], capture_output=True
    )
    assert derived.stdout == pair.public.read_bytes()
    assert pair.fingerprint == hashlib.sha256(pair.public.read_bytes()).hexdigest()
    assert load_private_key(pair.private).public_key() == load_public_key(pair.public)


def test_a_key_is_never_replaced(tmp_path):
    pair = new_key(tmp_path)
    before = pair.private.read_bytes()
    with pytest.raises(SigningKeyError, match="exists"):
        new_key(tmp_path)
    pair.private.rename(tmp_path / "elsewhere")
    with pytest.raises(SigningKeyError, match=r"auditor\.pub\.pem exists"):
        new_key(tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == before


def test_a_passphrase_protects_the_private_key(tmp_path):
    pair = new_key(tmp_path, passphrase="open sesame")
    assert b"ENCRYPTED" in pair.private.read_bytes()
    assert load_private_key(pair.private, "open sesame").public_key() == load_public_key(
        pair.public
    )
    with pytest.raises(SigningKeyError, match="is protected by a passphrase") as failure:
        load_private_key(pair.private)
    assert PASSPHRASE in failure.value.hint
    with pytest.raises(SigningKeyError, match="the passphrase is wrong"):
        load_private_key(pair.private, "open barley")


def test_a_passphrase_for_a_key_without_one_is_named(tmp_path):
    with pytest.raises(SigningKeyError, match="has no passphrase"):
        load_private_key(new_key(tmp_path).private, "open sesame")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StorageError, match="not allowed to write"):
        new_key(tmp_path.__class__("/sys/keys"))


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("ED25519", []),
        ("RSA", ["-pkeyopt", "rsa_keygen_bits:2048"]),
        ("EC", ["-pkeyopt", "ec_paramgen_curve:secp256k1"]),
    ],
)
def test_a_key_of_another_kind_is_refused(tmp_path, algorithm, options):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    make = ["openssl", "genpkey", "-algorithm", algorithm, *options, "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    for load, path in ((load_private_key, private), (load_public_key, public)):
        with pytest.raises(SigningKeyError, match="is a key of another kind") as failure:
            load(path)
        assert "P-256" in failure.value.hint


def test_what_is_no_key_is_refused(tmp_path):
    pair = new_key(tmp_path)
    (tmp_path / "text").write_text("not a key")
    for path in (tmp_path / "text", pair.public):
        with pytest.raises(SigningKeyError, match="is no private key in PEM"):
            load_private_key(path)
    for path in (tmp_path / "text", pair.private):
        with pytest.raises(SigningKeyError, match="is no public key in PEM"):
            load_public_key(path)
    with pytest.raises(SigningKeyError, match="cannot be read"):
        load_private_key(tmp_path / "missing")


def test_the_commands_make_a_key_and_sign_with_it(sealed, tmp_path):
    import shutil

    root = shutil.copytree(sealed.root, tmp_path / "x.evidence")

    def auditor(*words, passphrase=None):
        import os

        environment = {**os.environ, **({PASSPHRASE: passphrase} if passphrase else {})}
        command = [sys.executable, "-m", "auditor", *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return done.returncode, json.loads(done.stdout)

    code, made = auditor("keys", "new", "--out", tmp_path, "--name", "r", passphrase="sesame")
    assert (code, made["protected"]) == (0, True)
    words = ("sign", root, "--key", made["private"], "--role", "reviewer", "--opinion")
    code, refused = auditor(*words)
    assert (code, refused["error"]["type"]) == (2, "SigningKeyError")
    code, signed = auditor(*words, passphrase="sesame")
    assert code == 0
    names = [path.rpartition("/")[2] for path in signed["signatures"]]
    assert names == ["reviewer.sigstore.json", "reviewer.opinion.sigstore.json"]
