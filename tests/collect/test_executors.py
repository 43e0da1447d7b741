"""Workers, lost or not, leave the bytes that one process leaves; every result is taken once."""

import json
import shutil

import pytest
from executor_world import collected_by, digests, events, worker_killed_in

from auditor.canon import directory_digests
from auditor.case import Case
from auditor.collect import task_merge, tasks
from auditor.collect.collection import Collection
from auditor.collect.custody import Custody
from auditor.collect.executors import open_executor
from auditor.collect.executors.inline import Inline
from auditor.collect.executors.process import Processes
from auditor.collect.fan_out import FanOut
from auditor.collect.tasks import Task, do_task
from auditor.errors import CaseError, ExecutorError
from auditor.progress import Silent


@pytest.fixture(scope="module")
def single(small_plan, tmp_path_factory):
    """The case as this process alone collects it."""
    return collected_by(None, tmp_path_factory.mktemp("single") / "case", small_plan)


def test_tasks_done_in_this_process_leave_the_same_case(single, small_plan, tmp_path):
    case = collected_by(Inline(), tmp_path / "case", small_plan)
    assert digests(case) == digests(single)
    assert events(case) == events(single)
    assert not {path.name for path in case.work.iterdir()} - {"salt.key"}


def test_processes_of_which_one_is_killed_leave_the_same_case(single, small_plan, tmp_path):
    root = tmp_path / "case"
    with worker_killed_in(root, "subject-other") as killed:
        case = collected_by(Processes(2, "cpu"), root, small_plan)
    assert len(killed) == 1
    assert digests(case) == digests(single)
    lost = {"event": "worker lost", "task": "subject-other", "how": "ended by signal 9"}
    assert lost in events(case)
    assert [event for event in events(case) if event != lost] == events(single)


@pytest.mark.slow
def test_ray_with_two_workers_of_which_one_is_killed_leaves_the_same_case(
    single, small_plan, tmp_path, monkeypatch
):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    root = tmp_path / "case"
    with worker_killed_in(root, "subject-other") as killed:
        case = collected_by(open_executor("ray", 2, device="cpu"), root, small_plan)
    assert len(killed) == 1
    assert digests(case) == digests(single)
    lost = [event for event in events(case) if event["event"] == "worker lost"]
    assert [event["task"] for event in lost] == ["subject-other"]
    assert [event for event in events(case) if event not in lost] == events(single)


def test_a_cut_merge_is_completed_by_the_next_run(single, small_plan, tmp_path, monkeypatch):
    root, left, real = tmp_path / "case", [20], task_merge._move

    def cut(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(task_merge, "_move", cut)
    with pytest.raises(KeyboardInterrupt):
        collected_by(Inline(), root, small_plan)
    done = {path.name for path in (root / "work" / "tasks").iterdir()}
    assert done  # a result that is half in the case
    monkeypatch.setattr(task_merge, "_move", real)
    case = collected_by(Inline(), root, small_plan)
    assert digests(case) == digests(single)


def test_a_task_whose_merged_result_was_half_removed_can_be_done_again(
    drawn, small_plan, monkeypatch
):
    def cut(folder, **_):
        (folder / tasks.RESULT).unlink()
        raise KeyboardInterrupt

    case, task = drawn
    with Custody(case) as custody:
        run = Collection(case=case, plan=small_plan, custody=custody, progress=Silent())
        with monkeypatch.context() as patch:
            patch.setattr(task_merge.shutil, "rmtree", cut)
            with pytest.raises(KeyboardInterrupt):
                task_merge.merge_result(run, task)
        before = directory_digests(case.work / "draws")
        do_task(str(case.root), task, 1)
        task_merge.merge_result(run, task)
    assert directory_digests(case.work / "draws") == before
    assert not tasks.result_folder(case, task).exists()


def test_a_run_begun_by_one_executor_is_ended_by_another(single, small_plan, tmp_path, monkeypatch):
    root, real = tmp_path / "case", FanOut.cross
    monkeypatch.setattr(FanOut, "cross", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        collected_by(Inline(), root, small_plan)
    monkeypatch.setattr(FanOut, "cross", real)
    assert digests(collected_by(None, root, small_plan)) == digests(single)


@pytest.fixture
def drawn(single, small_plan, tmp_path):
    """A case of which only the reference's first half was sampled, and that task."""
    case, task = Case(tmp_path / "case"), Task(kind="sample", names=("reference",), part=(0, 2))
    shutil.copytree(single.data / "probes", case.data / "probes")
    case.write_json("plan.json", small_plan)
    case.write_json("environment.json", single.read_json("environment.json"))
    shutil.copytree(single.work, case.work)
    do_task(str(case.root), task, 1)
    return case, task


def test_a_task_done_by_two_workers_is_done_once_where_the_bytes_are_the_same(drawn):
    case, task = drawn
    result = tasks.result_folder(case, task)
    before = (result / tasks.RESULT).stat().st_mtime_ns
    with tasks._attempt(case, task) as own:  # the other worker began before the first one's result
        tasks._link(case, own, task)
        tasks._publish(case, own, task, tasks._work(own, task))
    assert (result / tasks.RESULT).stat().st_mtime_ns == before
    assert not list(tasks.attempts_folder(case).iterdir())


def test_two_results_of_one_task_that_differ_are_an_error(drawn):
    case, task = drawn
    with tasks._attempt(case, task) as own:
        tasks._link(case, own, task)
        value = tasks._work(own, task)
        path = next((own.work / "draws" / "reference").iterdir())
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(CaseError, match="two workers did sample-reference-0-of-2"):
            tasks._publish(case, own, task, value)


def test_a_result_that_was_changed_is_not_taken(drawn, small_plan):
    case, task = drawn
    path = next((tasks.result_folder(case, task) / "work" / "draws" / "reference").iterdir())
    path.write_bytes(path.read_bytes() + b" ")
    with Custody(case) as custody:
        run = Collection(case=case, plan=small_plan, custody=custody, progress=Silent())
        with pytest.raises(CaseError, match="is not the file that a worker wrote"):
            task_merge.merge_result(run, task)
    assert not (case.work / "draws").exists()


def test_a_result_of_another_machine_is_logged_with_its_environment(drawn, small_plan):
    case, task = drawn
    path = tasks.result_folder(case, task) / tasks.RESULT
    content = json.loads(path.read_bytes())
    content["environment"]["torch_threads"] += 1
    path.write_text(json.dumps(content))
    with Custody(case) as custody:
        run = Collection(case=case, plan=small_plan, custody=custody, progress=Silent())
        task_merge.merge_result(run, task)
    (event,) = events(case)
    assert (event["event"], event["task"]) == ("environment changed", task.id)
    assert event["environment"] == content["environment"]


def test_a_worker_that_does_not_see_the_case_says_so(tmp_path):
    task = Task(kind="subject", names=("reference",))
    with pytest.raises(ExecutorError, match="cannot see the case") as failure:
        do_task(str(tmp_path / "nowhere"), task, 1)
    assert "file system that all machines share" in failure.value.hint
