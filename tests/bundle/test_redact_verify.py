"""`auditor verify` on a redacted case: what it proves with whose key, and what it finds."""

import json
import shutil
import subprocess
import sys

import pytest
from redact_world import redacted, resealed_copy
from replay_world import FILE
from verify_world import copied, edit_json, failed

from auditor.bundle.keys import load_private_key, load_public_key, new_key
from auditor.bundle.signature import data_statement, sigstore_bundle
from auditor.bundle.verify import verify
from auditor.canon import canonical_json, leaf_hash, pretty_json
from auditor.case import Case
from auditor.report.render import write_reports
from auditor.withheld import placeholder

RECORDS = "records/teacher/instructions@1.jsonl"
"""Of which the first line is withheld."""
TOLD = "records/told/ood@1.jsonl"
"""Of which several are."""


def details(found, name):
    return "\n".join(next(check for check in found.checks if check.id == name).details)


def keys_of(*paths):
    return [load_public_key(path) for path in paths]


def test_the_examiners_key_proves_the_copy_by_the_original(told, copy_of_told):
    found = verify(copy_of_told.root, keys_of(told.public))
    assert {check.id for check in found.checks if check.outcome == "fail"} == set()
    assert found.level == "L2"
    assert "signed the original" in details(found, "V05")
    assert "signed this redacted copy" not in details(found, "V05")
    assert "record lines and" in details(found, "V08")


def test_the_custodians_key_proves_the_copy_as_it_is(told, copy_of_told):
    found = verify(copy_of_told.root, keys_of(copy_of_told.public))
    assert found.level == "L2"
    assert "signed this redacted copy" in details(found, "V05")
    both = verify(copy_of_told.root, keys_of(copy_of_told.public, told.public))
    assert both.level == "L2"
    assert details(both, "V05").count(" signed ") == 2


def test_another_key_and_none_prove_nothing(copy_of_told, tmp_path):
    other = new_key(tmp_path)
    assert failed(copy_of_told.root, other.public) == {"V05"}
    assert verify(copy_of_told.root).level == "L1"


@pytest.fixture(scope="module")
def replayed(copy_of_told):
    """Return what replay.py finds in the copy."""
    done = subprocess.run(
        [sys.executable, "-I", str(FILE), str(copy_of_told.root), "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_replay_computes_all_that_does_not_rest_on_what_is_withheld(copy_of_told, replayed):
    stated = json.loads((copy_of_told.root / "data/redaction.json").read_bytes())
    statistics = Case(copy_of_told.root).read_json("statistics.json")["suspects"]
    # Of a statistic without any number there is none to be computed again.
    numbers = {
        row["id"]
        for rows in statistics.values()
        for row in rows
        if any(value is not None for value in (row["value"], *row["control_values"]))
    }
    missed = {line["id"] for line in replayed["lines"] if line["outcome"] == "not replayable"}
    assert missed & numbers == set(stated["statistics"])
    assert 0 < len(stated["statistics"]) < len(numbers)
    assert replayed["counts"]["differs"] == 0


def test_a_copy_that_is_replayed_in_part_is_not_called_replayed(told, copy_of_told, replayed):
    found = verify(copy_of_told.root, keys_of(told.public), replay=True)
    (check,) = [check for check in found.checks if check.id == "V12"]
    assert check.outcome == "skipped"
    assert found.level == "L2"
    counts = replayed["counts"]
    assert f"{counts['ok']} ok, 0 differs, {counts['not replayable']} not" in check.details[0]
    assert "withheld" in "\n".join(check.details[1:])


def test_a_changed_statistic_is_found_by_the_replay_of_a_copy(copy_of_told, tmp_path):
    root = copied(copy_of_told.root, tmp_path / "case")
    stated = json.loads((root / "data/redaction.json").read_bytes())["statistics"]

    def change(content):
        rows = content["suspects"]["independent"]
        row = next(r for r in rows if r["value"] and r["id"] not in stated)
        row["value"] *= 1.01

    edit_json(root, "statistics.json", change)
    done = subprocess.run([sys.executable, "-I", str(FILE), str(root)], capture_output=True)
    assert done.returncode == 5


# The negative sweep: whoever changes something makes index and manifests anew. -------------------


def _lines(root, name):
    return (root / "data" / name).read_bytes().splitlines()


def _write(root, name, lines):
    (root / "data" / name).write_bytes(b"".join(line + b"\n" for line in lines))


def _hidden(root, name):
    index = json.loads((root / "data/evidence.json").read_bytes())
    return index["withheld"][name]


def _another_leaf(root):
    leaf = leaf_hash(b"another")
    number = min(_hidden(root, TOLD), key=int)
    lines = _lines(root, TOLD)
    lines[int(number)] = placeholder(leaf)
    _write(root, TOLD, lines)
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].update({number: leaf}))


def _two_leaves_exchanged(root):
    first, second = sorted(_hidden(root, TOLD), key=int)[:2]
    leaves = _hidden(root, TOLD)
    lines = _lines(root, TOLD)
    lines[int(first)], lines[int(second)] = lines[int(second)], lines[int(first)]
    _write(root, TOLD, lines)
    swapped = {first: leaves[second], second: leaves[first]}
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].update(swapped))


def _leaf_of_the_index_alone(root):
    edit_json(root, "evidence.json", lambda one: one["withheld"][TOLD].popitem())


