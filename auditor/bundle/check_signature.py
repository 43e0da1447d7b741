"""Signatures (V05): valid for a key that the verifier brings; keys in the case are not trusted."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle.canonical_line import strict_json
from auditor.bundle.check import Check, judged, skipped
from auditor.bundle.check_parent import original
from auditor.bundle.keys import fingerprint
from auditor.bundle.scan import Scanned
from auditor.bundle.signature import (
    FOLDER,
    MEDIA_TYPE,
    OPINION_SUFFIX,
    PAYLOAD_TYPE,
    SUFFIX,
    data_statement,
    opinion_on,
    opinion_statement,
)
from auditor.case import Case
from auditor.withheld import PARENT

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey


_PARENT = f"data/{PARENT}/{FOLDER}/"
"""Where a redacted case keeps the signatures over the original."""
_OWN_KEY = {"certificate", "x509CertificateChain"}
"""Parts of a Sigstore bundle that bring a key along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """One signature file."""

    name: str
    hint: str
    carries_key: bool
    payload: bytes
    signature: bytes


def check_signatures(
    root: Path, scanned: Mapping[str, Scanned], keys: Sequence["EllipticCurvePublicKey"]
) -> Check:
    """V05: each key given has signed the files as they are; every statement is about this case."""
    names = [name for name in sorted(scanned) if name.startswith((f"{FOLDER}/", _PARENT))]
    faults: list[str] = []
    signed: list[_Signed] = []
    for name in names:
        try:
            one = _read(root, name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            faults.append(f"{name} is no Sigstore bundle: {error!r}")
            continue
        signed.append(one)
        if strict_json(one.payload) != _statement(root, name, scanned):
            faults.append(f"{name} was made over another case, or another state of this one")
    notes = [_note(one) for one in signed]
    for key in keys:
        faults += _key_faults(signed, key)
    notes += _signed_notes(signed, keys)
    if keys or faults:
        return judged("V05", faults, notes)
    return skipped("V05", "no key given: --key PUB.pem says whose signature is trusted", *notes)


def _read(root: Path, name: str) -> _Signed:
    content = strict_json((root / name).read_bytes())
    envelope, material = content["dsseEnvelope"], content["verificationMaterial"]
    if content["mediaType"] != MEDIA_TYPE or envelope["payloadType"] != PAYLOAD_TYPE:
        raise ValueError("another media type")
    (one,) = envelope["signatures"]
    return _Signed(
        name=name,
        hint=str(material.get("publicKey", {}).get("hint", "")),
        carries_key=not _OWN_KEY.isdisjoint(material)
        or set(material.get("publicKey", {})) - {"hint"} != set(),
        payload=base64.b64decode(envelope["payload"], validate=True),
        signature=base64.b64decode(one["sig"], validate=True),
    )


def _statement(root: Path, name: str, scanned: Mapping[str, Scanned]) -> dict[str, Any]:
    """Return what a signature must be over: this case, or the original of a redacted one."""
    if not name.startswith(_PARENT):
        return _expected(root, name, scanned)
    source = original(root)
    if source is None:
        raise ValueError(f"{name}: the case has no original")
    file = name.removeprefix(_PARENT)
    if not file.endswith(OPINION_SUFFIX):
        return data_statement(source.digests)
    role = file.removesuffix(OPINION_SUFFIX)
    # The conclusion is never withheld: V07 shows that it is the original's.
    conclusion = Case(root).read_json("conclusion.json")
    return opinion_on(source.manifest, source.evidence, conclusion, role)


def _expected(root: Path, name: str, scanned: Mapping[str, Scanned]) -> dict[str, Any]:
    file = name.removeprefix(f"{FOLDER}/")
    if file.endswith(OPINION_SUFFIX):
        return opinion_statement(root, file.removesuffix(OPINION_SUFFIX))
    if not file.endswith(SUFFIX):
        raise ValueError(f"{name} is no signature")
    return data_statement(
        {n.removeprefix("data/"): s.sha256 for n, s in scanned.items() if n.startswith("data/")}
    )


def _note(one: _Signed) -> str:
    carried = "; it carries a key, which is not trusted" if one.carries_key else ""
    over = " over the original" if one.name.startswith(_PARENT) else ""
    return f"{one.name} names the key {one.hint or '(none)'}{over}{carried}"


def _key_faults(signed: Sequence[_Signed], key: "EllipticCurvePublicKey") -> list[str]:
    hint = fingerprint(key)
    valid = [one for one in signed if _valid(one, key)]
    faults = [
        f"{one.name} names the key {hint} and is not its signature"
        for one in signed
        if one.hint == hint and one not in valid
    ]
    if not any(not one.name.endswith(OPINION_SUFFIX) for one in valid):
        faults.append(f"the key {hint} did not sign these files")
    return faults


def _signed_notes(signed: Sequence[_Signed], keys: Sequence["EllipticCurvePublicKey"]) -> list[str]:
    """Say, of a redacted case, what each key given has signed: this copy, or the original."""
    if not any(one.name.startswith(_PARENT) for one in signed):
        return []
    found = []
    for key in keys:
        names = [one.name for one in signed if _valid(one, key)]
        copy = any(not name.startswith(_PARENT) for name in names)
        source = any(name.startswith(_PARENT) for name in names)
        what = " and ".join(["this redacted copy"] * copy + ["the original"] * source)
        found.append(f"the key {fingerprint(key)} signed {what or 'neither copy nor original'}")
    return found


def _valid(one: _Signed, key: "EllipticCurvePublicKey") -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from securesystemslib.dsse import Envelope

    by_bits: dict[int, hashes.HashAlgorithm] = {
        256: hashes.SHA256(),
        384: hashes.SHA384(),
        521: hashes.SHA512(),
    }
    pae = Envelope(one.payload, PAYLOAD_TYPE, {}).pae()
    try:
        key.verify(one.signature, pae, ec.ECDSA(by_bits[key.curve.key_size]))
    except InvalidSignature:
        return False
    return True
