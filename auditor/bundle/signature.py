"""Signatures over a sealed case: in-toto statements in DSSE envelopes in Sigstore bundles (v0.3).

``ROLE.sigstore.json`` signs every file of ``data/`` as OpenSSF Model Signing v1.0 does.
``ROLE.opinion.sigstore.json`` says who stands by the conclusion; its subject is the payload
manifest, whose digest binds the names of the files, which the root digest of Model Signing does
not.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle.bag import MANIFEST, is_bag, manifest_digest
from auditor.bundle.evidence import FILE, payload_names
from auditor.bundle.keys import fingerprint
from auditor.canon import canonical_json, file_digest, pretty_json
from auditor.case import Case, atomic_write, check_format
from auditor.errors import CaseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

FOLDER = "signatures"
SUFFIX = ".sigstore.json"
OPINION_SUFFIX = ".opinion.sigstore.json"
ROLE = re.compile(r"[a-z][a-z0-9-]{0,31}")
STATEMENT = "https://in-toto.io/Statement/v1"
MODEL_SIGNING = "https://model_signing/signature/v1.0"
OPINION = "urn:auditor:evidence-opinion:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_OPINED = ("reading", "via", "basis", "log10_lr", "interval", "cap", "verbal", "limits")


def sign_case(root: Path, key: "EllipticCurvePrivateKey", role: str) -> Path:
    """Sign every file of ``data/`` and return the new ``signatures/ROLE.sigstore.json``.

    Raises:
        CaseError: not a sealed case, changed since the seal, or signed in this role already.
        StorageError: the disk refused the file.
    """
    path = _new_signature(root, role, SUFFIX)
    return _write(path, key, data_statement(unchanged_payload(root)))


def sign_opinion(root: Path, key: "EllipticCurvePrivateKey", role: str) -> Path:
    """Sign the conclusion and return the new ``signatures/ROLE.opinion.sigstore.json``.

    Raises:
        CaseError: as `sign_case`.
        StorageError: the disk refused the file.
    """
    path = _new_signature(root, role, OPINION_SUFFIX)
    unchanged_payload(root)
    return _write(path, key, opinion_statement(root, role))


def data_statement(digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the statement of Model Signing v1.0 over {path below data/: sha256, hex}."""
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digests[name]} for name in sorted(digests)
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources))
    return {
        "_type": STATEMENT,
        "subject": [{"name": "data", "digest": {"sha256": root.hexdigest()}}],
        "predicateType": MODEL_SIGNING,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }


def opinion_statement(root: Path, role: str) -> dict[str, Any]:
    """Return the statement that a role stands by the conclusion of a sealed case."""
    case = Case(root)
    conclusion, evidence = case.read_json("conclusion.json"), case.read_json(FILE)
    return opinion_on(manifest_digest(root), evidence, conclusion, role)


def opinion_on(
    manifest: str, evidence: Mapping[str, Any], conclusion: Mapping[str, Any], role: str
) -> dict[str, Any]:
    """Return the statement that a role stands by a conclusion.

    Args:
        manifest: SHA-256 of the payload manifest of the case, hex.
        evidence: content of its evidence.json.
        conclusion: content of its conclusion.json.
        role: of the signer.
    """
    return {
        "_type": STATEMENT,
        "subject": [{"name": MANIFEST, "digest": {"sha256": manifest}}],
        "predicateType": OPINION,
        "predicate": {
            "role": role,
            "case_id": evidence["case_id"],
            "tool": evidence["tool"],
            "rules": conclusion["rules"],
            "suspects": {
                name: {part: one[part] for part in _OPINED}
                for name, one in conclusion["suspects"].items()
            },
        },
    }


def unchanged_payload(root: Path) -> dict[str, str]:
    """Return {path below data/: sha256, hex} as read now.

    Raises:
        CaseError: the folder is not a sealed case, is of a version that this release cannot read,
            or its files are not those of its manifest.
    """
    check_format(root)
    if not is_bag(root) or not (root / "data" / FILE).is_file() or root.name.endswith(".part"):
        raise CaseError(f"{root} is not a sealed case", hint="`auditor seal CASE` makes one")
    data = root / "data"
    found = {name: file_digest(data / name).removeprefix("sha256:") for name in payload_names(data)}
    listed = _listed(root)
    if found != listed:
        wrong = sorted(n for n in {*found, *listed} if found.get(n) != listed.get(n))
        raise CaseError(
            f"data/{wrong[0]} is not as it was sealed", hint="sign nothing; see `auditor verify`"
        )
    return found


def _listed(root: Path) -> dict[str, str]:
    lines = (root / MANIFEST).read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("  ") for line in lines]
    return {name.removeprefix("data/"): digest for digest, _, name in pairs}


def check_role(role: str) -> None:
    """Refuse a word that cannot name a signature file.

    Raises:
        CaseError: it has other letters, or more than 32.
    """
    if ROLE.fullmatch(role) is None:
        raise CaseError(
            f"{role!r} is no role", hint="a role is a small letter, then small letters, digits or -"
        )


def _new_signature(root: Path, role: str, suffix: str) -> Path:
    check_role(role)
    path = root / FOLDER / f"{role}{suffix}"
    if path.exists() or path.is_symlink():
        raise CaseError(f"{path} exists", hint="a signature is never replaced: give another --role")
    return path


def _write(path: Path, key: "EllipticCurvePrivateKey", statement: Mapping[str, Any]) -> Path:
    atomic_write(path, pretty_json(sigstore_bundle(key, canonical_json(statement))))
    return path


def sigstore_bundle(key: "EllipticCurvePrivateKey", payload: bytes) -> dict[str, Any]:
    """Return a Sigstore bundle with the payload, signed; the key is named, not carried."""
    # Model Signing names the key by the hint, and leaves the envelope's key id empty.
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": fingerprint(key.public_key())},
            "tlogEntries": [],
        },
        "dsseEnvelope": dsse_envelope(key, payload, name=""),
    }


def dsse_envelope(key: "EllipticCurvePrivateKey", payload: bytes, name: str) -> dict[str, Any]:
    """Return a DSSE 1.0 envelope with an in-toto statement, signed by a key of that name."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from securesystemslib.dsse import Envelope

    # What Model Signing pairs with each curve.
    by_bits: dict[int, hashes.HashAlgorithm] = {
        256: hashes.SHA256(),
        384: hashes.SHA384(),
        521: hashes.SHA512(),
    }
    pae = Envelope(payload, PAYLOAD_TYPE, {}).pae()
    signed = key.sign(pae, ec.ECDSA(by_bits[key.curve.key_size]))
    return {
        "payload": _base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": name, "sig": _base64(signed)}],
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
