"""What a verification found as an in-toto Simple Verification Result (SVR v0.2), for other tools.

It states properties of the files that the payload manifest lists, and only those that were checked
and hold. Whoever reads it has to trust the verifier: it is no substitute for verifying the case.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import auditor
from auditor.bundle.bag import MANIFEST
from auditor.bundle.keys import fingerprint
from auditor.bundle.signature import STATEMENT, dsse_envelope
from auditor.bundle.verify import Trust, Verification
from auditor.canon import canonical_json, pretty_json
from auditor.errors import CaseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PREDICATE = "https://in-toto.io/attestation/svr/v0.2"
_BINDING = ("V01", "V03", "V04")
"""Without these the manifest does not stand for the files that were checked."""


def svr_file(
    found: Verification,
    trust: Trust,
    min_level: str,
    key: "EllipticCurvePrivateKey | None" = None,
) -> bytes:
    """Return the statement as a JSON file; in a signed DSSE envelope where a key is given.

    Args:
        found: what the checks found.
        trust: whom the verifier trusted, and what was recomputed.
        min_level: that the verifier asked for.
        key: of the verifier.

    Raises:
        CaseError: the case could not be read, or its manifest is not that of its files.
    """
    content = statement(found, trust, min_level)
    if key is None:
        return pretty_json(content)
    name = fingerprint(key.public_key())
    return pretty_json(dsse_envelope(key, canonical_json(content), name))


def statement(found: Verification, trust: Trust, min_level: str) -> dict[str, Any]:
    """Return the in-toto statement on a verified case; see `svr_file`."""
    failed = [name for name in _BINDING if name in found.failed]
    if failed or found.manifest is None:
        raise CaseError(
            f"no verification result to write: {', '.join(failed) or 'the manifest'} does not hold",
            hint="its subject would be a manifest that is not that of the files",
        )
    return {
        "_type": STATEMENT,
        "subject": [{"name": MANIFEST, "digest": {"sha256": found.manifest}}],
        "predicateType": PREDICATE,
        "predicate": {
            "verifier": {
                # Other checks are another verifier: the release decides which are made.
                "id": f"urn:auditor:verifier:{auditor.__version__}",
                "policies": _policies(trust, min_level),
            },
            "timeCreated": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "properties": _properties(found),
        },
    }


def _properties(found: Verification) -> list[str]:
    """Return the checks that passed, and the level; a case that failed a check has no level."""
    passed = [f"AUDITOR_{check.id}" for check in found.checks if check.outcome == "pass"]
    return passed if found.level == "L0" else [*passed, f"AUDITOR_LEVEL_{found.level}"]


def _policies(trust: Trust, min_level: str) -> Sequence[dict[str, Any]]:
    """Return what the verifier asked for, as resource descriptors: keys and roots by digest."""
    return [
        {
            "name": "auditor verify",
            "annotations": {"min_level": min_level, "replay": trust.replay},
        },
        *({"name": "trusted key", "digest": {"sha256": fingerprint(k)}} for k in trust.keys),
        *(
            {"name": "trusted time-stamp root", "digest": {"sha256": _certificate_digest(root)}}
            for root in trust.roots
        ),
    ]


def _certificate_digest(certificate: Any) -> str:
    from cryptography.hazmat.primitives.hashes import SHA256

    return str(certificate.fingerprint(SHA256()).hex())
