"""V06: time stamps of a real authority, trusted only below a root that the verifier brings."""

import base64
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from redact_world import redacted
from tsa_world import Authority
from verify_world import copied, edit_json, resealed

from auditor.bundle.keys import load_private_key, load_public_key, new_key
from auditor.bundle.signature import sign_case
from auditor.bundle.timestamp import attach, load_certificates, write_request
from auditor.bundle.verify import verify
from auditor.cli.main import cli
from auditor.errors import TimestampError

SIGNATURE = "signatures/examiner.sigstore.json"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return new_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def signed(sealed, pair, tmp_path):
    root = copied(sealed.root, tmp_path / "case.evidence")
    sign_case(root, load_private_key(pair.private), "examiner")
    return root


def stamp(root, authority, tmp_path) -> None:
    request = tmp_path / "request.tsq"
    write_request(root / SIGNATURE, request)
    attach(root / SIGNATURE, authority.answer(request, tmp_path / "answer.tsr"))


def found(root, pair, *authorities):
    roots = [one for a in authorities for one in load_certificates(a.certificate)]
    made = verify(root, [load_public_key(pair.public)], roots=roots)
    (check,) = (check for check in made.checks if check.id == "V06")
    assert all(one.outcome != "fail" for one in made.checks if one.id != "V06")
    return made.level, check


def test_a_stamped_signature_has_a_trusted_time(signed, pair, authority, tmp_path):
    stamp(signed, authority, tmp_path)
    level, check = found(signed, pair, authority)
    assert (level, check.outcome) == ("L3", "pass")
    assert datetime.now(UTC).isoformat()[:10] in check.details[0]


def test_without_a_root_a_stamp_is_shown_and_trusted_by_nobody(signed, pair, authority, tmp_path):
    stamp(signed, authority, tmp_path)
    level, check = found(signed, pair)
    assert (level, check.outcome) == ("L2", "skipped")
    assert any("--tsa-root" in line for line in check.details)
    assert any(SIGNATURE in line for line in check.details)


def test_a_root_without_a_stamp_shows_no_time(signed, pair, authority):
    assert found(signed, pair, authority)[0] == "L2"


def test_a_redacted_copy_keeps_the_trusted_time_of_the_original(signed, pair, authority, tmp_path):
    stamp(signed, authority, tmp_path)
    copy = redacted(signed, tmp_path / "copy", "probe:ood-0002")
    level, check = found(copy, pair, authority)
    assert (level, check.outcome) == ("L3", "pass")
    assert f"data/parent/{SIGNATURE}: stamped" in "".join(check.details)
    # The time of the original is not before the time of its own seal.
    edit_json(copy, "parent/evidence.json", lambda one: one.update(sealed=LATER))
    (check,) = (check for check in verify(copy).checks if check.id == "V06")
    assert any("stamped before the seal" in line for line in check.details)
    assert any("dated before the original was sealed" in line for line in check.details)


LATER = "2999-01-01T00:00:00.000+00:00"


def test_another_authority_is_not_trusted(signed, pair, authority, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    stamp(signed, Authority(other), tmp_path)
    level, check = found(signed, pair, authority)
    assert (level, check.outcome) == ("L0", "fail")
    assert "no authority below the roots" in check.details[0]


def test_a_certificate_that_had_ended_stamps_nothing(signed, pair, tmp_path):
    folder = tmp_path / "ended"
    folder.mkdir()
    ended = Authority(folder, days=-1)
    stamp(signed, ended, tmp_path)
    assert found(signed, pair, ended)[1].outcome == "fail"


@pytest.mark.parametrize("with_root", [False, True])
def test_the_stamp_of_another_signature_is_found(signed, pair, authority, tmp_path, with_root):
    other = copied(signed, tmp_path / "other.evidence")
    (other / SIGNATURE).unlink()
    sign_case(other, load_private_key(pair.private), "examiner")  # ECDSA: other bytes each time
    stamp(other, authority, tmp_path)
    mine, theirs = (json.loads((root / SIGNATURE).read_bytes()) for root in (signed, other))
    material = theirs["verificationMaterial"]
    mine["verificationMaterial"] = material
    (signed / SIGNATURE).write_text(json.dumps(mine))
    level, check = found(signed, pair, *([authority] if with_root else []))
    assert (level, check.outcome) == ("L0", "fail")
    assert "over something else" in check.details[0]


def test_what_is_no_stamp_is_found_without_a_root(signed, pair):
    content = json.loads((signed / SIGNATURE).read_bytes())
    stamps = [{"signedTimestamp": base64.b64encode(b"yesterday").decode()}]
    content["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    (signed / SIGNATURE).write_text(json.dumps(content))
    assert "no RFC 3161 response" in found(signed, pair)[1].details[0]


def test_a_signature_stamped_before_the_seal_is_found(sealed, pair, authority, tmp_path):
    root = copied(sealed.root, tmp_path / "case.evidence")
    later = (datetime.now(UTC) + timedelta(days=2)).isoformat(timespec="milliseconds")
    index = json.loads((root / "data/evidence.json").read_bytes())
    (root / "data/evidence.json").write_text(json.dumps(index | {"sealed": later}))
    resealed(root)
    sign_case(root, load_private_key(pair.private), "examiner")
    stamp(root, authority, tmp_path)
    assert "before the seal" in found(root, pair, authority)[1].details[0]


def test_the_command_asks_for_the_level(signed, pair, authority, tmp_path):
    stamp(signed, authority, tmp_path)
    command = ["verify", str(signed), "--key", str(pair.public), "--min-level", "L3"]
    run = CliRunner().invoke
    assert run(cli, command, standalone_mode=False).return_value == 6
    command += ["--tsa-root", str(authority.certificate)]
    assert run(cli, command, standalone_mode=False).return_value == 0
    shutil.copy(pair.public, tmp_path / "no certificate.pem")
    with pytest.raises(TimestampError, match="no certificate in PEM"):
        load_certificates(tmp_path / "no certificate.pem")
