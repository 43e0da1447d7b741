"""A tool in a process of its own: what reaches it, what it may cost, how it fails."""

import os
import time
from pathlib import Path

import pytest
from comparison_world import bare_python, tool_python

from auditor.controls.comparison.tools import ToolOpponent
from auditor.controls.comparison.worker import PeerFailedError, PeerWorker
from auditor.errors import InputError, MissingExtraError


@pytest.fixture
def worker(tmp_path):
    """Return a function that makes a worker whose tool runs `body`; all are closed at the end."""
    made = []

    def make(body, seconds=30.0):
        python = tool_python(tmp_path / f"python{len(made)}", body)
        made.append(PeerWorker("modeldna", "modeldna==0.1.0", python=python, seconds=seconds))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_answers_come_back_with_their_time_from_one_process(worker):
    one = worker('say({"result": [request["suspect"], os.getpid()], "seconds": 0.25})')
    (first, pid), seconds = one.ask({"suspect": "a"})
    (second, again), _ = one.ask({"suspect": "b"})
    assert (first, second, seconds) == ("a", "b", 0.25)
    assert pid == again
    assert one.version == "9.9"


def test_no_key_reaches_the_tool_and_the_hub_is_off(worker, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_private")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-private")
    one = worker('say({"result": dict(os.environ), "seconds": 0})')
    found, _ = one.ask({})
    assert not [value for value in found.values() if "private" in value]
    assert found["HF_HUB_OFFLINE"] == found["TRANSFORMERS_OFFLINE"] == "1"


def test_home_and_working_folder_are_new_and_removed(worker):
    one = worker('say({"result": [os.getcwd(), os.environ["HOME"]], "seconds": 0})')
    folder, home = one.ask({})[0]
    assert Path(folder).resolve() == Path(home).resolve() != Path.home().resolve()
    assert Path(folder).is_dir()
    one.close()
    assert not Path(folder).exists()


def test_what_the_tool_raises_is_a_reason_on_one_line(worker):
    one = worker('say({"error": "ValidationError: 1 error\\n  Input should be <= 1"})')
    with pytest.raises(PeerFailedError, match="1 error Input should"):
        one.ask({})


def test_a_tool_out_of_time_is_stopped_and_started_anew(worker):
    one = worker(
        "if request['slow']: time.sleep(60)\nsay({'result': os.getpid(), 'seconds': 0})", 1.0
    )
    pid, _ = one.ask({"slow": False})
    start = time.monotonic()
    with pytest.raises(PeerFailedError, match=r"no answer in 1 s"):
        one.ask({"slow": True})
    assert time.monotonic() - start < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert one.ask({"slow": False})[0] != pid


def test_a_tool_that_ends_is_a_failure_and_is_started_anew(worker):
    one = worker("if request['die']: sys.exit(3)\nsay({'result': 1, 'seconds': 0})")
    with pytest.raises(PeerFailedError, match="ended"):
        one.ask({"die": True})
    assert one.ask({"die": False})[0] == 1


@pytest.mark.parametrize("tool", ["modeldna", "weightscope", "provenancekit", "modelaudit"])
def test_an_absent_tool_is_named_with_the_line_that_installs_it(tmp_path, tool):
    # The real script, run by a Python without any package.
    one = PeerWorker(tool, "wanted==1.0", python=bare_python(tmp_path / "python"))
    with pytest.raises(MissingExtraError, match=tool) as caught:
        _ = one.version
    one.close()
    assert "pip install 'wanted==1.0'" in caught.value.hint
    assert f"--python {tool}=PATH" in caught.value.hint


def test_an_interpreter_that_is_not_there_is_said_so(tmp_path):
    one = PeerWorker("modeldna", "modeldna==0.1.0", python=tmp_path / "none")
    with pytest.raises(MissingExtraError, match="cannot be run"):
        one.ask({})


def test_an_unknown_opponent_is_refused():
    with pytest.raises(InputError, match="no opponent 'gpt'"):
        ToolOpponent("gpt")


def opponent(tmp_path, body):
    return ToolOpponent("weightscope", python=tool_python(tmp_path / "python", body))


def test_a_failure_is_a_result_for_each_reading(tmp_path):
    one = opponent(tmp_path, "say({'error': 'OSError: nothing'})")
    found = one.compare(tmp_path / "student", tmp_path / "reference")
    one.close()
    assert [(r.reading, r.score, r.verdict, r.accuses_any) for r in found] == [
        ("weightscope-lineage", None, None, None),
        ("weightscope-diff", None, None, None),
    ]
    assert {r.failure for r in found} == {"OSError: nothing"}
    assert {r.version for r in found} == {"9.9"}


@pytest.mark.parametrize("result", ["{}", '{"lineage": 3, "diff": {}}', "[]"])
def test_an_answer_of_another_form_is_a_failure_and_no_score(tmp_path, result):
    one = opponent(tmp_path, f"say({{'result': {result}, 'seconds': 0}})")
    found = one.compare(tmp_path / "s", tmp_path / "r")
    one.close()
    assert all(r.score is None and r.failure.startswith("unexpected answer") for r in found)


def test_a_score_that_is_not_finite_becomes_a_reason(tmp_path):
    body = (
        "diff = {'label': 'inconclusive', 'confidence': 'low', 'headline': '', "
        "'median_max_delta': 0.5}\n"
        "say({'result': {'lineage': {'verdict': 'independent', 'sparsity': float('nan')}, "
        "'diff': diff}, 'seconds': 2})"
    )
    one = opponent(tmp_path, body)
    lineage, diff = one.compare(tmp_path / "s", tmp_path / "r")
    one.close()
    assert (lineage.score, lineage.failure, lineage.verdict) == (
        None,
        "a score of nan",
        "independent",
    )
    assert (diff.score, diff.seconds) == (-0.5, 2.0)
