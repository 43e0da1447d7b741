"""A suspect of a scan that cannot be loaded: named with its remedy, and the others go on."""

import json
import shutil

import pytest
from command_line import TINY, auditor, failure
from jsonschema import Draft202012Validator
from safetensors.numpy import load_file, save_file

from auditor.case import Case
from auditor.data import data_dir

QUICK = ("--suite", "instructions", "--probes", 1, "--max-new-tokens", 2)
CONTROLS = [f"tiny:zoo/same-data-0{i}" for i in (0, 1)]


def model(folder, name="sibling"):
    shutil.copytree(TINY / name, folder)
    (folder / "lineage.json").unlink(missing_ok=True)
    return folder


def without_a_tensor(folder):
    """Break a model where only loading sees it: header and tokenizer are whole."""
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def list_of(root, *names):
    path = root / "suspects.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


@pytest.fixture
def registry(tmp_path):
    """A good model between one that only loading finds broken and two that the look refuses."""
    root = tmp_path / "registry"
    without_a_tensor(model(root / "lacking"))
    model(root / "good", "independent")
    header = model(root / "header") / "model.safetensors"
    header.write_bytes(b"\xff" * 8 + header.read_bytes()[8:])
    (root / "cut.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(3))
    model(root / "other")
    return root


def scanned(registry, *words, names=("lacking", "good", "header", "cut.gguf", "other")):
    listing = list_of(registry, *names)
    out = registry.parent / "case"
    return auditor("scan", "tiny:teacher", "--list", listing, *QUICK, "--out", out, *words)


def specs(rows):
    return [row["spec"].rpartition("/")[2] for row in rows]


def test_broken_suspects_are_named_with_error_and_remedy_and_the_others_go_on(registry):
    done = scanned(registry, "--json")
    assert done.code == 0, done.err
    assert specs(one["suspect"] for one in done.json["results"]) == ["good", "other"]
    failed = {row["name"]: row for row in done.json["failed"]}
    assert list(failed) == ["lacking", "header", "cut"]
    assert "lack 1 tensors" in failed["lacking"]["error"]
    assert "header" in failed["header"]["error"]
    assert "cut.gguf" in failed["cut"]["error"]
    assert all(row["hint"] for row in failed.values())
    kept = json.loads((registry.parent / "case" / "data" / "failed.json").read_bytes())
    assert kept["suspects"] == done.json["failed"]
    schema = json.loads((data_dir("reports") / "schema" / "failed-1.json").read_bytes())
    assert list(Draft202012Validator(schema).iter_errors(kept)) == []


def test_people_read_them_on_the_terminal_and_in_the_overview(registry):
    done = scanned(registry)
    assert done.code == 0, done.err
    assert "lacking: failed" in done.out
    assert "remedy: copy the whole model" in done.out
    page = (registry.parent / "case" / "data" / "report.html").read_text()
    assert "lack 1 tensors" in page
    assert "lack 1 tensors" in (registry.parent / "case" / "data" / "report.md").read_text()
    one = (registry.parent / "case" / "data" / "report-good.html").read_text()
    assert "lacking, header, cut could not be loaded" in one


def test_a_gate_does_not_pass_what_failed(registry):
    words = ("--fail-on", "logit-js > 0.99", "--json")
    assert scanned(registry, *words, names=("lacking", "good")).code == 4
    assert scanned(registry, "--fail-on", "logit-js >= 0", names=("lacking", "good")).code == 3


def test_without_a_list_one_that_cannot_be_loaded_costs_no_other_its_findings(registry):
    out = registry.parent / "plain"
    suspects = (registry / "lacking", registry / "good")
    done = auditor("scan", "tiny:teacher", *suspects, *QUICK, "--out", out, "--json")
    assert done.code == 0, done.err
    assert [row["name"] for row in done.json["failed"]] == ["lacking"]


def test_where_no_suspect_can_be_loaded_it_is_an_error(registry):
    error = failure(scanned(registry, "--json", names=("lacking",)))
    assert "none of 1 suspects can be loaded or asked" in error["message"]
    assert error["hint"]
    assert not (registry.parent / "case" / "data" / "statistics.json").exists()


def test_a_comparison_still_ends_with_the_error(registry):
    words = ("--out", registry.parent / "pair", "--json")
    error = failure(auditor("compare", registry / "lacking", "tiny:teacher", *QUICK, *words))
    assert "lack 1 tensors" in error["message"]


def test_a_repeated_scan_tries_them_again_and_loads_nothing_else(registry):
    scanned(registry, "--json")
    case = Case(registry.parent / "case")
    before = (case.data / "statistics.json").read_bytes()
    lines = (case.data / "custody.jsonl").read_text().splitlines()
    again = scanned(registry, "--json")
    assert again.code == 0, again.err
    assert len(again.json["failed"]) == 3
    assert (case.data / "statistics.json").read_bytes() == before
    new = [json.loads(line) for line in (case.data / "custody.jsonl").read_text().splitlines()]
    events = [(e["event"], e.get("name")) for e in new[len(lines) :]]
    assert [e for e in events if e[0] != "collected"] == [
        ("collecting", None),
        ("failed", "lacking"),
        ("failed", "header"),
        ("failed", "cut"),
    ]


@pytest.mark.parametrize("broken", ["lacking", "header"])
def test_one_that_was_repaired_is_measured_as_if_it_had_never_failed(registry, broken):
    controls = [word for spec in CONTROLS for word in ("--control", spec)]
    names = ("good", broken)
    first = scanned(registry, *controls, "--json", names=names)
    assert [row["name"] for row in first.json["failed"]] == [broken]
    shutil.rmtree(registry / broken)
    model(registry / broken)
    done = scanned(registry, *controls, "--json", names=names)
    assert done.code == 0, done.err
    assert "failed" not in done.json
    fresh = registry.parent / "fresh"
    words = ("--list", list_of(registry, *names), *QUICK, *controls, "--out", fresh, "--json")
    whole = auditor("scan", "tiny:teacher", *words)
    assert whole.code == 0, whole.err
    for name in ("statistics.json", "conclusion.json", "subjects.json", "plan.json"):
        ours, theirs = (root / "data" / name for root in (registry.parent / "case", fresh))
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_one_that_was_repaired_changes_no_choice_of_the_nearest(registry):
    top = ("--top", 1, "--json")
    names = ("good", "other", "header")
    first = scanned(registry, *top, names=names)
    assert [row["name"] for row in first.json["failed"]] == ["header"]
    (nearest,) = specs(one["suspect"] for one in first.json["results"])
    shutil.rmtree(registry / "header")
    model(registry / "header", "teacher")  # nearer than any
    for _ in range(2):  # the second time, prefilter.json says of it what it says of the others
        done = scanned(registry, *top, names=names)
        assert done.code == 0, done.err
        assert specs(one["suspect"] for one in done.json["results"]) == [nearest, "header"]
        assert done.json["prefilter"]["left_out"] == 1
    error = failure(scanned(registry, "--top", 3, "--json", names=names))
    assert "holds another case" in error["message"]


@pytest.mark.parametrize("repaired", [False, True])
def test_a_sealed_scan_with_a_failed_suspect_verifies_and_replays(registry, tmp_path, repaired):
    names = ("lacking", "good")
    scanned(registry, names=names)
    if repaired:
        shutil.rmtree(registry / "lacking")
        model(registry / "lacking")
        assert scanned(registry, names=names).code == 0
    keys = tmp_path / "keys"
    assert auditor("keys", "new", "--out", keys).code == 0
    sealed = tmp_path / "case.evidence"
    words = ("--key", keys / "auditor.key.pem", "--out", sealed)
    done = auditor("seal", registry.parent / "case", *words)
    assert done.code == 0, done.err
    public = ("--key", keys / "auditor.pub.pem")
    done = auditor("verify", sealed, *public, "--replay", "--json")
    assert done.code == 0, done.out
    assert ("plan amended" in (sealed / "data" / "custody.jsonl").read_text()) == repaired


def test_workers_put_the_same_suspects_down(registry):
    here = scanned(registry, "--json").json
    shutil.move(registry.parent / "case", registry.parent / "here")
    done = scanned(registry, "--executor", "process", "--workers", 2, "--json")
    assert done.code == 0, done.err
    assert done.json["failed"] == here["failed"]
    ours, theirs = (registry.parent / name / "data" for name in ("here", "case"))
    for name in ("statistics.json", "failed.json", "subjects.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_another_change_than_of_a_failed_suspect_is_another_case(registry):
    scanned(registry, names=("lacking", "good"))
    weights = registry / "good" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1
    weights.write_bytes(content)
    error = failure(scanned(registry, "--json", names=("lacking", "good")))
    assert "holds another case" in error["message"]
