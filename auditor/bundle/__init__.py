"""Sealed cases: a folder that a stranger can check without this package and without the models.

A draft is copied, indexed (`evidence`), packed as a BagIt bag (`bag`), and signed (`signature`).
Formats: RFC 8493 (BagIt), RFC 9162 (Merkle trees), in-toto Statement v1 in a DSSE envelope in a
Sigstore bundle, as OpenSSF Model Signing v1.0 has it.
"""
