"""`auditor distill --baseline` and `auditor lineage measure`: output, exit codes, refusals."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import auditor, failure

from auditor.data import data_dir

ZOO = data_dir("probes") / "packs" / "zoo"
TEACHER = "tiny:zoo/reference-00"
INIT = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 320}


def values(**changes: Any) -> dict[str, Any]:
    return {
        "student": {"init": {**INIT, "tokenizer": TEACHER}},
        "data": {
            "corpus": {"name": "stories", "seed": 5, "documents": 60},
            "holdout": 0.3,
            "max_length": 128,
        },
        "method": {"kind": "baseline"},
        "train": {"steps": 3, "batch_tokens": 512, "lr": 0.01},
        **changes,
    }


TAUGHT = {"teacher": TEACHER, "permission": "permission.json", "method": {"kind": "logits"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of a taught student and its baseline, the baseline distilled."""
    folder = tmp_path_factory.mktemp("student-report")
    for name in ("permission.json", "LICENSE"):
        shutil.copy(ZOO / name, folder / name)
    (folder / "alone.yaml").write_text(yaml.safe_dump(values()))
    (folder / "taught.yaml").write_text(yaml.safe_dump(values(**TAUGHT)))
    done = auditor("distill", folder / "alone.yaml", "--out", folder / "alone", "--json")
    assert done.code == 0, done.err + done.out
    return folder


def test_baseline_is_added_to_the_report_and_to_a_run_that_is_finished(world: Path) -> None:
    words = ("distill", world / "taught.yaml", "--out", world / "taught", "--json")
    first = auditor(*words)
    assert first.code == 0, first.err + first.out
    assert "baseline" not in first.json
    lineage = (world / "taught" / "lineage.json").read_bytes()
    done = auditor(*words, "--baseline", world / "alone")
    assert done.code == 0, done.err + done.out
    found = json.loads((world / "taught" / "baseline.json").read_bytes())
    assert done.json["baseline"]["recovered"] == found["recovered"]
    # The shipped teacher knows the stories; a student of three steps does not.
    assert found["recovered"]["value"] is not None
    assert (world / "taught" / "lineage.json").read_bytes() == lineage
    assert "Share of the teacher gap recovered" in (world / "taught" / "report.html").read_text()
    assert auditor("lineage", "verify", world / "taught").code == 0


def test_other_run_is_refused_before_any_work(world: Path, tmp_path: Path) -> None:
    recipe = world / "longer.yaml"
    longer = {"steps": 4, "batch_tokens": 512, "lr": 0.01}
    recipe.write_text(yaml.safe_dump(values(**TAUGHT, train=longer)))
    done = auditor(
        "distill", recipe, "--out", tmp_path / "run", "--baseline", world / "alone", "--json"
    )
    error = failure(done)
    assert error["type"] == "BaselineError"
    assert "differs in train.steps" in error["message"]
    assert not (tmp_path / "run").exists()


def test_run_without_a_teacher_is_not_measurable(world: Path) -> None:
    done = auditor("lineage", "measure", world / "alone", "--json")
    assert done.code == 0
    assert (done.json["outcome"], done.json["measured"]) == ("not measurable", None)


def test_weights_that_were_not_declared_contradict(world: Path, tmp_path: Path) -> None:
    # The student starts from the teacher's weights, each changed a little: under another digest,
    # so that the lineage does not show where they are from. The audit does, without controls.
    import torch

    from auditor.models.loading import load_transformers

    loaded = load_transformers(TEACHER, device="cpu", dtype="float32")
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in loaded.module.parameters():
            parameter.mul_(1.0 + 0.01 * torch.randn_like(parameter))
    loaded.module.save_pretrained(tmp_path / "washed")
    loaded.tokenizer.save_pretrained(tmp_path / "washed")
    for name in ("permission.json", "LICENSE"):
        shutil.copy(ZOO / name, tmp_path / name)
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump(
            values(
                **TAUGHT,
                student={"from": "local:washed"},
                train={"steps": 1, "batch_tokens": 256},
            )
        )
    )
    run = tmp_path / "run"
    assert auditor("distill", tmp_path / "recipe.yaml", "--out", run, "--json").code == 0
    place = f"local:{ZOO / 'models' / 'reference-00'}"
    done = auditor("lineage", "measure", run, "--teacher", place, "--probes", 4, "--json")
    assert done.code == 5, done.err + done.out
    assert done.json["outcome"] == "contradicted"
    assert done.json["measured"]["reading"] == "replication"
    assert "contradicted" in (run / "report.html").read_text()
