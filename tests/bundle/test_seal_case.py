"""A sealed case: what is in it, and that standard tools agree."""

import hashlib
import json
import re
import subprocess
import sys

import bagit
import pytest
from jsonschema import Draft202012Validator
from seal_world import copy_of, files_of, lines_of

from auditor.bundle.bag import TAG_FILES
from auditor.canon import json_digest
from auditor.case import Case
from auditor.data import data_dir
from auditor.merkle import merkle_root
from auditor.sealing import seal_case


def faults(name, value):
    schema = json.loads((data_dir("reports") / "schema" / name).read_text())
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def test_the_index_follows_the_published_schema(sealed):
    assert faults("evidence-1.json", sealed.evidence) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.pop("parent"),
        lambda index: index.update(sealed="yesterday"),
        lambda index: index["files"]["plan.json"].update(role="mine"),
        lambda index: index["files"]["plan.json"].update(lines=3),
        lambda index: index["files"]["custody.jsonl"].pop("merkle_root"),
        lambda index: index["files"]["plan.json"].update(sha256="sha256:" + "0" * 64),
        lambda index: index["withheld"].update({"custody.jsonl": {"first": "0" * 64}}),
    ],
)
def test_the_schema_refuses_another_index(sealed, change):
    index = json.loads(json.dumps(sealed.evidence))
    change(index)
    assert faults("evidence-1.json", index)


def test_every_file_is_indexed_with_its_digest_and_size(sealed):
    data = sealed.root / "data"
    found = files_of(data)
    index = json.loads(found.pop("evidence.json"))
    assert sorted(index["files"]) == sorted(found)
    for name, content in found.items():
        entry = index["files"][name]
        assert entry["sha256"] == hashlib.sha256(content).hexdigest(), name
        assert entry["bytes"] == len(content), name
        assert entry["role"] != "other", name
    assert index["case_id"] == json_digest(json.loads(found["plan.json"]))
    assert (index["parent"], index["withheld"]) == (None, {})


def test_chained_files_have_the_merkle_root_of_their_lines(sealed):
    files = sealed.evidence["files"]
    chained = {name for name, entry in files.items() if "merkle_root" in entry}
    assert chained == {n for n in files if n.startswith("records/")} | {"custody.jsonl"}
    for name in chained:
        lines = (sealed.root / "data" / name).read_bytes().splitlines()
        # RFC 9162: a leaf is hashed after a zero byte.
        leaves = [hashlib.sha256(b"\0" + line).hexdigest() for line in lines]
        assert files[name]["lines"] == len(leaves) > 0
        assert files[name]["merkle_root"] == merkle_root(leaves)
        assert files[name]["last"] == leaves[-1]


COURSE = {
    "report.html": rb'<section aria-labelledby="course">.*?</section>',
    "report.md": rb"## Course of the case\n.*?\n## ",
}


def without_course(files):
    """Return the files with the reports' time line, which a sealed case alone has, taken out."""
    cut = {name: re.subn(COURSE[name], b"", files[name], flags=re.S) for name in COURSE}
    assert {count for _, count in cut.values()} == {1}
    return {**files, **{name: content for name, (content, _) in cut.items()}}


def test_the_draft_stays_as_it_was_and_only_custody_grows_in_the_copy(finished, sealed):
    before, after = files_of(finished.data), files_of(sealed.root / "data")
    assert before["custody.jsonl"] != after["custody.jsonl"]
    assert after.pop("custody.jsonl").startswith(before.pop("custody.jsonl"))
    added = {name for name in after if name not in before}
    assert added - {"replay.py"} == {"evidence.json"}
    kept = {name: after[name] for name in before}
    assert without_course(kept) == without_course(before)
    assert b"No time line to draw" in before["report.html"]
    assert b"Time line" in after["report.html"]
    event = lines_of(sealed.root / "data" / "custody.jsonl")[-1]
    assert event["event"] == "seal"
    assert event["time"] <= sealed.evidence["sealed"]
    assert not (sealed.root / "work").exists()


def test_only_the_four_tag_files_and_data_are_there(sealed):
    assert sorted(path.name for path in sealed.root.iterdir()) == sorted([*TAG_FILES, "data"])
    # The manifest of tags covers the three others: nothing of the bag is left out.
    tags = [line[66:] for line in (sealed.root / TAG_FILES[3]).read_text().splitlines()]
    assert tags == ["bag-info.txt", "bagit.txt", "manifest-sha256.txt"]


def test_copied_files_are_files_of_their_own(finished, sealed):
    source, copy = finished.data / "plan.json", sealed.root / "data" / "plan.json"
    assert source.stat().st_ino != copy.stat().st_ino
    assert copy.stat().st_nlink == 1


def test_sha256sum_accepts_both_manifests(sealed):
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        command = ["sha256sum", "--check", "--strict", "--quiet", name]
        done = subprocess.run(command, cwd=sealed.root, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_bagit_accepts_the_bag_and_refuses_it_changed(sealed, tmp_path):
    bag = bagit.Bag(str(sealed.root))
    bag.validate()
    sizes = [len(content) for content in files_of(sealed.root / "data").values()]
    assert bag.info["Payload-Oxum"] == f"{sum(sizes)}.{len(sizes)}"
    assert bag.info["External-Identifier"] == sealed.evidence["case_id"]
    changed = copy_of(Case(sealed.root), tmp_path / "changed")
    for name in TAG_FILES:
        (changed.root / name).write_bytes((sealed.root / name).read_bytes())
    path = changed.data / "conclusion.json"
    path.write_bytes(path.read_bytes().replace(b"inconclusive", b"replication_"))
    assert not bagit.Bag(str(changed.root)).is_valid()


def test_the_same_draft_gives_the_same_bytes_but_for_the_times(finished, sealed, tmp_path):
    again = seal_case(finished, tmp_path / "again.evidence")
    first, second = files_of(sealed.root / "data"), files_of(again.root / "data")
    assert set(first) == set(second)
    first, second = without_course(first), without_course(second)
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"custody.jsonl", "evidence.json"}


def test_the_command_prints_where_the_sealed_case_is(finished, tmp_path):
    command = [sys.executable, "-m", "auditor", "seal", str(finished.root), "--json"]
    out = tmp_path / "deep" / "x.evidence"
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    manifest = (out / "manifest-sha256.txt").read_bytes()
    assert faults("seal-1.json", printed) == []
    assert printed["bundle"] == str(out)
    assert printed["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
    assert printed["signatures"] == []
    assert "not signed" not in done.stdout
