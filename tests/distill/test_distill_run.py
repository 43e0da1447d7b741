import contextlib
import json

import pytest
import yaml
from distill_world import changed, logits_recipe, logits_run, weights_digest_of, write_text
from full_disk import room_for
from transformers import AutoModelForCausalLM, AutoTokenizer

from auditor.distill.metrics import MetricsLog
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import CaseError, StorageError
from auditor.models.specifier import identify


@pytest.fixture(scope="module")
def finished(tmp_path_factory, teacher):
    """A finished logits run: (its recipe, its folder, its lineage)."""
    folder = tmp_path_factory.mktemp("finished")
    values = changed(logits_recipe(folder, teacher), "train", steps=40, batch_tokens=256, lr=0.01)
    values["train"]["eval_every"] = 20
    recipe = recipe_from(values, folder)
    return recipe, folder / "run", distill(recipe, folder / "run")


def test_distilled_student_comes_closer_to_its_teacher(finished):
    _, run, lineage = finished
    holdout = lineage["results"]["holdout"]
    assert holdout["end"]["kl"] < 0.9 * holdout["start"]["kl"]
    assert holdout["kl_ratio"] == holdout["end"]["kl"] / holdout["start"]["kl"]
    steps = [step for step, _ in MetricsLog(run / "metrics.jsonl").holdout()]
    assert steps == [0, 20, 40]


def test_lineage_names_teacher_layers_dose_permission_and_every_file(finished, teacher):
    recipe, run, lineage = finished
    assert lineage == json.loads((run / "lineage.json").read_bytes())
    assert lineage["schema"] == "auditor/lineage/1"
    assert lineage["teacher"]["digest"] == identify(f"local:{teacher}").digest
    assert lineage["student"]["digest"] == identify(f"local:{run / 'student'}").digest
    assert lineage["student"]["layer_map"] == [0, 2]
    assert lineage["student"]["origin"] == "shrink"
    rows = [row for row in MetricsLog(run / "metrics.jsonl").rows() if "loss" in row]
    assert lineage["dose"]["gradient_tokens"] == rows[-1]["tokens"]
    assert lineage["dose"]["share"] == 1.0
    assert lineage["permission"]["verdict"] == "permit"
    assert lineage["recipe"]["digest"] == recipe.digest
    on_disk = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert set(lineage["files"]) == on_disk - {"lineage.json", "cost.json", "work/lock"}
    assert not (run / "checkpoints").exists()


def test_student_opens_like_any_model(finished):
    _, run, _ = finished
    model = AutoModelForCausalLM.from_pretrained(run / "student")
    tokenizer = AutoTokenizer.from_pretrained(run / "student")
    assert model.config.num_hidden_layers == 2
    assert tokenizer.decode(tokenizer("wall")["input_ids"]) == "<|bos|>wall"


def test_recipe_as_used_is_a_recipe_with_the_same_digest(finished):
    recipe, run, _ = finished
    assert recipe_from(yaml.safe_load((run / "recipe.yaml").read_bytes())).digest == recipe.digest


def test_finished_run_returns_its_lineage_again_and_changes_nothing(finished):
    recipe, run, lineage = finished
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert distill(recipe, run) == lineage
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_same_recipe_elsewhere_gives_the_same_bytes(finished, tmp_path):
    recipe, run, lineage = finished
    assert distill(recipe, tmp_path / "again") == lineage
    assert weights_digest_of(tmp_path / "again") == weights_digest_of(run)


def test_folder_with_another_run_is_refused_and_says_what_differs(finished, tmp_path):
    recipe, run, _ = finished
    other = recipe_from(changed(recipe.as_json(), "train", seed=5), recipe.path("."))
    with pytest.raises(CaseError, match=r"holds another run \(it differs in: recipe\)"):
        distill(other, run)


def test_changed_data_are_another_run(tmp_path, teacher):
    recipe = logits_run(tmp_path, teacher)
    distill(recipe, tmp_path / "run")
    write_text(tmp_path, seed=9)
    with pytest.raises(CaseError, match="differs in: data"):
        distill(recipe, tmp_path / "run")


def test_forecast_counts_the_student_that_training_makes(finished):
    recipe, _, lineage = finished
    forecasted = forecast(recipe)
    assert forecasted["student"]["parameters"] == lineage["student"]["parameters"]
    assert forecasted["student"]["layers"] == 2
    assert forecasted["vocabulary"] == {"relation": "identical", "ids": 259}
    assert forecasted["data"]["text_tokens"] == lineage["data"]["train_targets"]
    memory = forecasted["memory_bytes"]
    assert memory["total"] == sum(size for name, size in memory.items() if name != "total")
    # Weight, gradient, two moments: 4 numbers of 4 bytes each.
    assert memory["student_and_optimizer"] == 16 * lineage["student"]["parameters"]


def test_half_precision_student_is_saved_as_such(tmp_path):
    write_text(tmp_path)
    init = {"architecture": "gpt2", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": {**init, "max_length": 32}},
        "data": {"text": "text.jsonl", "max_length": 32},
        "method": {"kind": "baseline"},
        "train": {"steps": 2, "batch_tokens": 64, "save_dtype": "float16"},
    }
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "student")
    assert str(student.dtype) == "torch.float16"
    assert lineage["teacher"] is None
    assert lineage["permission"] is None
    assert lineage["dose"]["teacher_tokens"] == 0


def test_full_disk_is_a_storage_error_and_the_run_can_be_continued(tmp_path, teacher):
    recipe = logits_run(tmp_path, teacher)
    with room_for(20_000), pytest.raises(StorageError) as caught:
        distill(recipe, tmp_path / "run")
    assert "free some space" in str(caught.value.hint)
    distill(recipe, tmp_path / "run")
    distill(recipe, tmp_path / "straight")
    assert weights_digest_of(tmp_path / "run") == weights_digest_of(tmp_path / "straight")


def test_bfloat16_passes_leave_fp32_weights(tmp_path, teacher):
    values = changed(logits_recipe(tmp_path, teacher), "train", precision="bf16", steps=2)
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    student = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "student")
    assert str(student.dtype) == "torch.float32"
    assert student.config.use_cache
    plain = distill(logits_run(tmp_path, teacher), tmp_path / "plain")
    start, exact = (run["results"]["loss"]["start"] for run in (lineage, plain))
    assert start != exact
    assert start == pytest.approx(exact, rel=0.05)


def test_progress_counts_every_step_once(tmp_path, teacher):

    seen = {}

    class Counting:
        @contextlib.contextmanager
        def task(self, description, total):
            seen[description] = [0, total]
            yield type("T", (), {"advance": staticmethod(lambda n=1: add(description, n))})()

    def add(description, amount):
        seen[description][0] += amount

    distill(logits_run(tmp_path, teacher), tmp_path / "run", progress=Counting())
    assert seen == {"train student": [8, 8]}


def test_nothing_is_printed(tmp_path, teacher, capfd):
    distill(logits_run(tmp_path, teacher), tmp_path / "run")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""
