"""Time stamps by a local authority of openssl."""

import base64
import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from seal_world import copy_of

from auditor.bundle.keys import load_private_key, new_key
from auditor.bundle.signature import sigstore_bundle
from auditor.bundle.timestamp import attach, read_plan_stamp, stamped_time, write_request
from auditor.canon import pretty_json
from auditor.errors import TimestampError
from auditor.sealing import seal_case


def openssl_verifies(authority, response, data):
    command = ["openssl", "ts", "-verify", "-in", response, "-data", data, "-CAfile", "ca.crt"]
    done = subprocess.run([*command, "-untrusted", "tsa.crt"], cwd=authority.root)
    return done.returncode == 0


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "plan.lock.json"
    path.write_bytes(pretty_json({"schema": "auditor/plan-lock/1"}))
    return path


def test_the_stamp_of_a_lock_lies_beside_it_and_openssl_accepts_it(authority, lock, tmp_path):
    write_request(lock, tmp_path / "plan.tsq")
    response = authority.answer(tmp_path / "plan.tsq", tmp_path / "answer.tsr")
    kept = attach(lock, response)
    assert kept == tmp_path / "plan.lock.tsr"
    assert openssl_verifies(authority, kept, lock)
    time = stamped_time(kept.read_bytes(), lock.read_bytes())
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=5)
    with pytest.raises(TimestampError, match="exists"):
        attach(lock, response)


def test_the_stamp_of_a_signature_is_over_its_bytes_and_goes_into_it(authority, tmp_path):
    key = load_private_key(new_key(tmp_path).private)
    path = tmp_path / "examiner.sigstore.json"
    path.write_bytes(pretty_json(sigstore_bundle(key, b"{}")))
    before = json.loads(path.read_bytes())
    write_request(path, tmp_path / "s.tsq")
    assert attach(path, authority.answer(tmp_path / "s.tsq", tmp_path / "s.tsr")) == path
    after = json.loads(path.read_bytes())
    stamps = after["verificationMaterial"].pop("timestampVerificationData")["rfc3161Timestamps"]
    assert after == before
    signature = tmp_path / "signature.der"
    signature.write_bytes(base64.b64decode(before["dsseEnvelope"]["signatures"][0]["sig"]))
    (tmp_path / "kept.tsr").write_bytes(base64.b64decode(stamps[0]["signedTimestamp"]))
    assert openssl_verifies(authority, tmp_path / "kept.tsr", signature)
    with pytest.raises(TimestampError, match="has a time stamp"):
        attach(path, tmp_path / "s.tsr")


def test_a_stamp_over_something_else_is_refused(authority, lock, tmp_path):
    write_request(lock, tmp_path / "plan.tsq")
    response = authority.answer(tmp_path / "plan.tsq", tmp_path / "answer.tsr")
    lock.write_bytes(lock.read_bytes() + b"\n")
    with pytest.raises(TimestampError, match="is over something else"):
        attach(lock, response)
    assert not (tmp_path / "plan.lock.tsr").exists()


@pytest.mark.parametrize("content", [b"", b"not a response", b"0\x00"])
def test_what_is_no_response_is_refused(lock, tmp_path, content):
    (tmp_path / "bad.tsr").write_bytes(content)
    with pytest.raises(TimestampError, match="no RFC 3161 response"):
        attach(lock, tmp_path / "bad.tsr")


def test_a_refusal_of_the_authority_is_named(lock, tmp_path):
    # TimeStampResp of RFC 3161, 2.4.2: PKIStatusInfo with the status 2, rejection, and no token.
    (tmp_path / "refused.tsr").write_bytes(bytes.fromhex("30053003020102"))
    with pytest.raises(TimestampError, match="refused"):
        attach(lock, tmp_path / "refused.tsr")


def test_the_stamp_of_the_lock_goes_into_the_sealed_case(authority, lock, finished, tmp_path):
    write_request(lock, tmp_path / "plan.tsq")
    response = authority.answer(tmp_path / "plan.tsq", tmp_path / "answer.tsr")
    draft = copy_of(finished, tmp_path / "case")
    with pytest.raises(TimestampError, match="was not locked"):
        seal_case(draft, plan_stamp=response)
    plan = draft.read_json("plan.json")
    for digit, match in ((2, "is over something else"), (1, None)):
        declared = {"lock": {"schema": f"auditor/plan-lock/{digit}"}}
        draft.write_json("plan.json", {**plan, "declared": declared})
        if match is not None:
            with pytest.raises(TimestampError, match=match):
                read_plan_stamp(draft, response)
    assert read_plan_stamp(draft, response) == response.read_bytes()


def test_a_checked_stamp_is_a_file_of_the_sealed_case(finished, tmp_path, monkeypatch):
    # Only a plan in YAML can be locked, which this case has not: the check above stands alone.
    monkeypatch.setattr("auditor.sealing.read_plan_stamp", lambda case, path: path.read_bytes())
    (tmp_path / "answer.tsr").write_bytes(b"checked")
    sealed = seal_case(finished, tmp_path / "x.evidence", plan_stamp=tmp_path / "answer.tsr")
    assert (sealed.root / "data" / "plan.tsr").read_bytes() == b"checked"
    assert sealed.evidence["files"]["plan.tsr"]["role"] == "timestamp"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TimestampError, match="cannot be read"):
        write_request(tmp_path / "missing", tmp_path / "x.tsq")
