"""A recipe whose student has a tokenizer of its own: what is refused, forecast, recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from cross_world import TEACHER, aligned_values, merged_model
from distill_world import changed, make_teacher, weights_digest_of, write_permission

from auditor.distill.finished_run import FinishedRun
from auditor.distill.ledger_check import verify
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.errors import RecipeError, VocabularyError
from auditor.report.distillation import run_html, summary


def aligned(folder: Path, **method: Any) -> dict[str, Any]:
    return aligned_values(folder, method=method)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({"alignment": "spans"}, "matched-vocabulary"),
        ({"alignment": "span-kl", "divergence": "reverse-kl"}, "span-kl is a loss of its own"),
        ({"alignment": "uld", "divergence": "forward-kl"}, "uld is a loss of its own"),
        ({"alignment": "uld", "beta": 0.5}, "has no mixture"),
        ({"alignment": "span-kl", "temperature": 2.0}, "probabilities of text"),
        ({"alignment": "span-kl", "t_squared": True}, "probabilities of text"),
        ({"alignment": "matched-vocabulary", "divergence": "jsd", "normalise": True}, "normalise"),
        ({"alignment": "uld", "cache": {"scheme": "dense"}}, "remove method.cache"),
        ({"alignment": "auto", "hidden": {}}, "compare the same tokens"),
        ({"alignment": "auto", "divergence": "jsd"}, "auto stands for span-kl"),
        ({"alignment": "auto", "temperature": 2.0}, "auto stands for span-kl"),
        ({"alignment": "auto", "kind": "hidden", "hidden": {}}, "is for method logits"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, method: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe_from(aligned(tmp_path, **method), tmp_path)


def test_without_an_alignment_other_tokens_are_refused_with_the_remedy(tmp_path: Path) -> None:
    recipe = recipe_from(aligned(tmp_path), tmp_path)
    for refused in (forecast, lambda r: distill(r, tmp_path / "run")):
        with pytest.raises(VocabularyError, match="token by token") as caught:
            refused(recipe)
        assert "method.alignment" in str(caught.value.hint)
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_only_looks_the_same_takes_an_alignment(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="auto")
    other = merged_model(tmp_path / "other", 300, seed=5)
    content = json.loads((other / "tokenizer.json").read_bytes())
    vocabulary = content["model"]["vocab"]
    # Two ids change places: the same size, the same tokens, another meaning.
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(content))
    values["teacher"] = f"local:{other}"
    write_permission(tmp_path / "permission.json", f"local:{other}")
    plain = changed(values, "method")
    del plain["method"]["alignment"]
    with pytest.raises(VocabularyError, match="different"):
        forecast(recipe_from(plain, tmp_path))
    found = forecast(recipe_from(values, tmp_path))
    assert found["vocabulary"]["relation"] == "different"
    assert found["vocabulary"]["alignment"] == "span-kl"
    assert found["alignment"]["tokens_of_both"] == found["alignment"]["student_tokens"]
    assert found["alignment"]["sample"]["share_at_starts"] == 1.0


def test_the_same_tokens_need_no_alignment(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="span-kl")
    values["student"]["init"]["tokenizer"] = "teacher"
    with pytest.raises(VocabularyError, match="identical") as caught:
        forecast(recipe_from(values, tmp_path))
    assert "auto" in str(caught.value.hint)
    values["method"]["alignment"] = "auto"
    found = forecast(recipe_from(values, tmp_path))
    assert found["alignment"] is None
    assert "alignment" not in found["vocabulary"]


def test_a_student_of_bytes_has_no_other_tokens_to_match(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="matched-vocabulary")
    values["student"]["init"]["tokenizer"] = "bytes"
    with pytest.raises(VocabularyError, match="every text token of the student is matched"):
        forecast(recipe_from(values, tmp_path))
    values["method"]["alignment"] = "span-kl"
    assert forecast(recipe_from(values, tmp_path))["vocabulary"]["alignment"] == "span-kl"


def test_prompts_in_another_form_than_the_teachers_are_refused(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="span-kl")
    (tmp_path / "own" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "What is a wall?"}) + "\n")
    values["data"] = {"prompts": "prompts.jsonl", "max_length": 64}
    with pytest.raises(VocabularyError, match="another chat template"):
        forecast(recipe_from(values, tmp_path))


def test_prompts_of_one_form_are_answered_and_learned_from(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="span-kl")
    rows = [json.dumps({"prompt": f"What is the {n}th wall?"}) for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows) + "\n")
    sampling = {"max_new_tokens": 8, "seed": 3}
    values["data"] = {"prompts": "prompts.jsonl", "max_length": 64, "sampling": sampling}
    values["train"] = {"steps": 2, "batch_tokens": 256}
    found = distill(recipe_from(values, tmp_path), tmp_path / "run")
    counted = found["data"]["alignment"]["train"]
    assert 0 < counted["in_spans"] <= counted["targets"]
    # The teacher reads the prompts too, which are no targets.
    assert counted["teacher_tokens"] > counted["targets"]


def test_a_teacher_that_cannot_read_the_sequences_is_refused(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="span-kl")
    # Bytes for the student's merged words: the teacher reads more tokens than the student.
    bytewise = make_teacher(tmp_path / "bytes")
    values["teacher"] = f"local:{bytewise}"
    write_permission(tmp_path / "permission.json", f"local:{bytewise}")
    with pytest.raises(RecipeError, match=r"of the teacher, who reads 64") as caught:
        distill(recipe_from(values, tmp_path), tmp_path / "run")
    wanted = int(str(caught.value.hint).split(" to ")[1].split()[0])
    assert 10 < wanted < 32  # 2 to 3 bytes a token of the student


def test_a_teacher_that_writes_in_lower_case_is_refused_before_any_work(tmp_path: Path) -> None:
    values = aligned(tmp_path, alignment="span-kl")
    other = merged_model(tmp_path / "other", 280)
    content = json.loads((other / "tokenizer.json").read_bytes())
    content["normalizer"] = {"type": "Lowercase"}
    (other / "tokenizer.json").write_text(json.dumps(content))
    values["teacher"] = f"local:{other}"
    write_permission(tmp_path / "permission.json", f"local:{other}")
    with pytest.raises(VocabularyError, match="do not spell the same bytes"):
        distill(recipe_from(values, tmp_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_forecast_says_how_much_lines_up(tmp_path: Path) -> None:
    found = forecast(recipe_from(aligned(tmp_path, alignment="matched-vocabulary"), tmp_path))
    met = found["alignment"]
    assert found["vocabulary"]["alignment"] == met["name"] == "matched-vocabulary"
    assert (met["student_tokens"], met["teacher_tokens"]) == (298, 509)
    assert 256 <= met["tokens_of_both"] < 298  # all bytes, and some merges
    assert 0.0 < met["sample"]["share_at_starts"] < met["sample"]["share_in_spans"] <= 1.0


@pytest.mark.parametrize("alignment", ["matched-vocabulary", "span-kl", "uld"])
def test_lineage_ledger_and_report_name_the_alignment(tmp_path: Path, alignment: str) -> None:
    values = changed(aligned(tmp_path, alignment=alignment, alpha=0.5), "train", steps=2)
    recipe = recipe_from(values, tmp_path)
    found = distill(recipe, tmp_path / "run")
    assert found["vocabulary"] == {"relation": "different", "ids": 300, "alignment": alignment}
    assert found["method"]["alignment"] == alignment
    assert ("divergence" in found["method"]) == (alignment == "matched-vocabulary")
    ledger = (tmp_path / "run" / "ledger.jsonl").read_text()
    assert f'"alignment":"{alignment}"' in ledger
    assert alignment in summary(found)
    unit = "nats/token" if alignment == "matched-vocabulary" else "a target"
    assert f"Loss ({unit})" in run_html(tmp_path / "run")
    end = found["results"]["holdout"]["end"]
    assert end["bits_per_byte"] > 0
    assert end["teacher_bits_per_byte"] > 0
    assert end["kl"] is None
    dose = found["dose"]
    assert 0 < dose["teacher_tokens"] < dose["gradient_tokens"]
    assert dose["share"] == 0.5 * dose["teacher_tokens"] / dose["gradient_tokens"]
    assert recipe_from(recipe.as_json(), tmp_path).digest == recipe.digest


def test_a_finished_run_passes_every_check(tmp_path: Path) -> None:
    values = changed(aligned(tmp_path, alignment="span-kl"), "train", steps=2)
    distill(recipe_from(values, tmp_path), tmp_path / "run")
    clauses = verify(FinishedRun(tmp_path / "run"))
    assert [clause for clause in clauses if not clause.passed] == []


@pytest.mark.parametrize("alignment", ["matched-vocabulary", "span-kl"])
def test_an_interrupted_run_ends_the_same(
    tmp_path: Path, alignment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.distill.aligned_objective import AlignedObjective

    values = changed(aligned(tmp_path, alignment=alignment), "train", accumulate=2, steps=5)
    recipe = recipe_from(values, tmp_path)
    distill(recipe, tmp_path / "straight")
    calls = iter(range(9))
    plain = AlignedObjective.__call__

    def interrupted(self: AlignedObjective, module: Any, batch: dict[str, Any]) -> Any:
        if next(calls) == 8:  # in the fifth step, after the checkpoint of the third
            raise KeyboardInterrupt
        return plain(self, module, batch)

    monkeypatch.setattr(AlignedObjective, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, tmp_path / "run")
    monkeypatch.undo()
    distill(recipe, tmp_path / "run")
    assert weights_digest_of(tmp_path / "run") == weights_digest_of(tmp_path / "straight")
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("run", "straight")]
    assert metrics[0] == metrics[1]


def test_steps_do_not_depend_on_their_parts(tmp_path: Path) -> None:
    values = changed(aligned(tmp_path, alignment="span-kl"), "train", steps=3)
    runs = [
        distill(recipe_from(changed(values, "train", accumulate=n), tmp_path), tmp_path / str(n))
        for n in (1, 2)
    ]
    ends = [run["results"]["holdout"]["end"]["bits_per_byte"] for run in runs]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
    assert runs[0]["teacher"]["spec"] == TEACHER
