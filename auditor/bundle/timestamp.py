"""Time stamps (RFC 3161) in two steps, without a network: a request to send, a response to keep.

An authority sees a hash and a nonce, nothing else. Of a signature the signed bytes are stamped, as
Sigstore bundles have it; of any other file, its content.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.bundle.bag import is_bag
from auditor.bundle.signature import MEDIA_TYPE
from auditor.canon import pretty_json
from auditor.case import Case, atomic_write
from auditor.errors import MissingExtraError, TimestampError

PLAN_STAMP = "plan.tsr"
"""Response over the lock of the plan, in ``data/``: its bytes are `pretty_json` of plan.json's."""
_EXTRA = 'pip install "auditor[timestamp]"'

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def write_request(path: Path, target: Path) -> None:
    """Write the request for a time stamp over a file: SHA-256, a nonce, certificates wanted.

    Raises:
        TimestampError: the file cannot be read.
        MissingExtraError: the extra ``timestamp`` is not installed.
        StorageError: the disk refused the request.
    """
    client = _client()
    builder = client.TimestampRequestBuilder().data(stamped_bytes(path))
    request = builder.hash_algorithm(client.HashAlgorithm.SHA256).build()
    atomic_write(target, request.as_bytes())


def request_path(path: Path) -> Path:
    """Return where a request goes if nobody says: never into a sealed case, which is closed."""
    root = path.resolve().parent.parent
    if is_bag(root):
        return root.with_name(f"{root.name}.{path.name.partition('.')[0]}.tsq")
    return path.with_suffix(".tsq")


def stamped_bytes(path: Path) -> bytes:
    """Return what a time stamp of a file is over: of a Sigstore bundle the signature's bytes.

    Raises:
        TimestampError: the file cannot be read, or is empty.
    """
    content = _read(path)
    bundle = _sigstore(content)
    if bundle is not None:
        return base64.b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    if not content:
        raise TimestampError(f"{path} is empty", hint="give the file whose time is to be shown")
    return content


def attach(path: Path, response: Path) -> Path:
    """Keep a response with what it stamps, and return where it lies.

    In a Sigstore bundle it goes into ``timestampVerificationData``; beside another file it becomes
    ``<name without ending>.tsr``.

    Raises:
        TimestampError: the response is a refusal, or over something else; or one is there already.
        MissingExtraError: the extra ``timestamp`` is not installed.
        StorageError: the disk refused it.
    """
    content = _read(response)
    stamped_time(content, stamped_bytes(path))
    bundle = _sigstore(_read(path))
    if bundle is None:
        target = path.with_suffix(".tsr")
        if target.exists():
            raise TimestampError(f"{target} exists", hint="a time stamp is never replaced")
        atomic_write(target, content)
        return target
    material = bundle["verificationMaterial"]
    if "timestampVerificationData" in material:
        raise TimestampError(f"{path} has a time stamp", hint="a time stamp is never replaced")
    stamps = [{"signedTimestamp": base64.b64encode(content).decode()}]
    material["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    atomic_write(path, pretty_json(bundle))
    return path


def read_plan_stamp(case: Case, response: Path) -> bytes:
    """Return the bytes of a response over the lock file of a case's plan.

    Raises:
        TimestampError: the plan was not locked, or the response is over something else.
        MissingExtraError: the extra ``timestamp`` is not installed.
    """
    lock = (case.read_json("plan.json").get("declared") or {}).get("lock")
    if lock is None:
        raise TimestampError("the plan of this case was not locked", hint="see `auditor plan lock`")
    content = _read(response)
    stamped_time(content, pretty_json(lock))
    return content


def stamped_time(response: bytes, data: bytes) -> datetime:
    """Return the time of a response over `data`. Who stamped it is for the verifier to say.

    Raises:
        TimestampError: no granted response, or one over something else.
        MissingExtraError: the extra ``timestamp`` is not installed.
    """
    try:
        decoded = _client().decode_timestamp_response(response)
        granted = decoded.status in (0, 1)
    except ValueError as error:
        raise TimestampError(f"no RFC 3161 response: {error}", hint="give the .tsr file") from error
    if not granted:
        raise TimestampError("the authority refused: " + "; ".join(decoded.status_string))
    imprint = decoded.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256 or (
        imprint.message != hashlib.sha256(data).digest()
    ):
        raise TimestampError("the time stamp is over something else", hint="send the .tsq again")
    time: datetime = decoded.tst_info.gen_time
    return time


def trusted(response: bytes, data: bytes, roots: "Sequence[Certificate]") -> bool:
    """Say whether an authority below one of the root certificates made a response over `data`.

    Raises:
        TimestampError: no granted response, or one over something else.
        MissingExtraError: the extra ``timestamp`` is not installed.
    """
    stamped_time(response, data)
    client = _client()
    decoded = client.decode_timestamp_response(response)
    for root in roots:
        verifier = client.VerifierBuilder().add_root_certificate(root).build()
        try:
            if verifier.verify(decoded, hashlib.sha256(data).digest()):
                return True
        except client.VerificationError:
            continue
    return False


def load_certificates(path: Path) -> "list[Certificate]":
    """Return the certificates of a PEM file: roots of authorities that a verifier trusts.

    Raises:
        TimestampError: it cannot be read, or holds none.
    """
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise TimestampError(
            f"{path} holds no certificate in PEM", hint="give the authority's root certificate"
        ) from error


_SHA256 = "2.16.840.1.101.3.4.2.1"


def _sigstore(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    is_bundle = isinstance(found, dict) and found.get("mediaType") == MEDIA_TYPE
    return found if is_bundle else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TimestampError(f"{path} cannot be read: {error.strerror}") from error


def _client() -> Any:
    try:
        import rfc3161_client
    except ImportError as error:
        raise MissingExtraError("time stamps need rfc3161-client", hint=_EXTRA) from error
    return rfc3161_client
