"""Blinded exercises: nothing but the weights tells suspects apart; errors are counted exactly."""

import contextlib
import json
import shutil

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from safetensors.torch import load_file

from auditor.cli.main import cli
from auditor.data import data_dir
from auditor.errors import CaseError, InputError
from auditor.exercise import TRUTHS, new_exercise, open_exercise
from auditor.progress import Silent

CASES, SEED = 4, 11


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An exercise of hardly trained suspects; tests must not change it."""
    folder = tmp_path_factory.mktemp("exercise")
    return new_exercise(
        folder / "ex", folder / "key.json", cases=CASES, seed=SEED, progress=Silent(), steps=2
    )


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "ex")
    shutil.copy(made.key, tmp_path / "key.json")
    return tmp_path / "ex", tmp_path / "key.json"


def truths_of(key) -> dict[str, str]:
    return json.loads(key.read_bytes())["truths"]


def test_the_examiner_gets_models_of_one_shape_and_nothing_else(made):
    assert {path.name for path in made.folder.iterdir()} == {"suspects", "exercise.json"}
    first, *others = made.suspects
    names = {path.name for path in first.iterdir()}
    for suspect in others:
        assert {path.name for path in suspect.iterdir()} == names
        for name in names - {"model.safetensors"}:
            assert (suspect / name).read_bytes() == (first / name).read_bytes()
    tables = [load_file(suspect / "model.safetensors") for suspect in made.suspects]
    shapes = [{name: table.shape for name, table in one.items()} for one in tables]
    assert shapes.count(shapes[0]) == CASES
    said = (made.folder / "exercise.json").read_text()
    assert not any(name in said for name in ("salt", "seed"))


def test_a_replica_is_near_the_reference_and_a_student_is_not(made):
    # Sums over units do not change with their order.
    reference = load_file(data_dir("probes") / "packs/zoo/models/reference-00/model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    wanted = reference[name].float().sum(0)
    for suspect in made.suspects:
        found = load_file(suspect / "model.safetensors")[name].float().sum(0)
        near = float((found - wanted).norm() / wanted.norm()) < 0.1
        assert near == (truths_of(made.key)[suspect.name] == "replication")


class _Stopping:
    """A task that interrupts when its second unit is done."""

    done = 0

    def advance(self, amount=1):
        self.done += amount
        if self.done == 2:
            raise KeyboardInterrupt


class _Stops(Silent):
    @contextlib.contextmanager
    def task(self, description, total):
        yield _Stopping()


def test_interrupted_work_is_continued_with_its_own_seed(made, tmp_path):
    target, key = tmp_path / "ex", tmp_path / "key.json"
    with pytest.raises(KeyboardInterrupt):
        new_exercise(target, key, cases=CASES, seed=SEED, progress=_Stops(), steps=2)
    assert not target.exists()
    assert not key.exists()
    with pytest.raises(CaseError, match="another unfinished exercise"):
        new_exercise(target, key, cases=CASES, seed=SEED + 1, progress=Silent(), steps=2)
    again = new_exercise(target, key, cases=CASES, seed=None, progress=Silent(), steps=2)
    for one, two in zip(made.suspects, again.suspects, strict=True):
        weights = "model.safetensors"
        assert (one / weights).read_bytes() == (two / weights).read_bytes()
    assert truths_of(key) == truths_of(made.key)


def test_errors_are_counted_with_exact_limits(copy):
    folder, key = copy
    sealed = json.loads(key.read_bytes())
    truths = sealed["truths"]
    right = {"independent": "no-link", "imitation": "imitation", "replication": "replication"}
    found = open_exercise(folder, key, {name: right[truth] for name, truth in truths.items()})
    schema = json.loads((data_dir("reports") / "schema/exercise-result-1.json").read_bytes())
    Draft202012Validator(schema).validate(found)
    linked = sum(truth != "independent" for truth in truths.values())
    assert found["missed_links"]["count"] == found["false_accusations"]["count"] == 0
    # 0 of n: the upper limit u solves (1 - u)^n = 0.025.
    assert found["missed_links"]["interval"] == [0.0, pytest.approx(1 - 0.025 ** (1 / linked))]
    swapped = {"imitation": "replication", "replication": "imitation", "independent": "imitation"}
    worst = open_exercise(folder, key, {name: swapped[truth] for name, truth in truths.items()})
    assert worst["mistaken_kinds"]["count"] == linked
    assert worst["false_accusations"]["count"] == worst["false_accusations"]["of"] == CASES - linked
    silent = open_exercise(folder, key, {})
    assert silent["undecided"]["count"] == CASES
    assert silent["missed_links"]["count"] == 0
    assert set(truths.values()) <= set(TRUTHS)


def _key_of_another_truth(folder, key):
    key.write_text(key.read_text().replace("imitation", "replication", 1))


def _another_suspect(folder, key):
    (folder / "suspects/suspect-01/model.safetensors").write_bytes(b"x")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_key_of_another_truth, "not the key"),
        (_another_suspect, "suspect-01 is not the suspect"),
        (lambda folder, key: key.write_text("{}"), "is not auditor/exercise-key/1"),
        (lambda folder, key: (folder / "exercise.json").unlink(), "cannot be read"),
    ],
    ids=["key", "suspect", "no key", "no exercise"],
)
def test_what_was_changed_is_not_opened(copy, spoil, match):
    folder, key = copy
    assert "imitation" in truths_of(key).values()  # drawn by this seed
    spoil(folder, key)
    with pytest.raises(CaseError, match=match):
        open_exercise(folder, key, {})


@pytest.mark.parametrize("answers", [{"suspect-99": "no-link"}, {"suspect-01": "guilty"}])
def test_answers_that_make_no_sense_are_refused(made, answers):
    with pytest.raises(InputError, match=r"suspect-99|guilty"):
        open_exercise(made.folder, made.key, answers)


def test_a_place_that_gives_the_truth_away_is_refused(tmp_path):
    with pytest.raises(InputError, match="lies in the exercise"):
        new_exercise(
            tmp_path / "ex", tmp_path / "ex" / "key.json", cases=1, seed=1, progress=Silent()
        )
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(CaseError, match="exists"):
        new_exercise(tmp_path / "ex", tmp_path / "key.json", cases=1, seed=1, progress=Silent())


def test_the_command_reads_a_scan_or_a_mapping(made, tmp_path):
    name = made.suspects[0].name
    results = [{"suspect": {"spec": f"local:x/{name}"}, "conclusion": {"reading": "no-link"}}]
    path = tmp_path / "answers.json"
    command = ["exercise", "open", str(made.folder), "--key", str(made.key)]
    run = CliRunner().invoke
    said = []
    for content in ({"schema": "auditor/scan/1", "results": results}, {name: "no-link"}):
        path.write_text(json.dumps(content))
        done = run(cli, [*command, "--answers", str(path), "--json"])
        said.append(json.loads(done.stdout))
    assert said[0] == said[1]
    assert said[0]["undecided"]["count"] == CASES - 1
    path.write_text("[]")
    assert "no answers" in str(run(cli, [*command, "--answers", str(path)]).exception)
    path.write_text(json.dumps({name: "no-link"}))
    text = run(cli, [*command, "--answers", str(path)]).stdout
    assert f"{name}: {truths_of(made.key)[name]}, answered no-link" in text
    assert "false accusations: 0 of" in text
