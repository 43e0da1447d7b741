"""The negative sweep: every file of a sealed case spoiled in every way, found by the right check.

Nothing is re-computed by the deceiver here; test_verify_covered.py has those who cover their steps.
"""

import pytest
from verify_world import copied, failed


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _link(path):
    path.rename(path.with_name(path.name + "-x"))
    path.symlink_to(path.name + "-x")


SPOILT = {
    "edited": ("V03", lambda path: path.write_bytes(_flipped(path.read_bytes()))),
    "emptied": ("V03", lambda path: path.write_bytes(b"")),
    "truncated": ("V03", lambda path: path.write_bytes(path.read_bytes()[:-7])),
    "grown": ("V03", lambda path: path.write_bytes(path.read_bytes() + b"\n ")),
    "removed": ("V03", lambda path: path.unlink()),
    "renamed": ("V04", lambda path: path.rename(path.with_name("x" + path.name))),
    "linked": ("V01", _link),
}
FILES = (
    "bagit.txt",
    "bag-info.txt",
    "manifest-sha256.txt",
    "tagmanifest-sha256.txt",
    "data/evidence.json",
    "data/plan.json",
    "data/subjects.json",
    "data/environment.json",
    "data/statistics.json",
    "data/conclusion.json",
    "data/custody.jsonl",
    "data/report.html",
    "data/report.md",
    "data/result.json",
    "data/collected/independent.json",
    "data/probes/ood@1/items.jsonl",
    "data/probes/ood@1/suite.toml",
    "data/records/independent/ood@1.jsonl",
    "data/records/teacher/instructions@1.jsonl",
    "data/arrays/topk/independent.npy",
)
# Where a bag lacks the file that others are checked by, another check sees it.
OTHERWISE = {
    ("data/evidence.json", "renamed"): "V02",
}


def test_the_untouched_case_passes(signed):
    assert failed(signed.root, signed.public) == set()


@pytest.mark.parametrize("way", SPOILT)
@pytest.mark.parametrize("name", FILES)
def test_a_spoilt_file_is_found(signed, tmp_path, name, way):
    check, spoil = SPOILT[way]
    root = copied(signed.root, tmp_path / "case")
    spoil(root / name)
    assert OTHERWISE.get((name, way), check) in failed(root)


@pytest.mark.parametrize("name", ["notes.txt", "data/notes.txt", "signatures/x.txt", "data/.x"])
def test_an_added_file_is_found(signed, tmp_path, name):
    root = copied(signed.root, tmp_path / "case")
    (root / name).write_bytes(b"1")
    assert "V04" in failed(root)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("records/independent/ood@1.jsonl", "records/sibling/ood@1.jsonl"),
        ("arrays/topk/independent.npy", "arrays/topk/teacher.npy"),
        ("collected/independent.json", "collected/sibling.json"),
    ],
)
def test_swapped_files_are_found(signed, tmp_path, first, second):
    data = copied(signed.root, tmp_path / "case") / "data"
    one, other = (data / first).read_bytes(), (data / second).read_bytes()
    (data / first).write_bytes(other)
    (data / second).write_bytes(one)
    assert "V03" in failed(data.parent)
