"""`auditor verify --svr`: an in-toto statement of what passed, read by in-toto's own package."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from verify_world import copied, edit_json, resealed

from auditor import __version__
from auditor.bundle.bag import manifest_digest
from auditor.bundle.check import Check
from auditor.bundle.keys import load_public_key, new_key, public_pem
from auditor.bundle.verify import Verification
from auditor.cli.main import cli
from auditor.cli.verify import show
from auditor.errors import InputError


def verified(*words):
    return CliRunner().invoke(cli, ["verify", *map(str, words)], standalone_mode=False)


@pytest.fixture(scope="module")
def written(signed, tmp_path_factory):
    """Return the files of one verification each: plain, and signed; and the verifier's key."""
    folder = tmp_path_factory.mktemp("svr")
    pair = new_key(folder, "verifier")
    words = (signed.root, "--key", signed.public, "--svr")
    assert verified(*words, folder / "plain.json").return_value == 0
    done = verified(*words, folder / "signed.json", "--svr-key", pair.private)
    assert done.return_value == 0
    return folder / "plain.json", folder / "signed.json", pair


def statement_of(content: dict) -> dict:
    return json.loads(base64.b64decode(content["payload"]))


def test_the_statement_is_one_for_the_package_of_in_toto(written):
    plain, _, _ = written
    content = json.loads(plain.read_bytes())
    message = json_format.ParseDict(content, StatementMessage())
    Statement.copy_from_pb(message).validate()
    assert json_format.MessageToDict(message) == content


def test_it_says_what_passed_of_which_files_and_who_was_trusted(written, signed):
    plain, _, _ = written
    content = json.loads(plain.read_bytes())
    (subject,) = content["subject"]
    assert subject["digest"] == {"sha256": manifest_digest(signed.root)}
    assert content["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    predicate = content["predicate"]
    assert set(predicate) == {"verifier", "timeCreated", "properties"}
    assert predicate["verifier"]["id"].endswith(f":{__version__}")
    asked, key = predicate["verifier"]["policies"]
    assert asked["annotations"] == {"min_level": "L2", "replay": False}
    # The fingerprint of a key is the SHA-256 of its PEM, here by sha256sum.
    done = subprocess.run(["sha256sum", signed.public], capture_output=True, text=True)
    assert key["digest"] == {"sha256": done.stdout.split()[0]}
    # V06 has no time stamp to trust and V12 was not asked for: neither was verified.
    wanted = [f"AUDITOR_V{n:02}" for n in range(1, 15) if n not in (6, 12)]
    assert predicate["properties"] == [*wanted, "AUDITOR_LEVEL_L2"]
    assert predicate["timeCreated"].endswith("Z")


def test_the_envelope_is_verified_by_securesystemslib_and_openssl(written, tmp_path):
    plain, signed_file, pair = written
    content = json.loads(signed_file.read_bytes())
    assert statement_of(content)["subject"] == json.loads(plain.read_bytes())["subject"]
    envelope = Envelope.from_dict(json.loads(signed_file.read_bytes()))
    public = load_public_key(pair.public)
    key = SSlibKey(pair.fingerprint, "ecdsa", "ecdsa-sha2-nistp256", keyval(public))
    assert set(envelope.verify([key], 1)) == {pair.fingerprint}
    (tmp_path / "pae").write_bytes(envelope.pae())
    (tmp_path / "sig").write_bytes(base64.b64decode(content["signatures"][0]["sig"]))
    command = ["openssl", "dgst", "-sha256", "-verify", pair.public, "-signature", "sig", "pae"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "pae").write_bytes(envelope.pae() + b" ")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


def keyval(public) -> dict[str, str]:
    return {"public": public_pem(public).decode()}


def test_a_check_that_failed_is_no_property_and_gives_no_level(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    edit_json(root, "conclusion.json", lambda c: c["suspects"]["independent"].update(cap="none"))
    resealed(root)
    assert verified(root, "--svr", tmp_path / "svr.json").return_value == 5
    properties = json.loads((tmp_path / "svr.json").read_bytes())["predicate"]["properties"]
    assert "AUDITOR_V03" in properties
    assert not {"AUDITOR_V05", "AUDITOR_V13"} & set(properties)
    assert not [one for one in properties if "LEVEL" in one]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / "data/plan.json").write_bytes(b"{}"),
        lambda root: (root / "data/notes.txt").write_bytes(b""),
        lambda root: (root / "manifest-sha256.txt").unlink(),
        lambda root: (root / "data/link").symlink_to("plan.json"),
    ],
    ids=["edited", "added", "no manifest", "unsafe"],
)
def test_nothing_is_written_of_files_that_the_manifest_does_not_stand_for(signed, tmp_path, spoil):
    root = copied(signed.root, tmp_path / "case")
    spoil(root)
    done = verified(root, "--svr", tmp_path / "svr.json")
    assert done.return_value == 5
    assert "no verification result to write" in done.stderr
    assert not (tmp_path / "svr.json").exists()


def test_refused_before_anything_is_read(signed, tmp_path):
    (tmp_path / "there.json").write_text("mine")
    for words in (
        ("--svr", tmp_path / "there.json"),
        ("--svr", signed.root / "data" / "svr.json"),
        ("--svr-key", signed.private),
    ):
        assert isinstance(verified(signed.root, *words).exception, InputError)
    assert (tmp_path / "there.json").read_text() == "mine"


def test_each_failure_names_what_to_do(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    (root / "data/notes.txt").write_bytes(b"")
    (root / "data/bad\u00e9.json").write_bytes(b"{")
    done = verified(root)
    lines = done.stdout.splitlines()
    failures = [line for line in lines if line[5:9] == "fail"]
    remedies = [line for line in lines if line.startswith("       what to do: ")]
    assert len(failures) == len(remedies) >= 2


def test_no_line_break_of_a_stranger_makes_a_check(capsys):
    text = "a deviation\nV05  pass     signatures"
    show(Verification(case=Path("x"), checks=(Check(id="V09", outcome="fail", details=(text,)),)))
    lines = capsys.readouterr().out.splitlines()
    assert [line[:3] for line in lines if not line.startswith(" ")] == ["V09", "L0 "]
    assert lines[1] == "       a deviation V05 pass signatures"


def test_of_a_zip_it_is_about_the_same_manifest(signed, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "case"), "zip", signed.root)
    assert verified(archive, "--svr", tmp_path / "svr.json").return_value == 6
    (subject,) = json.loads((tmp_path / "svr.json").read_bytes())["subject"]
    assert subject["digest"] == {"sha256": manifest_digest(signed.root)}
