"""Salts of record lines: what they are, and where their key comes from."""

import hashlib
import hmac
import json

import pytest

from auditor.case import Case
from auditor.collect.salt import LineSalts, key_path
from auditor.errors import CaseError

FILE = "records/a/b@1.jsonl"


def salts_of(root):
    case = Case(root)
    return [LineSalts(case, case.data / FILE).of_line(number) for number in range(3)]


def test_a_salt_is_the_start_of_an_hmac_over_file_and_line(tmp_path, salt_key):
    expected = hmac.new(salt_key.read_bytes(), b"records/a/b@1.jsonl|2", hashlib.sha256)
    assert salts_of(tmp_path)[2] == expected.hexdigest()[:32]


def test_every_record_of_a_case_has_the_salt_of_its_line(case, salt_key):
    found = 0
    for path in case.data.glob("records/*/*.jsonl"):
        name = path.relative_to(case.data).as_posix()
        for number, line in enumerate(path.read_bytes().splitlines()):
            message = f"{name}|{number}".encode()
            expected = hmac.new(salt_key.read_bytes(), message, hashlib.sha256).hexdigest()[:32]
            assert json.loads(line)["salt"] == expected
            found += 1
    assert found > 20


def test_a_case_keeps_its_key_which_its_owner_alone_may_read(tmp_path, monkeypatch):
    monkeypatch.delenv("AUDITOR_SALT_KEY")
    first = salts_of(tmp_path / "case")
    assert len(set(first)) == 3
    key = key_path(Case(tmp_path / "case"))
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert salts_of(tmp_path / "case") == first
    other = salts_of(tmp_path / "other")
    assert not set(first) & set(other)


def test_the_key_of_a_started_case_is_not_replaced(tmp_path, monkeypatch):
    before = salts_of(tmp_path)
    monkeypatch.delenv("AUDITOR_SALT_KEY")
    assert salts_of(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_key_of_another_length_is_refused(tmp_path, monkeypatch, content):
    path = tmp_path / "my.key"
    path.write_bytes(content)
    monkeypatch.setenv("AUDITOR_SALT_KEY", str(path))
    with pytest.raises(CaseError, match=rf"my\.key holds {len(content)} bytes"):
        salts_of(tmp_path / "case")
    assert not key_path(Case(tmp_path / "case")).exists()


def test_a_key_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITOR_SALT_KEY", str(tmp_path / "missing"))
    with pytest.raises(CaseError, match="missing cannot be read"):
        salts_of(tmp_path / "case")
