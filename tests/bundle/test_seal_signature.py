"""Signatures, checked by openssl and by the reference verifier of OpenSSF Model Signing."""

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from seal_world import files_of

from auditor.bundle.keys import load_private_key, new_key
from auditor.bundle.signature import sign_case, sign_opinion
from auditor.errors import CaseError
from auditor.sealing import Signing, seal_case, sign_sealed

SPECIFICATION = {"256": "prime256v1", "384": "secp384r1", "512": "secp521r1"}
"""Hash that Model Signing pairs with each curve -> name of the curve in openssl."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return new_key(tmp_path_factory.mktemp("keys"), "examiner")


@pytest.fixture
def signed(sealed, pair, tmp_path):
    """Return a sealed case that was signed once, and that a test may change."""
    root = Path(shutil.copytree(sealed.root, tmp_path / "signed.evidence"))
    key = load_private_key(pair.private)
    sign_case(root, key, "examiner")
    sign_opinion(root, key, "examiner")
    return root


def statement_of(path):
    bundle = json.loads(path.read_bytes())
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


def openssl_verifies(bundle, public, folder, sha="256"):
    """Verify the envelope by openssl alone, over the bytes that DSSE 1.0 says are signed."""
    envelope = bundle["dsseEnvelope"]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    (folder / "signed.bin").write_bytes(signed)
    (folder / "sig.der").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    command = ["openssl", "dgst", f"-sha{sha}", "-verify", str(public), "-signature", "sig.der"]
    done = subprocess.run([*command, "signed.bin"], cwd=folder, capture_output=True, text=True)
    return done.returncode == 0


@pytest.mark.parametrize("name", ["examiner.sigstore.json", "examiner.opinion.sigstore.json"])
def test_openssl_accepts_the_signature_and_no_other_payload(signed, pair, tmp_path, name):
    bundle = json.loads((signed / "signatures" / name).read_bytes())
    assert openssl_verifies(bundle, pair.public, tmp_path)
    other = new_key(tmp_path / "other")
    assert not openssl_verifies(bundle, other.public, tmp_path)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"sha256"', b'"sha255"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    assert not openssl_verifies(bundle, pair.public, tmp_path)


@pytest.mark.parametrize("sha", list(SPECIFICATION))
def test_each_curve_has_the_hash_of_the_specification(sealed, tmp_path, sha):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    curve = f"ec_paramgen_curve:{SPECIFICATION[sha]}"
    make = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", curve, "-out", str(private)]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    root = Path(shutil.copytree(sealed.root, tmp_path / "x.evidence"))
    path = sign_case(root, load_private_key(private), "custodian")
    assert openssl_verifies(json.loads(path.read_bytes()), public, tmp_path, sha)


def test_the_signed_statement_names_every_file_of_data(signed, pair):
    path = signed / "signatures" / "examiner.sigstore.json"
    bundle, statement = json.loads(path.read_bytes()), statement_of(path)
    resources = statement["predicate"]["resources"]
    found = {one["name"]: one["digest"] for one in resources}
    expected = {n: hashlib.sha256(c).hexdigest() for n, c in files_of(signed / "data").items()}
    assert found == expected
    assert list(found) == sorted(found)
    # Model Signing: the root digest is that of the digests, one after another.
    root = hashlib.sha256(b"".join(bytes.fromhex(found[name]) for name in sorted(found)))
    assert statement["subject"] == [{"name": "data", "digest": {"sha256": root.hexdigest()}}]
    hint = hashlib.sha256(pair.public.read_bytes()).hexdigest()
    assert bundle["verificationMaterial"]["publicKey"] == {"hint": hint}
    # The key is named, not carried: a key inside the case shows nothing.
    assert b"PUBLIC KEY" not in path.read_bytes()


def test_the_opinion_is_about_the_manifest_and_repeats_the_conclusion(signed):
    statement = statement_of(signed / "signatures" / "examiner.opinion.sigstore.json")
    manifest = hashlib.sha256((signed / "manifest-sha256.txt").read_bytes()).hexdigest()
    assert statement["subject"] == [{"name": "manifest-sha256.txt", "digest": {"sha256": manifest}}]
    conclusion = json.loads((signed / "data" / "conclusion.json").read_bytes())
    opinion = statement["predicate"]
    assert opinion["role"] == "examiner"
    assert sorted(opinion["suspects"]) == sorted(conclusion["suspects"])
    for name, stated in opinion["suspects"].items():
        assert stated == {part: conclusion["suspects"][name][part] for part in stated}
        assert stated["reading"] == "inconclusive"


def test_a_second_role_signs_the_same_files_with_its_own_key(signed, tmp_path):
    before = files_of(signed)
    reviewer = new_key(tmp_path / "reviewer")
    path = sign_case(signed, load_private_key(reviewer.private), "reviewer")
    assert path == signed / "signatures" / "reviewer.sigstore.json"
    first = statement_of(signed / "signatures" / "examiner.sigstore.json")
    assert statement_of(path) == first
    after = files_of(signed)
    assert {name: after[name] for name in before} == before


def test_a_signature_is_never_replaced_and_a_role_is_a_plain_word(signed, pair):
    key, before = load_private_key(pair.private), files_of(signed)
    with pytest.raises(CaseError, match="exists"):
        sign_case(signed, key, "examiner")
    for role in ("", "Examiner", "../x", "examiner.opinion", "a" * 33, "9a"):
        with pytest.raises(CaseError, match="is no role"):
            sign_case(signed, key, role)
    assert files_of(signed) == before


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_case_that_was_changed_is_not_signed(signed, pair, change):
    data = signed / "data"
    if change == "edited":
        (data / "report.md").write_bytes(b"# Nothing to see")
    elif change == "added":
        (data / "more.txt").write_bytes(b"more")
    else:
        (data / "report.md").unlink()
    with pytest.raises(CaseError, match="is not as it was sealed"):
        sign_case(signed, load_private_key(pair.private), "reviewer")
    assert not (signed / "signatures" / "reviewer.sigstore.json").exists()


def test_a_draft_and_a_part_are_not_signed(finished, sealed, pair, tmp_path):
    key = load_private_key(pair.private)
    with pytest.raises(CaseError, match="is not a sealed case"):
        sign_case(finished.root, key, "examiner")
    part = Path(shutil.copytree(sealed.root, tmp_path / "x.evidence.part"))
    with pytest.raises(CaseError, match="is not a sealed case"):
        sign_case(part, key, "examiner")


def test_a_bad_role_is_refused_before_anything_is_copied(finished, pair, tmp_path):
    signing = Signing(key=load_private_key(pair.private), role="No Role")
    with pytest.raises(CaseError, match="is no role"):
        seal_case(finished, tmp_path / "x.evidence", signing)
    assert list(tmp_path.iterdir()) == []


def test_sealing_with_a_key_signs_the_files_and_the_opinion(finished, pair, tmp_path):
    signing = Signing(key=load_private_key(pair.private))
    sealed = seal_case(finished, tmp_path / "x.evidence", signing)
    for path in sealed.signatures:
        assert openssl_verifies(json.loads(path.read_bytes()), pair.public, tmp_path)
    names = sorted(path.name for path in (sealed.root / "signatures").iterdir())
    assert names == ["examiner.opinion.sigstore.json", "examiner.sigstore.json"]


def test_a_seal_cut_off_before_its_last_signature_gets_what_it_lacks(finished, pair, tmp_path):
    signing = Signing(key=load_private_key(pair.private))
    root = seal_case(finished, tmp_path / "x.evidence", signing).root
    opinion, case = sorted((root / "signatures").iterdir())
    assert sign_sealed(root, signing) == ()
    kept = case.read_bytes()
    opinion.unlink()
    assert sign_sealed(root, signing) == (opinion,)
    assert case.read_bytes() == kept
    assert openssl_verifies(json.loads(opinion.read_bytes()), pair.public, tmp_path)


@pytest.mark.skipif(
    find_spec("model_signing") is None, reason='not installed: pip install -e ".[test]" does it'
)
def test_the_reference_verifier_accepts_the_case_and_refuses_it_changed(signed, pair, tmp_path):
    verify = [sys.executable, "-m", "model_signing", "verify", "key", str(signed / "data")]
    verify += ["--signature", str(signed / "signatures" / "examiner.sigstore.json")]

    def accepts(public):
        command = [*verify, "--public_key", str(public)]
        return subprocess.run(command, capture_output=True).returncode == 0

    assert accepts(pair.public)
    assert not accepts(new_key(tmp_path / "other").public)
    (signed / "data" / "more.txt").write_bytes(b"more")
    assert not accepts(pair.public)
    (signed / "data" / "more.txt").unlink()
    assert accepts(pair.public)
    path = signed / "data" / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    assert not accepts(pair.public)