def _shown_line_edited(root):
    lines = _lines(root, RECORDS)
    row = json.loads(lines[-1])
    lines[-1] = canonical_json({**row, "text": "invented"})
    _write(root, RECORDS, lines)


def _withheld_line_invented(root):
    lines = _lines(root, RECORDS)
    row = json.loads(lines[1])
    lines[0] = canonical_json({**row, "seq": 0, "prev": "", "repeat": 0, "text": "invented"})
    lines[1] = canonical_json({**row, "prev": leaf_hash(lines[0])})
    _write(root, RECORDS, lines)
    edit_json(root, "evidence.json", lambda one: one["withheld"].pop(RECORDS))


def _shown_line_withheld(root):
    lines = _lines(root, RECORDS)
    lines[1] = placeholder(leaf_hash(lines[1]))
    _write(root, RECORDS, lines)


def _line_removed(root):
    lines = _lines(root, RECORDS)
    _write(root, RECORDS, lines[:-1])


def _index_moved(root):
    def move(one):
        one["withheld"][RECORDS] = {"1": one["withheld"][RECORDS]["0"]}

    edit_json(root, "evidence.json", move)


def _custody_line_withheld(root):
    lines = _lines(root, "custody.jsonl")
    leaf = leaf_hash(lines[0])
    _write(root, "custody.jsonl", [placeholder(leaf), *lines[1:]])
    edit_json(
        root, "evidence.json", lambda one: one["withheld"].update({"custody.jsonl": {"0": leaf}})
    )


def _other_file_of_records(root):
    name = "records/independent/ood@1.jsonl"
    lines = _lines(root, name)
    lines[-1] = canonical_json({**json.loads(lines[-1]), "text": "invented"})
    _write(root, name, lines)


def _root_of_the_original(root):
    edit_json(root, "parent/evidence.json", lambda one: one["files"][RECORDS].update(lines=99))


def _manifest_of_the_original(root):
    path = root / "data/parent/manifest-sha256.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[1:]))


def _original_covered(root):
    """Change a shown line, and index, manifest and digest of the original so that all agree."""
    _shown_line_edited(root)
    resealed_copy(root)
    own = json.loads((root / "data/evidence.json").read_bytes())["files"][RECORDS]
    tree = {key: own[key] for key in ("lines", "merkle_root", "last")}
    edit_json(root, "parent/evidence.json", lambda one: one["files"][RECORDS].update(tree))
    manifest_of_parent_again(root)


def manifest_of_parent_again(root):
    import hashlib

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


def test_a_removed_or_exchanged_signature_of_the_original_is_found(told, copy_of_told, tmp_path):
    name = "data/parent/signatures/examiner.sigstore.json"
    root = copied(copy_of_told.root, tmp_path / "removed")
    (root / name).unlink()
    resealed_copy(root)
    assert "V05" in failed(root, told.public)

    root = copied(copy_of_told.root, tmp_path / "exchanged")
    other = new_key(tmp_path)
    lines = (root / "data/parent/manifest-sha256.txt").read_text().splitlines()
    digests = {line[66:].removeprefix("data/"): line[:64] for line in lines}
    forged = sigstore_bundle(
        load_private_key(other.private), canonical_json(data_statement(digests))
    )
    (root / name).write_bytes(pretty_json(forged))
    write_reports(Case(root))
    resealed_copy(root)
    assert failed(root, told.public) == {"V05"}

    root = copied(copy_of_told.root, tmp_path / "edited")
    content = json.loads((root / name).read_bytes())
    one = content["dsseEnvelope"]["signatures"][0]
    one["sig"] = one["sig"][:20] + ("A" if one["sig"][20] != "A" else "B") + one["sig"][21:]
    (root / name).write_bytes(pretty_json(content))
    resealed_copy(root)
    assert "V05" in failed(root, told.public)


def test_the_original_of_another_case_is_found(copy_of_told, signed, tmp_path):
    root = copied(copy_of_told.root, tmp_path / "case")
    other = redacted(signed.root, tmp_path / "other", "probe:ood-0002")
    shutil.rmtree(root / "data/parent")
    shutil.copytree(other / "data/parent", root / "data/parent")
    parent = json.loads((other / "data/evidence.json").read_bytes())["parent"]
    edit_json(root, "evidence.json", lambda one: one.update(parent=parent))
    resealed_copy(root)
    assert {"V07", "V08"} <= failed(root)


def test_a_case_that_was_not_redacted_may_withhold_nothing(told, tmp_path):
    root = copied(told.root, tmp_path / "case")
    lines = _lines(root, RECORDS)
    _write(root, RECORDS, [placeholder(leaf_hash(lines[0])), *lines[1:]])
    resealed_copy(root)
    assert "V07" in failed(root)


def test_a_failure_is_withheld_only_with_its_record(told, tmp_path):
    root = redacted(told.root, tmp_path / "copy", "subject:told")
    assert failed(root, told.public) == set()
    (row,) = [json.loads(line) for line in _lines(root, "errors.jsonl")]
    _write(root, "errors.jsonl", [canonical_json({**row, "subject": "teacher"})])
    write_reports(Case(root))
    resealed_copy(root)
    assert "V08" in failed(root)
    _write(root, "errors.jsonl", [canonical_json({**row, "error": "told after all"})])
    write_reports(Case(root))
    resealed_copy(root)
    assert "V08" in failed(root)
