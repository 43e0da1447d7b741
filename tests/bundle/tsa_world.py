"""Time-stamp authorities of the `openssl` program, each below a root of its own."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = serial
crypto_device = builtin
signer_cert = tsa.crt
certs = tsa.crt
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
tsa_name = yes
"""


class Authority:
    """A root, an authority below it, and the answers that it gives."""

    def __init__(self, root: Path, *, days: int = 30) -> None:
        """Make it in a folder; its certificate ends in `days` days, which may be gone."""
        self.root = root
        self.certificate = root / "ca.crt"
        (root / "ts.cnf").write_text(CONFIGURATION)
        (root / "serial").write_text("01\n")
        now = datetime.now(UTC)
        begin = now - timedelta(days=60)
        ca_key, key = (
            ec.generate_private_key(ec.SECP256R1()),
            ec.generate_private_key(ec.SECP256R1()),
        )
        ca = _certificate("root", "root", ca_key, ca_key, (begin, now + timedelta(days=30)))
        own = _certificate("tsa", "root", key, ca_key, (begin, now + timedelta(days=days)))
        self.certificate.write_bytes(ca.public_bytes(Encoding.PEM))
        (root / "tsa.crt").write_bytes(own.public_bytes(Encoding.PEM))
        (root / "tsa.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )

    def answer(self, request: Path, response: Path) -> Path:
        """Answer a request; return the response."""
        files = ("-queryfile", str(request), "-out", str(response))
        command = ["openssl", "ts", "-reply", "-config", "ts.cnf", "-section", "one", *files]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return response


def _certificate(subject, issuer, key, signer, valid) -> x509.Certificate:
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    is_root = subject == issuer
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
    )
    if not is_root:
        stamping = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(stamping, critical=True)
    return builder.sign(signer, hashes.SHA256())
