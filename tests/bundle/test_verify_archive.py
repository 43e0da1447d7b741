"""Zips of sealed cases: packed by a common tool they verify, with a trick in them they do not."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest
from verify_world import failed

from auditor.bundle.archive import ArchiveError, read_entries, unpack
from auditor.bundle.keys import load_public_key
from auditor.bundle.verify import verify


def packed(root: Path, target: Path, method=zipfile.ZIP_DEFLATED) -> Path:
    """Return a zip of a folder, as a common tool packs it."""
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(root.rglob("*")):
            archive.write(path, f"{root.name}/{path.relative_to(root).as_posix()}")
    return target


def written(target: Path, *entries) -> Path:
    """Return a zip of (name or ZipInfo, content), whatever the names."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return target


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_zipped_case_verifies_as_the_folder_does(signed, tmp_path, method):
    path = packed(signed.root, tmp_path / "case.zip", method)
    before = path.read_bytes()
    found = verify(path, [load_public_key(signed.public)])
    assert [check.id for check in found.checks if check.outcome == "fail"] == []
    assert found.level == "L2"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["case.zip"]


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", b"1")],
        [("/etc/evil", b"1")],
        [("a/../../evil", b"1")],
        [("a\\..\\evil", b"1")],
        [("C:evil", b"1")],
        [("a//b", b"1")],
        [("data/a", b"1"), ("data/A", b"2")],
        [("data/caf\u00e9", b"1"), ("data/cafe\u0301", b"2")],
        [("a", b"1"), ("a/b", b"2"), ("A/b", b"3")],
        [("a\n", b"1")],
        [(special("link", stat.S_IFLNK), b"/etc/passwd")],
        [(special("pipe", stat.S_IFIFO), b"")],
        [(special("disk", stat.S_IFBLK), b"")],
        [("bomb", b"\0" * (3 << 20))],
    ],
)
def test_a_hostile_entry_is_found_before_anything_is_unpacked(tmp_path, entries):
    assert failed(written(tmp_path / "x.zip", *entries)) == {"V01"}
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"]


def test_a_name_that_is_there_twice_is_found(tmp_path):
    path = tmp_path / "x.zip"
    with pytest.warns(UserWarning, match="Duplicate name"):
        written(path, ("a", b"1"), ("a", b"2"))
    assert failed(path) == {"V01"}


def _patched(path: Path, signature: bytes, offset: int, content: bytes) -> Path:
    """Return the zip with bytes put at an offset from the first header of a kind."""
    data = bytearray(path.read_bytes())
    at = data.index(signature) + offset
    data[at : at + len(content)] = content
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(
    ("signature", "offset", "content"),
    [
        (b"PK\x03\x04", 30, b"x"),  # the local name
        (b"PK\x03\x04", 6, b"\x01"),  # local flags: encrypted
        (b"PK\x03\x04", 14, b"\1\2\3\4"),  # the local checksum
        (b"PK\x03\x04", 22, struct.pack("<L", 9)),  # the local size
        (b"PK\x01\x02", 16, b"\1\2\3\4"),  # the central checksum
        (b"PK\x01\x02", 24, struct.pack("<L", 9)),  # the central size
        (b"PK\x01\x02", 10, struct.pack("<H", 12)),  # method: bzip2
        (b"PK\x01\x02", 42, struct.pack("<L", 7)),  # the offset of the local header
        (b"PK\x05\x06", 10, struct.pack("<H", 9)),  # the number of entries
        (b"PK\x05\x06", 16, struct.pack("<L", 3)),  # where the central directory is
        (b"PK\x05\x06", 20, struct.pack("<H", 5)),  # the length of a comment
    ],
)
def test_a_field_that_tells_something_else_is_found(tmp_path, signature, offset, content):
    path = written(tmp_path / "x.zip", ("aa", b"hello"), ("bb", b"world"))
    assert failed(_patched(path, signature, offset, content)) == {"V01"}


@pytest.mark.parametrize("where", [0, -22])
def test_bytes_that_no_entry_owns_are_found(tmp_path, where):
    path = written(tmp_path / "x.zip", ("a", b"hello"))
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"junk" + data[4:] if where == 0 else data + b"junk")
    assert failed(path) == {"V01"}


@pytest.mark.parametrize("size", [4, 21, 60])
def test_a_zip_that_ends_early_is_found(tmp_path, size):
    path = written(tmp_path / "x.zip", ("a", b"hello"))
    path.write_bytes(path.read_bytes()[:size])
    assert failed(path) == {"V01"}


def test_content_that_unpacks_to_more_than_the_directories_say_is_refused(tmp_path):
    path = written(tmp_path / "x.zip", ("a", b"hello" * 100))
    # Both directories agree on 9 bytes; the content itself has 500.
    _patched(path, b"PK\x03\x04", 22, struct.pack("<L", 9))
    _patched(path, b"PK\x01\x02", 24, struct.pack("<L", 9))
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(ArchiveError, match="longer than the directory says"):
        unpack(path, read_entries(path), target)
