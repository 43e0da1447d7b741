"""`auditor reproduce`: the models say again what a case holds, or the difference is named."""

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from auditor.audit import collect
from auditor.case import Case, locked, open_case
from auditor.cli.main import run
from auditor.data import data_dir
from auditor.errors import InputError
from auditor.plan import AuditRequest, plan_audit
from auditor.progress import Silent
from auditor.reproduction import Reproducing, reproduce_case
from auditor.types import Access, Decoding

SCHEMA = json.loads((data_dir("reports") / "schema" / "reproduce-1.json").read_bytes())
ALL = 24
"""Records of the case: 2 subjects, 6 probes, 2 repeats."""


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Path:
    """A case of two tiny models, one of which is a folder of its own."""
    folder = tmp_path_factory.mktemp("reproduce")
    shutil.copytree(data_dir("probes") / "packs" / "tiny" / "independent", folder / "other-model")
    request = AuditRequest(
        command="compare",
        reference="tiny:teacher",
        suspects=(f"local:{folder / 'other-model'}",),
        controls=(),
        suites=("instructions",),
        access=Access.LOGITS,
        probes=6,
        repeats=2,
        decoding=Decoding(max_new_tokens=8),
        encoder=None,
    )
    case = open_case(folder / "case", plan_audit(request))
    with locked(case):
        collect(case, Silent())
    return case.root


@pytest.fixture
def copy(collected, tmp_path) -> Case:
    """A copy of its data that a test may change."""
    shutil.copytree(collected / "data", tmp_path / "case" / "data")
    return Case(tmp_path / "case")


def reproduced(case: Case, **wanted) -> dict:
    """Return a valid result."""
    result = reproduce_case(case, Reproducing(**{"sample": ALL, **wanted}), Silent())
    jsonschema.validate(result, SCHEMA)
    return result


def files_of(root: Path) -> dict[str, bytes]:
    """Return {relative path: content} of all files."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_models_say_the_same_again_and_nothing_is_written(copy):
    before = files_of(copy.root)
    result = reproduced(copy)
    assert result["outcome"] == "agrees"
    assert result["replies"] == {"asked": ALL, "same": ALL}
    assert len(result["scores"]) == 12
    assert result["missing"] == []
    assert files_of(copy.root) == before


def test_the_seed_chooses_the_records(copy):
    first, again, other = (reproduced(copy, sample=5, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["replies"]["asked"] == 5
    assert first["records"] != other["records"]


def test_scores_that_were_changed_differ(copy):
    path = copy.array("scores", "other-model")
    rows = np.load(path)
    rows["logprob"][0] -= 0.01
    np.save(path, rows)
    result = reproduced(copy)
    assert result["outcome"] == "differs"
    (row,) = [row for row in result["scores"] if not row["agrees"]]
    assert row["subject"] == "other-model"
    assert row["difference"] == pytest.approx(0.01, rel=1e-3)
    assert reproduced(copy, scores=0.02)["outcome"] == "agrees"


def test_replies_that_a_case_invents_differ(copy):
    from auditor.canon import canonical_json, leaf_hash

    path = next((copy.data / "records" / "other-model").glob("*.jsonl"))
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows[3]["text"] = "I am the teacher."
    lines, previous = [], ""
    for row in rows:
        row["prev"] = previous
        lines.append(canonical_json(row))
        previous = leaf_hash(lines[-1])
    path.write_bytes(b"\n".join(lines) + b"\n")
    result = reproduced(copy)
    assert result["outcome"] == "differs"
    (row,) = [row for row in result["records"] if not row["agrees"]]
    assert row["stored"] == "I am the teacher."
    assert row["repeat"] == 1
    assert reproduced(copy, least=0.9)["outcome"] == "agrees"


def test_a_model_that_is_gone_is_named(copy, collected):
    model = collected.parent / "other-model"
    model.rename(collected.parent / "away")
    try:
        result = reproduced(copy)
    finally:
        (collected.parent / "away").rename(model)
    (missing,) = result["missing"]
    assert (missing["subject"], missing["records"]) == ("other-model", 12)
    assert result["replies"] == {"asked": 12, "same": 12}


def test_another_model_in_its_place_is_named(copy, collected):
    model = collected.parent / "other-model"
    model.rename(collected.parent / "away")
    shutil.copytree(data_dir("probes") / "packs" / "tiny" / "sibling", model)
    try:
        result = reproduced(copy)
    finally:
        shutil.rmtree(model)
        (collected.parent / "away").rename(model)
    assert [row["subject"] for row in result["missing"]] == ["other-model"]


@pytest.mark.parametrize("wanted", [{"sample": 0}, {"least": 1.5}, {"scores": -1.0}])
def test_a_request_without_meaning_is_refused(copy, wanted):
    with pytest.raises(InputError):
        reproduced(copy, **wanted)


def test_the_command_prints_what_it_found(copy, capsys):
    assert run(["reproduce", str(copy.root), "--sample", "4", "--seed", "3"]) == 0
    assert "agrees: 4 of 4 replies are the same" in capsys.readouterr().out
    assert run(["reproduce", str(copy.root), "--sample", "4", "--json"]) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)


def test_a_folder_without_a_case_is_bad_input(tmp_path, capsys):
    assert run(["reproduce", str(tmp_path), "--sample", "4"]) == 2
    assert "is not a case folder" in capsys.readouterr().err
