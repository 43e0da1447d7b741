"""Keys that sign no case and time stamps that show no time are named; nothing is changed."""

import shutil

import pytest
from command_world import SIGNATURE, refused, stamped, tree
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tsa_world import Authority
from verify_world import copied


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
