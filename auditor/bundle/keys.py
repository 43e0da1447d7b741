"""Signing keys: ECDSA on the curves of OpenSSF Model Signing v1.0, as PEM files.

Why P-256 and not Ed25519: the specification allows no other curves than these, and its reference
verifier fails on others.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.case import storage_errors
from auditor.errors import SigningKeyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSPHRASE = "AUDITOR_KEY_PASSPHRASE"  # noqa: S105  (the name of a variable)
"""Environment variable with the passphrase of the private key."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")
_NEW = "`auditor keys new` makes one"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """The files of a new key."""

    private: Path
    public: Path
    fingerprint: str
    """SHA-256 of the public PEM file, 64 hex digits: the hint in the signatures."""


def new_key(folder: Path, name: str = "auditor", passphrase: str | None = None) -> KeyPair:
    """Make a P-256 key: ``NAME.key.pem``, readable by its owner alone, and ``NAME.pub.pem``.

    Raises:
        SigningKeyError: one of the files exists.
        StorageError: the folder is not writable.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    private, public = folder / f"{name}.key.pem", folder / f"{name}.pub.pem"
    for path in (private, public):
        if path.exists() or path.is_symlink():
            raise SigningKeyError(
                f"{path} exists", hint="a key is never replaced: give another --name"
            )
    key = ec.generate_private_key(ec.SECP256R1())
    locked = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _create(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked), 0o600)
        _create(public, public_pem(key.public_key()), 0o644)
    return KeyPair(private=private, public=public, fingerprint=fingerprint(key.public_key()))


def _create(path: Path, content: bytes, mode: int) -> None:
    # Created with its final mode: there is no moment at which others could read it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def load_private_key(path: Path, passphrase: str | None = None) -> "EllipticCurvePrivateKey":
    """Return the private key of a PEM file.

    Raises:
        SigningKeyError: missing, no private key, protected by another passphrase, or of a kind
            or curve that Model Signing does not know.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)
    try:
        key = load_pem_private_key(content, passphrase.encode() if passphrase else None)
    except TypeError as error:
        # Raised for a missing passphrase, and for one that the key does not have.
        what = "has no passphrase" if passphrase else "is protected by a passphrase"
        raise SigningKeyError(f"{path} {what}", hint=f"see ${PASSPHRASE}") from error
    except ValueError as error:
        raise SigningKeyError(
            f"{path} is no private key in PEM, or the passphrase is wrong",
            hint=f"set ${PASSPHRASE}; {_NEW}",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
        raise SigningKeyError(f"{path} is a key of another kind: {_kind(key)}", hint=_WANTED)
    return key


def load_public_key(path: Path) -> "EllipticCurvePublicKey":
    """Return the public key of a PEM file.

    Raises:
        SigningKeyError: missing, no public key, or of a kind or curve that signs no case.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(
            f"{path} is no public key in PEM", hint="give NAME.pub.pem"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise SigningKeyError(f"{path} is a key of another kind: {_kind(key)}", hint=_WANTED)
    return key


_WANTED = f"an ECDSA key on P-256, P-384 or P-521 is needed; {_NEW}"


def is_protected(path: Path) -> bool:
    """Whether a private key asks for a passphrase."""
    return b"ENCRYPTED" in _read(path)


def public_pem(key: "EllipticCurvePublicKey") -> bytes:
    """Return the PEM bytes (SubjectPublicKeyInfo) of a public key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: "EllipticCurvePublicKey") -> str:
    """Return the SHA-256 of the public key's PEM bytes, 64 hex digits (Model Signing: hint)."""
    return hashlib.sha256(public_pem(key)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningKeyError(f"{path} cannot be read: {error.strerror}", hint=_NEW) from error


def _kind(key: object) -> str:
    name = type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")
    curve = getattr(key, "curve", None)
    return name if curve is None else f"{name} {curve.name}"
