"""A case's own controls: what a recipe may say, and that every kind is made and can be used."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import yaml

from auditor.controls.case_building import build_case_controls
from auditor.controls.case_members import case_members
from auditor.controls.case_recipe import CaseRecipe, load_case_recipe
from auditor.data import data_dir
from auditor.errors import AuditorError, CaseError, PermissionRefusedError, RecipeError
from auditor.models.specifier import identify
from auditor.plan import AuditRequest, ControlSpec, plan_audit
from auditor.progress import Silent

ZOO = data_dir("probes") / "packs" / "zoo"
INIT = {"architecture": "llama", "hidden": 24, "layers": 1, "heads": 2, "max_length": 320}
RECIPE = {
    "schema": "auditor/case-controls/1",
    "name": "example",
    "seed": 3,
    "reference": "tiny:zoo/reference-00",
    "permission": "permission.json",
    "approver": "the owner",
    "student": {"init": INIT},
    "data": {
        "corpus": {"name": "stories", "seed": "own", "documents": 60},
        "holdout": 0.05,
        "holdout_tokens": 128,
        "max_length": 64,
    },
    "train": {"steps": 2, "batch_tokens": 128, "lr": 0.01},
    "groups": [
        {"name": "fresh", "kind": "independent", "count": 2},
        {"name": "teacher", "kind": "sibling-teacher"},
        {"name": "student", "kind": "sibling-student", "of": "teacher", "via": "logits"},
        {"name": "half", "kind": "imitation", "via": "logits", "dose": 0.5},
        {
            "name": "text",
            "kind": "imitation",
            "via": "text",
            "data": {
                "prompts": "prompts.jsonl",
                "sampling": {"max_new_tokens": 6},
                "holdout": 0.0,
                "max_length": 64,
            },
        },
        {"name": "further", "kind": "further", "of": "text"},
        {"name": "tuned", "kind": "finetune"},
        {
            "name": "tuned-4bit",
            "kind": "transform",
            "of": "tuned",
            "transform": {"kind": "quantise", "options": {"bits": 4}},
        },
        {"name": "copy", "kind": "transform", "transform": {"kind": "permute"}},
    ],
}


def written(folder: Path, recipe: dict) -> Path:
    for name in ("permission.json", "LICENSE"):
        shutil.copy(ZOO / name, folder / name)
    prompts = [{"id": f"p{i}", "text": text} for i, text in enumerate(("One day", "A cat"))]
    (folder / "prompts.jsonl").write_text("\n".join(json.dumps(p) for p in prompts) + "\n")
    path = folder / "controls.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("case-controls")
    return build_case_controls(written(folder, RECIPE), folder / "out", progress=Silent())


def rows(built: Path) -> dict[str, dict]:
    listed = json.loads((built / "controls.json").read_bytes())["controls"]
    return {row["name"]: row for row in listed}


def test_every_member_is_made_with_its_role_and_family(built):
    found = {name: (row["role"], row["family"]) for name, row in rows(built).items()}
    assert found == {
        "fresh-00": ("independent", "fresh-00"),
        "fresh-01": ("independent", "fresh-01"),
        "teacher-00": ("independent", "teacher-00"),
        "student-00": ("sibling", "teacher-00"),
        "half-00": ("imitation", "half-00"),
        "text-00": ("imitation", "text-00"),
        "further-00": ("imitation", "text-00"),
        "tuned-00": ("replication", "tuned-00"),
        "tuned-4bit-00": ("replication", "tuned-00"),
        "copy-00": ("replication", "copy-00"),
    }
    digests = {identify(f"local:{built / row['path']}").digest for row in rows(built).values()}
    assert len(digests) == len(found)


def test_seeds_texts_and_doses_are_each_members_own(built):
    names = ("fresh-00", "fresh-01", "half-00")
    first, second, half = (
        yaml.safe_load((built / "recipes" / f"{name}.yaml").read_text()) for name in names
    )
    assert first["train"]["seed"] != second["train"]["seed"]
    assert first["data"]["corpus"]["seed"] != second["data"]["corpus"]["seed"]
    assert half["method"]["alpha"] == 0.5
    lineage = json.loads((built / "runs" / "half-00" / "lineage.json").read_bytes())
    assert lineage["teacher"]["digest"] == identify(RECIPE["reference"]).digest


def test_the_folder_serves_as_controls(built):
    request = AuditRequest(
        command="compare",
        reference=RECIPE["reference"],
        suspects=("tiny:zoo/same-data-03",),
        controls=(ControlSpec(spec=f"pack:{built}"),),
        probes=4,
    )
    planned = [s["role"] for s in plan_audit(request)["subjects"][2:]]
    assert planned == [row["role"] for row in rows(built).values()]


def test_a_repeated_call_makes_nothing_again(built):
    weights = sorted(built.rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in weights]
    again = build_case_controls(built.parent / "controls.yaml", built, progress=Silent())
    assert again == built
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_a_folder_of_another_recipe_is_refused(built, tmp_path):
    path = written(tmp_path, {**RECIPE, "seed": 4})
    with pytest.raises(CaseError, match="another recipe"):
        build_case_controls(path, built, progress=Silent())


def changed(number: int, **keys) -> dict:
    """Return the recipe with keys of a group replaced; None removes one."""
    recipe = copy.deepcopy(RECIPE)
    group = recipe["groups"][number]
    group.update(keys)
    recipe["groups"][number] = {key: value for key, value in group.items() if value is not None}
    return recipe


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (changed(0, kind="cousin"), "groups.0.kind"),
        (changed(0, count=0), "groups.0.count"),
        (changed(0, colour="red"), "groups.0.colour"),
        (changed(0, dose=0.5), "no teacher: remove via and dose"),
        (changed(1, name="fresh"), "two groups are named fresh"),
        (changed(2, of=None), "needs of: the name of another group"),
        (changed(2, of="fresh"), "no group of kind sibling-teacher above it"),
        (changed(2, of="tuned"), "no group of kind sibling-teacher above it"),
        (changed(2, via=None), "needs via: logits or text"),
        (changed(3, dose=1.5), "groups.3.dose"),
        (changed(3, dose=0.0), "groups.3.dose"),
        (changed(4, dose=0.5), "by text the dose is the share of the answers"),
        (changed(6, student={"init": INIT}), "starts from given weights"),
        (changed(8, transform=None), "needs transform, and no other kind has one"),
        ({**RECIPE, "permission": None}, "half: learning from the reference needs permission"),
        ({**RECIPE, "approver": None}, "student: learning from models made here needs approver"),
        ({**RECIPE, "groups": []}, "groups"),
        ({**RECIPE, "schema": "auditor/case-controls/2"}, "schema"),
    ],
)
def test_a_wrong_recipe_is_refused_with_the_reason(tmp_path, recipe, words):
    with pytest.raises(RecipeError, match=words):
        load_case_recipe(written(tmp_path, recipe))


@pytest.mark.parametrize(
    ("recipe", "error", "words"),
    [
        (changed(7, transform={"kind": "melt"}), RecipeError, "no transform 'melt'"),
        (changed(7, transform={"kind": "merge"}), RecipeError, "a merge needs a partner"),
        (changed(6, train={"steps": 0}), RecipeError, "steps"),
        (changed(4, data={"prompts": "none.jsonl", "max_length": 64}), AuditorError, "none.jsonl"),
        ({**RECIPE, "permission": "none.json"}, PermissionRefusedError, "none.json"),
        ({**RECIPE, "reference": "tiny:nobody"}, AuditorError, "nobody"),
    ],
)
def test_a_fault_of_the_last_group_is_found_before_any_training(tmp_path, recipe, error, words):
    path = written(tmp_path, recipe)
    with pytest.raises(error, match=words):
        build_case_controls(path, tmp_path / "out", progress=Silent())
    assert not (tmp_path / "out").exists()


def test_models_that_start_from_one_given_model_are_one_family():
    recipe = CaseRecipe.model_validate({**RECIPE, "student": {"from": "tiny:zoo/same-data-00"}})
    families = {member.family for member in case_members(recipe) if member.group.name == "fresh"}
    assert families == {"from-tiny:zoo/same-data-00"}
