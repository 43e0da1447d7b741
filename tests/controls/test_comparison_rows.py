"""The file of rows: what it holds, how it is continued, what is refused."""

import json
from dataclasses import replace

import pytest
from comparison_world import TEXTS, bare_python, llama_folder, tool_python

from auditor.controls.comparison import run as running
from auditor.controls.comparison.opponent import PeerResult
from auditor.controls.comparison.run import Settings, add_results, compare_opponents, read_rows
from auditor.errors import CaseError, InputError, MissingExtraError

ANSWER = """\
name = request["suspect"].rsplit("/", 1)[1]
found = {"verdict": "FINE_TUNE", "probability": 0.95, "candidates": []}
if name == "broken": say({"error": "ValueError: nothing in " + request["suspect"]})
else: say({"result": found, "seconds": 1})"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    return {
        name: llama_folder(root / name, seed)
        for seed, name in enumerate(("reference", "one", "two", "broken"))
    }


@pytest.fixture
def suspects(models):
    return {
        "one": (models["one"], "independent", "f1", "locked"),
        "two": (models["two"], "imitation/text-50", "f2", "calibration"),
        "broken": (models["broken"], "replication/finetune", "f3", "locked", False),
    }


@pytest.fixture
def settings(tmp_path):
    """Settings for modelDNA alone, with a stand-in for it; the real one needs a package."""
    python = tool_python(tmp_path / "python", ANSWER)
    return Settings(opponents=["modeldna"], pythons={"modeldna": python})


def test_a_row_says_what_was_asked_and_what_was_answered(tmp_path, models, suspects, settings):
    rows = compare_opponents(tmp_path / "rows", models["reference"], suspects, settings)
    found = {row["model"]: row for row in rows}
    assert set(found) == {"one", "two", "broken"}
    two = found["two"]
    assert (two["role"], two["kind"], two["family"]) == ("imitation", "imitation/text-50", "f2")
    assert (two["split"], two["headline"]) == ("calibration", True)
    assert (two["reading"], two["version"], two["score"]) == ("modeldna", "9.9", 0.95)
    assert (two["verdict"], two["accuses_any"], two["seconds"]) == ("FINE_TUNE", True, 1.0)
    assert two["stated"]["replication"] == pytest.approx(1.2787536, abs=1e-6)  # log10 19
    broken = found["broken"]
    # Where the models lay is not published.
    assert (broken["score"], broken["failure"]) == (None, "ValueError: nothing in broken")
    assert (broken["accuses_any"], broken["headline"]) == (None, False)
    assert two["suspect_digest"] != broken["suspect_digest"]
    assert two["reference_digest"] == broken["reference_digest"]


def test_a_finished_file_starts_no_tool_and_stays_as_it_is(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    before = path.read_bytes()
    gone = Settings(opponents=["modeldna"], pythons={"modeldna": tmp_path / "none"})
    assert len(compare_opponents(path, models["reference"], suspects, gone)) == 3
    assert path.read_bytes() == before


def test_a_torn_line_is_cut_and_done_again(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert len(read_rows(path)) == 2
    compare_opponents(path, models["reference"], suspects, settings)
    assert path.read_bytes() == whole


def test_a_model_that_changed_is_asked_about_again(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    changed = {**suspects, "one": (models["two"], *suspects["one"][1:])}
    rows = {
        row["model"]: row for row in compare_opponents(path, models["reference"], changed, settings)
    }
    assert rows["one"]["suspect_digest"] == rows["two"]["suspect_digest"]
    assert (len(rows), path.read_bytes().count(b"\n")) == (3, 4)
    # And back: the newest row is the one that counts.
    again = compare_opponents(path, models["reference"], suspects, settings)
    assert again[0]["suspect_digest"] != rows["one"]["suspect_digest"]
    assert (len(again), path.read_bytes().count(b"\n")) == (3, 5)


def test_a_file_is_of_one_reference(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    with pytest.raises(CaseError, match="another reference"):
        compare_opponents(path, models["one"], suspects, settings)


def test_pairs_without_a_score_are_asked_again_on_demand(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    mended = tool_python(tmp_path / "mended", ANSWER.replace("broken", "none"))
    retry = replace(settings, pythons={"modeldna": mended}, retry=True)
    rows = {
        row["model"]: row for row in compare_opponents(path, models["reference"], suspects, retry)
    }
    assert (rows["broken"]["score"], rows["broken"]["failure"]) == (0.95, None)
    assert path.read_bytes().count(b"\n") == 4


def test_an_absent_tool_stops_the_run_before_any_other_works(tmp_path, models, suspects):
    path = tmp_path / "rows"
    asked = Settings(
        opponents=["published", "modeldna"],
        pythons={"modeldna": bare_python(tmp_path / "bare")},
        texts=TEXTS,
    )
    with pytest.raises(MissingExtraError, match="modeldna") as caught:
        compare_opponents(path, models["reference"], suspects, asked)
    assert "modeldna==0.1.0" in caught.value.hint
    assert read_rows(path) == []


def test_published_statistics_and_a_tool_share_a_file(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    both = Settings(opponents=["modeldna", "published"], pythons=settings.pythons, texts=TEXTS[:4])
    rows = compare_opponents(path, models["reference"], suspects, both)
    readings = {row["reading"] for row in rows if row["model"] == "one"}
    assert readings == {"modeldna", "raw-jsd", "std-profile", "biased-cka", "embedding-gram"}
    assert len(rows) == 15


def test_one_failing_opponent_ends_the_others_after_their_pair(
    tmp_path, models, suspects, settings, monkeypatch
):
    class Broken:
        readings = ("broken",)

        def compare(self, suspect, reference):
            raise RuntimeError("broken opponent")

        def close(self):
            pass

    monkeypatch.setattr(running, "PublishedStatistics", lambda texts: Broken())
    both = Settings(opponents=["published", "modeldna"], pythons=settings.pythons)
    with pytest.raises(RuntimeError, match="broken opponent"):
        compare_opponents(tmp_path / "rows", models["reference"], suspects, both)
    assert all(row["reading"] == "modeldna" for row in read_rows(tmp_path / "rows"))


def test_results_made_elsewhere_are_added_once(tmp_path, models, suspects, settings):
    path = tmp_path / "rows"
    compare_opponents(path, models["reference"], suspects, settings)
    ours = PeerResult(
        reading="auditor-weights",
        version="0.1",
        score=3.5,
        stated={"replication": 2.0},
        raw={"undefined": float("nan"), "deep": {"far": float("inf"), "near": 1.0}},
    )
    rows = add_results(path, models["reference"], suspects, {"one": [ours]})
    assert len(rows) == 4
    assert rows[-1]["stated"] == {"replication": 2.0}
    # NaN and infinity of a tool never enter the file.
    assert rows[-1]["raw"] == {"undefined": None, "deep": {"far": None, "near": 1.0}}
    assert len(add_results(path, models["reference"], suspects, {"one": [ours]})) == 4
    with pytest.raises(InputError, match="'three'"):
        add_results(path, models["reference"], suspects, {"three": [ours]})


def test_a_result_that_is_not_finite_is_refused(tmp_path, models, suspects):
    wrong = PeerResult(reading="auditor", version="0.1", score=float("nan"))
    with pytest.raises(ValueError, match="may not enter a file"):
        add_results(tmp_path / "rows", models["reference"], suspects, {"one": [wrong]})


def test_unknown_roles_and_opponents_are_refused_before_any_work(tmp_path, models):
    path = tmp_path / "rows"
    with pytest.raises(InputError, match="role 'cousin'"):
        compare_opponents(
            path, models["reference"], {"one": (models["one"], "cousin", "f", "locked")}
        )
    with pytest.raises(InputError, match="no opponent 'oracle'"):
        compare_opponents(path, models["reference"], {}, Settings(opponents=["oracle"]))
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"not json\n", b"[1]\n", json.dumps({"model": 1}).encode() + b"\n"]
)
def test_another_file_is_not_taken_for_rows(tmp_path, content):
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(CaseError, match="no file of comparison rows"):
        read_rows(path)
