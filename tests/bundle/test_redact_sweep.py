"""The negative sweep of a redacted case: whoever changes it makes index and manifests anew."""

import hashlib
import json
import shutil

import pytest
from redact_world import lines_below, resealed_copy, write_lines
from verify_world import copied, edit_json, failed

from auditor.canon import canonical_json, leaf_hash
from auditor.withheld import placeholder

RECORDS = "records/teacher/instructions@1.jsonl"
"""Of which the first line is withheld."""
TOLD = "records/told/ood@1.jsonl"
"""Of which several are."""


def _hidden(root, name):
    index = json.loads((root / "data/evidence.json").read_bytes())
    return index["withheld"][name]


def _another_leaf(root):
    leaf = leaf_hash(b"another")
    number = min(_hidden(root, TOLD), key=int)
    lines = lines_below(root, TOLD)
    lines[int(number)] = placeholder(leaf)
    write_lines(root, TOLD, lines)
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].update({number: leaf}))


def _two_leaves_exchanged(root):
    first, second = sorted(_hidden(root, TOLD), key=int)[:2]
    leaves = _hidden(root, TOLD)
    lines = lines_below(root, TOLD)
    lines[int(first)], lines[int(second)] = lines[int(second)], lines[int(first)]
    write_lines(root, TOLD, lines)
    swapped = {first: leaves[second], second: leaves[first]}
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].update(swapped))


def _leaf_of_the_index_alone(root):
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].popitem())


def _shown_line_edited(root):
    lines = lines_below(root, RECORDS)
    row = json.loads(lines[-1])
    lines[-1] = canonical_json({**row, "text": "invented"})
    write_lines(root, RECORDS, lines)


def _withheld_line_invented(root):
    lines = lines_below(root, RECORDS)
    row = json.loads(lines[1])
    lines[0] = canonical_json({**row, "seq": 0, "prev": "", "repeat": 0, "text": "invented"})
    lines[1] = canonical_json({**row, "prev": leaf_hash(lines[0])})
    write_lines(root, RECORDS, lines)
    edit_json(root, "evidence.json", lambda one: one["withheld"].pop(RECORDS))


def _shown_line_withheld(root):
    lines = lines_below(root, RECORDS)
    lines[1] = placeholder(leaf_hash(lines[1]))
    write_lines(root, RECORDS, lines)


def _line_removed(root):
    lines = lines_below(root, RECORDS)
    write_lines(root, RECORDS, lines[:-1])


def _index_moved(root):
    def move(one):
        one["withheld"][RECORDS] = {"1": one["withheld"][RECORDS]["0"]}

    edit_json(root, "evidence.json", move)


def _custody_line_withheld(root):
    lines = lines_below(root, "custody.jsonl")
    leaf = leaf_hash(lines[0])
    write_lines(root, "custody.jsonl", [placeholder(leaf), *lines[1:]])
    edit_json(
        root, "evidence.json", lambda one: one["withheld"].update({"custody.jsonl": {"0": leaf}})
    )


def _other_file_of_records(root):
    name = "records/independent/ood@1.jsonl"
    lines = lines_below(root, name)
    lines[-1] = canonical_json({**json.loads(lines[-1]), "text": "invented"})
    write_lines(root, name, lines)


def _root_of_the_original(root):
    edit_json(root, "parent/evidence.json", lambda one: one["files"][RECORDS].update(lines=99))


def _manifest_of_the_original(root):
    path = root / "data/parent/manifest-sha256.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))


def _original_covered(root):
    """Change a shown line, and index, manifest and digest of the original so that all agree."""
    shutil.rmtree(root / "signatures")  # over the copy: only the original's are left
    _shown_line_edited(root)
    resealed_copy(root)
    own = json.loads((root / "data/evidence.json").read_bytes())["files"][RECORDS]
    tree = {key: own[key] for key in ("lines", "merkle_root", "last")}
    edit_json(root, "parent/evidence.json", lambda one: one["files"][RECORDS].update(tree))
    manifest_of_parent_again(root)


def manifest_of_parent_again(root):
    index = (root / "data/parent/evidence.json").read_bytes()
    files = {name: one["sha256"] for name, one in json.loads(index)["files"].items()}
    files["evidence.json"] = hashlib.sha256(index).hexdigest()
    lines = "".join(f"{files[name]}  data/{name}\n" for name in sorted(files)).encode()
    (root / "data/parent/manifest-sha256.txt").write_bytes(lines)
    digest = hashlib.sha256(lines).hexdigest()
    edit_json(root, "evidence.json", lambda one: one.update(parent=digest))


