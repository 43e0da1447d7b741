"""replay.py finds what the package found, and what was changed afterwards; alone, on numpy."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from replay_world import FILE, edited, replay_module, tiny_case

from auditor.case import Case
from auditor.data import data_dir
from auditor.measures._registry import all_measures

replay = replay_module()
SCHEMA = json.loads((data_dir("reports") / "schema" / "replay-1.json").read_bytes())
STATISTICS = json.loads((data_dir("reports") / "schema" / "statistics-1.json").read_bytes())
NO_RATIO = "not replayed: why no likelihood ratio is stated"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Case:
    """A finished case; tests must not change it."""
    return tiny_case(tmp_path_factory.mktemp("replay") / "case")


@pytest.fixture
def copy(tiny, tmp_path) -> Case:
    """A copy of it that a test may change."""
    shutil.copytree(tiny.data, tmp_path / "case" / "data")
    return Case(tmp_path / "case")


def differing(case: Case, only: str | None = None) -> dict[str, str]:
    """Return {"id suspect": detail} of the lines that differ, of one measure or of all."""
    again = replay.Replay(replay.Case(case.data))
    if only is not None:
        for rows in again.statistics["suspects"].values():
            rows[:] = [row for row in rows if row["measure"].startswith(only)]
    return {
        f"{row['id']} {suspect}": detail
        for suspect, row, outcome, detail in again.rows()
        if outcome == "differs"
    }


def test_two_implementations_agree_on_every_statistic_and_conclusion(tiny):
    found = replay.replayed(tiny.root)
    jsonschema.validate(tiny.read_json("statistics.json"), STATISTICS)
    statistics = tiny.read_json("statistics.json")["suspects"]
    assert all("tolerance" in row for rows in statistics.values() for row in rows)
    jsonschema.validate(found, SCHEMA)
    assert [line for line in found["lines"] if line["outcome"] != "ok"] == []
    # Which populations ship is known to the package alone.
    assert {line["detail"] for line in found["lines"]} <= {"", NO_RATIO}
    assert {line["id"] for line in found["lines"]} == {
        "scope",
        "without",
        "conclusion",
        "support",
        "robustness",
        "validation",
        *(row["id"] for rows in statistics.values() for row in rows),
    }


def test_every_measure_is_known_with_its_version_direction_and_tolerance():
    for measure in all_measures():
        known = replay.MEASURES[measure.name]
        most = replay.TOLERANCES.get(measure.name, replay.DEFAULT_TOLERANCE)
        assert (known.version, known.closer) == (measure.version, measure.closer)
        assert (known.reduce, tuple(known.needs)) == (measure.reduce, measure.needs)
        assert (most["relative"], most["absolute"]) == measure.tolerance
        assert known.bounds == measure.bounds or measure.name not in SAME_BOUNDS
    assert len(replay.MEASURES) == len(all_measures())


SAME_BOUNDS = ("logit-js", "hidden-cka", "idiosyncratic-agreement", "residual-correlation")


@pytest.mark.parametrize("field", ["value", "z", "rank_p", "predictive_p"])
def test_a_changed_number_is_found(copy, field):
    def change(content):
        row = next(r for r in content["suspects"]["same-data-03"] if r["measure"] == "logit-js@1")
        row[field] *= 1 + 1e-8

    edited(copy, "statistics.json", change)
    faults = differing(copy, "logit-js")
    assert len(faults) == 1
    assert field in next(iter(faults.values()))


def test_a_changed_interval_control_value_or_tolerance_is_found(copy):
    def change(content):
        rows = {r["measure"]: r for r in content["suspects"]["same-data-03"]}
        rows["logit-tv@1"]["interval"][1] += 1e-6
        rows["logit-top1@1"]["control_values"][2] += 1e-6
        rows["logit-rank@1"]["tolerance"]["relative"] = 0.1

    edited(copy, "statistics.json", change)
    assert "interval" in next(iter(differing(copy, "logit-tv").values()))
    assert "control same-data-02" in next(iter(differing(copy, "logit-top1").values()))
    assert "tolerance" in next(iter(differing(copy, "logit-rank").values()))


def test_a_value_without_data_behind_it_is_found(copy):
    def change(content):
        rows = content["suspects"]["same-data-03"]
        row = next(r for r in rows if r["measure"] == "embedding-cosine@1")
        row.update(value=0.9, undefined=None)

    edited(copy, "statistics.json", change)
    assert "it is undefined" in next(iter(differing(copy, "embedding-cosine").values()))


def test_a_changed_array_is_found(copy):
    path = copy.array("agreement", "same-data-03")
    rows = np.load(path)
    rows["js"][0] += 1e-3
    np.save(path, rows)
    assert differing(copy, "logit-js")


@pytest.mark.parametrize("value", ["0.3", float("nan"), [0.3], True, 1e999])
def test_a_value_of_another_kind_is_found(copy, value):
    def change(content):
        row = next(r for r in content["suspects"]["same-data-03"] if r["measure"] == "logit-js@1")
        row["value"] = value

    edited(copy, "statistics.json", change)
    assert len(differing(copy, "logit-js")) == 1


def test_more_draws_than_anybody_makes_are_not_made_again(copy):
    def change(content):
        row = next(r for r in content["suspects"]["same-data-03"] if r["measure"] == "logit-js@1")
        row["implementation"] = "numpy 2; 999999999999 bootstrap resamples"

    edited(copy, "statistics.json", change)
    assert "999999999999 draws" in next(iter(differing(copy, "logit-js").values()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reading", "imitation"),
        ("cap", None),
        ("basis", "similar"),
        ("limits", []),
        ("error_rates", [{}]),
    ],
)
def test_a_changed_conclusion_is_found(copy, field, value):
    def change(content):
        content["suspects"]["same-data-03"][field] = value

    edited(copy, "conclusion.json", change)
    again = replay.Replay(replay.Case(copy.data))
    faults = {name: detail for name, outcome, detail in replay.check_conclusions(again) if detail}
    assert f"conclusion.{field}" in faults["same-data-03"]


def test_a_case_that_claims_other_suspects_is_refused(copy, numpy_only):
    edited(copy, "statistics.json", lambda content: content["suspects"].pop("same-data-03"))
    done = alone(copy.root, numpy_only)
    assert done.returncode == 2
    assert "other suspects than the plan" in done.stderr


def test_statistics_of_withheld_replies_are_named_and_not_passed(copy):
    path = next((copy.data / "records" / "same-data-03").glob("*.jsonl"))
    lines = path.read_bytes().splitlines()
    lines[0] = json.dumps({"withheld": "0" * 64}).encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    again = replay.Replay(replay.Case(copy.data))
    outcomes = {
        row["measure"]: (outcome, detail)
        for suspect, row, outcome, detail in again.rows()
        if suspect == "same-data-03" and row["measure"] in ("text-chrf@1", "logit-js@1")
    }
    assert outcomes["text-chrf@1"][0] == "not replayable"
    assert "withheld" in outcomes["text-chrf@1"][1]
    assert outcomes["logit-js@1"] == ("ok", "")


def alone(folder: Path, packages: Path, *words: str) -> subprocess.CompletedProcess:
    """Run replay.py with nothing on the path but the standard library and numpy."""
    code = (
        "import runpy, sys; "
        f"sys.path.append({str(packages)!r}); "
        f"sys.argv = ['replay.py', {str(folder)!r}, *{list(words)!r}]; "
        f"runpy.run_path({str(FILE)!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, cwd=folder.parent
    )


@pytest.fixture
def numpy_only(tmp_path) -> Path:
    """A folder of packages that holds numpy and nothing else."""
    folder = tmp_path / "packages"
    folder.mkdir()
    installed = Path(np.__file__).parent
    (folder / "numpy").symlink_to(installed)
    libraries = installed.parent / "numpy.libs"
    if libraries.is_dir():
        (folder / "numpy.libs").symlink_to(libraries)
    return folder


def keep_one(content) -> None:
    """Leave one cheap statistic a suspect, so that a whole run is quick."""
    for rows in content["suspects"].values():
        rows[:] = [row for row in rows if row["measure"] == "unembedding-span@1"]
    content.pop("scope")


def test_it_runs_alone_and_says_5_where_something_differs(copy, numpy_only):
    edited(copy, "statistics.json", keep_one)
    done = alone(copy.root, numpy_only, "--json")
    result = json.loads(done.stdout)
    # The statistics that were taken away are missed by the scope and by the conclusion.
    assert done.returncode == 5, done.stderr
    assert result["schema"] == "auditor/replay/1"
    assert [line["outcome"] for line in result["lines"][:2]] == ["ok", "ok"]
    assert result["counts"]["differs"] > 0


def test_a_folder_without_a_case_is_refused(tmp_path, numpy_only):
    (tmp_path / "empty").mkdir()
    done = alone(tmp_path / "empty", numpy_only)
    assert done.returncode == 2
    assert "no data/plan.json" in done.stderr
    assert "Traceback" not in done.stderr
