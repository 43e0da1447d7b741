"""Recipes of packs: what is refused, and that every model's seed, family and half are fixed."""

import hashlib
from pathlib import Path

import pytest
import yaml

from auditor.controls.members import member_seed, members_of, shipped_members, split_of
from auditor.controls.recipe import PackRecipe, load_pack_recipe
from auditor.data import data_dir
from auditor.errors import RecipeError

SHAPE = {
    "architecture": "llama",
    "tokenizer": "bytes",
    "hidden": 16,
    "layers": 1,
    "heads": 2,
    "intermediate": 16,
    "positions": 64,
}
SMALL = {
    "schema": "auditor/control-recipe/1",
    "name": "small",
    "seed": 7,
    "tokenizers": {"bytes": {"kind": "bytes"}},
    "shapes": {"a": SHAPE},
    "texts": {
        "d1": {"corpus": "stories", "seed": 11, "documents": 50},
        "own": {"corpus": "stories", "seed": "own", "documents": 20},
    },
    "training": {"steps": 4, "sequences": 2, "length": 24, "learning_rate": 0.01, "ensemble": 2},
    "groups": [
        {"name": "reference", "role": "reference", "count": 1, "shape": "a", "text": "d1"},
        {"name": "free", "role": "independent", "count": 3, "shape": "a", "text": "own"},
        {
            "name": "sib",
            "role": "sibling",
            "count": 4,
            "shape": "a",
            "text": "own",
            "teaching": {"teachers": "free", "via": "text"},
        },
        {
            "name": "student",
            "role": "imitation",
            "count": 2,
            "start": "free",
            "text": "own",
            "teaching": {"teachers": "reference", "via": "logits", "dose": 0.5},
        },
        {"name": "tuned", "role": "replication", "count": 2, "start": "reference", "text": "own"},
        {
            "name": "rounded",
            "role": "replication",
            "count": 2,
            "start": "tuned",
            "transform": {"kind": "quantise", "options": {"bits": 8}},
        },
    ],
}


def changed(path: str, value: object) -> dict:
    """Return SMALL with the value at a dotted path replaced."""
    content = yaml.safe_load(yaml.safe_dump(SMALL))
    *parents, last = path.split(".")
    at = content
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    at[last] = value
    return content


def written(tmp_path: Path, content: dict) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def small() -> dict:
    return {member.name: member for member in members_of(PackRecipe.model_validate(SMALL))}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training.rate", 1, "training.rate"),
        ("shapes.a.tokenizer", "words", "no tokenizer is named"),
        ("groups.1.text", "d9", "text 'd9' is not defined"),
        ("groups.2.teaching.teachers", "student", "teachers 'student' is not defined before"),
        ("groups.1.name", "reference", "two groups are named reference"),
        ("groups.5.text", "own", "a transform needs start, and trains on nothing"),
        ("groups.3.teaching.dose", 1.5, "dose"),
        ("tokenizers.bytes.vocabulary", 400, "a bpe tokenizer needs"),
    ],
)
def test_a_faulty_recipe_is_refused_by_name(tmp_path, path, value, message):
    with pytest.raises(RecipeError, match=message):
        load_pack_recipe(written(tmp_path, changed(path, value)))


def test_a_file_that_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("a: [")
    with pytest.raises(RecipeError, match="cannot be read as YAML"):
        load_pack_recipe(path)


def test_a_seed_follows_from_the_pack_and_the_name():
    # The first four bytes of SHA-256 of "7:free-00", less one bit.
    expected = int.from_bytes(hashlib.sha256(b"7:free-00").digest()[:4], "big") >> 1
    assert member_seed(PackRecipe.model_validate(SMALL).seed, "free-00") == expected


def test_the_half_is_the_first_bit_of_the_hash_of_the_seed():
    # sha256(b"1") starts with 0x6b (odd), sha256(b"2") with 0xd4 (even).
    assert (split_of(1), split_of(2)) == ("locked", "calibration")


def test_students_of_one_sibling_share_its_family_and_half(small):
    assert small["sib-00"].family == small["sib-03"].family == "free-00"
    assert {small["sib-00"].split, small["sib-03"].split} == {small["free-00"].split}


def test_transforms_share_the_family_and_half_of_what_they_start_from(small):
    assert small["rounded-01"].family == "tuned-01"
    assert small["rounded-01"].split == small["tuned-01"].split


def test_a_student_from_an_unlinked_base_is_a_family_of_its_own(small):
    assert small["student-01"].family == "student-01"
    assert small["student-01"].split == small["free-01"].split


def test_no_family_is_in_two_halves_or_two_classes_of_the_shipped_pack():
    recipe = load_pack_recipe(data_dir("probes") / "packs" / "zoo" / "recipe.yaml")
    seen: dict[str, tuple[str, str]] = {}
    for member in members_of(recipe):
        role = "independent" if member.role == "sibling" else member.role
        assert seen.setdefault(member.family, (role, member.split)) == (role, member.split)
    assert len(seen) > 200


def test_the_calibration_half_ships_first():
    content = changed("groups.1.shipped", 2)
    members = members_of(PackRecipe.model_validate(content))
    halves = [member.split for member in shipped_members(members)]
    available = sum(m.split == "calibration" and m.group.name == "free" for m in members)
    assert halves.count("calibration") == min(2, available)
    assert len(halves) == 2