def _file_dropped(root):
    (root / "data/arrays/span/independent.npy").unlink()


def _listed(root, name):
    old = json.loads((root / "data/parent/evidence.json").read_bytes())["files"][name]
    entry = {"sha256": old["sha256"], "bytes": old["bytes"], "why": "none"}
    edit_json(root, "redaction.json", lambda one: one["files"].update({name: entry}))


def _file_dropped_and_listed(root):
    _file_dropped(root)
    _listed(root, "arrays/span/independent.npy")


def _plan_stamp_like_file_listed(root):
    _listed(root, "arrays/span/independent.npy")


def _statistics_rewritten(root):
    old = json.loads((root / "data/parent/evidence.json").read_bytes())["files"]
    edit_json(
        root,
        "redaction.json",
        lambda one: one["rewritten"].update({"statistics.json": old["statistics.json"]["sha256"]}),
    )


def _redaction(change):
    return lambda root: edit_json(root, "redaction.json", change)


def _evidence(change):
    return lambda root: edit_json(root, "evidence.json", change)


def _first(files):
    return files[min(files)]


SWEEP = {
    "leaf-changed": ("V07", _another_leaf),
    "leaves-exchanged": ("V07", _two_leaves_exchanged),
    "leaf-not-indexed": ("V07", _leaf_of_the_index_alone),
    "shown-line-edited": ("V07", _shown_line_edited),
    "withheld-line-invented": ("V07", _withheld_line_invented),
    "shown-line-withheld": ("V07", _shown_line_withheld),
    "line-removed": ("V07", _line_removed),
    "index-moved": ("V07", _index_moved),
    "custody-line-withheld": ("V07", _custody_line_withheld),
    "untouched-records-edited": ("V07", _other_file_of_records),
    "root-of-the-original": ("V07", _root_of_the_original),
    "manifest-of-the-original": ("V07", _manifest_of_the_original),
    "parent-changed": ("V07", _evidence(lambda one: one.update(parent="0" * 64))),
    "parent-denied": ("V07", _evidence(lambda one: one.update(parent=None))),
    "statistics-rewritten": ("V07", _statistics_rewritten),
    "original-covered": ("V05", _original_covered),
    "file-dropped": ("V08", _file_dropped),
    "file-dropped-and-listed": ("V08", _file_dropped_and_listed),
    "shown-file-listed": ("V08", _plan_stamp_like_file_listed),
    "file-added": (
        "V08",
        lambda root: shutil.copyfile(
            root / "data/arrays/span/sibling.npy", root / "data/arrays/span/told.npy"
        ),
    ),
    "digest-of-a-withheld-file": (
        "V08",
        _redaction(lambda one: _first(one["files"]).update(sha256="0" * 64)),
    ),
    "length-of-a-withheld-file": (
        "V08",
        _redaction(lambda one: _first(one["files"]).update(bytes=1)),
    ),
    "withheld-file-not-listed": (
        "V08",
        _redaction(lambda one: one["files"].pop(min(one["files"]))),
    ),
    "count-changed": ("V08", _redaction(lambda one: one["lines"].update(withheld=1))),
    "total-changed": ("V08", _redaction(lambda one: one["lines"].update(total=61))),
    "statement-removed": ("V08", lambda root: (root / "data/redaction.json").unlink()),
    "statistics-claimed": ("V10", _redaction(lambda one: one["statistics"].pop())),
    "other-schema": ("V02", _redaction(lambda one: one.update(schema="auditor/redaction/2"))),
    "report-edited": (
        "V11",
        lambda root: (root / "data/report.md").write_text("# no redaction\n"),
    ),
}


def test_the_untouched_copy_passes_and_a_copy_made_anew_is_the_same(told, copy_of_told, tmp_path):
    root = copied(copy_of_told.root, tmp_path / "case")
    assert failed(root, told.public) == set()
    before = (root / "manifest-sha256.txt").read_bytes()
    resealed_copy(root)
    assert (root / "manifest-sha256.txt").read_bytes() == before


@pytest.mark.parametrize("way", SWEEP)
def test_a_change_that_was_covered_is_found(copy_of_told, tmp_path, way):
    check, change = SWEEP[way]
    root = copied(copy_of_told.root, tmp_path / "case")
    change(root)
    resealed_copy(root)
    found = failed(root)
    assert check in found
    assert "V03" not in found
