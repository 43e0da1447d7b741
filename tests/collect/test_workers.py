"""Jobs and the workers that do them: order, places, and what becomes of the job of a lost one."""

import signal
import sys

import pytest

from auditor.collect.executors import Job, carry_out, open_executor
from auditor.collect.executors.inline import Inline
from auditor.collect.executors.memory import Device, model_memory
from auditor.collect.executors.process import Processes
from auditor.collect.tasks import Task
from auditor.errors import ExecutorError, InputError, MissingExtraError


def job(name: str, function: str = "twice", after: tuple[str, ...] = (), **arguments) -> Job:
    return Job(
        name=name,
        function=f"executor_world:{function}",
        arguments=arguments,
        after=frozenset(after),
    )


def test_jobs_are_done_in_their_order_but_after_what_they_need():
    done = []
    jobs = [job("late", after=("b",), number=3), job("a", number=1), job("b", number=2)]
    carry_out(Inline(), jobs, lambda o: done.append((o.job.name, o.value)), print)
    assert done == [("a", 2), ("b", 4), ("late", 6)]


def test_the_job_of_a_lost_worker_is_done_by_another(tmp_path):
    done, lost = [], []
    jobs = [
        job("deadly", "end_the_worker_once", marker=str(tmp_path / "once")),
        job("other", number=4),
    ]
    with Processes(2, "cpu") as executor:
        carry_out(executor, jobs, lambda o: done.append((o.job.name, o.value)), lost.append)
    assert sorted(done) == [("deadly", 7), ("other", 8)]
    assert [(one.job.name, one.lost) for one in lost] == [("deadly", "ended by signal 9")]


def test_the_job_of_a_lost_worker_is_done_before_those_that_came_after_it(tmp_path):
    done = []
    once = str(tmp_path / "once")
    jobs = [job("deadly", "end_the_worker_once", marker=once), job("other", number=4)]
    with Processes(1, "cpu") as executor:
        carry_out(executor, jobs, lambda o: done.append(o.job.name), lambda _: None)
    assert done == ["deadly", "other"]


def test_a_worker_that_dies_between_two_jobs_costs_an_attempt_of_the_next():
    done, lost = [], []

    def finished(outcome):
        done.append((outcome.job.name, outcome.value))
        if outcome.job.name == "first":
            worker = executor._alive[0].process
            worker.kill()
            worker.join()

    with Processes(1, "cpu") as executor:
        jobs = [job("first", number=1), job("second", number=2)]
        carry_out(executor, jobs, finished, lost.append)
    assert done == [("first", 2), ("second", 4)]
    assert [(one.job.name, one.lost) for one in lost] == [("second", "ended by signal 9")]


def test_a_worker_sees_its_own_gpu_alone_and_makes_room_for_one_of_another():
    with Processes(1, "cpu") as executor:
        first, second = Device(100, number=3), Device(60, number=5)
        executor._devices[:] = [first, second]
        executor.start(job("first", "seen_gpu"))
        assert executor.wait().value == "3"
        first.taken = 90
        executor.start(job("second", "seen_gpu"))
        assert executor.wait().value == "5"
        assert len(executor._alive) == 1


def test_no_worker_outlives_a_run_that_is_left():
    with Processes(1, "cpu") as executor:
        executor.start(job("long", "take_a_minute"))
        process = executor._alive[0].process
    assert process.exitcode == -signal.SIGKILL


def test_a_job_that_ends_every_worker_ends_the_run():
    lost = []
    with (
        Processes(2, "cpu") as executor,
        pytest.raises(ExecutorError, match="3 workers were lost with the same job, deadly") as end,
    ):
        carry_out(executor, [job("deadly", "end_the_worker")], print, lost.append)
    assert len(lost) == 3
    assert "fewer --workers" in end.value.hint


def test_an_error_of_a_job_arrives_with_its_remedy(tmp_path):
    task = Task(kind="subject", names=("reference",))
    failing = Job(
        name="failing",
        function="auditor.collect.tasks:do_task",
        arguments={"root": str(tmp_path), "task": task, "threads": 1},
    )
    with Processes(1, "cpu") as executor, pytest.raises(ExecutorError) as failure:
        carry_out(executor, [failing], print, print)
    assert "file system that all machines share" in failure.value.hint


def test_jobs_share_a_device_only_while_its_memory_lasts():
    executor = Processes(4, "cpu")
    executor._devices[:] = [Device(100), Device(60)]
    executor._begin = lambda device: _Idle(executor, device)
    sizes = {"big": 90, "small": 50, "next": 40, "larger than all": 500}
    jobs = {name: Job(name=name, function="x:y", memory=size) for name, size in sizes.items()}
    executor.start(jobs["big"])  # 10 and 60 left
    executor.start(jobs["small"])  # 10 and 10 left
    assert not executor.accepts(jobs["next"])
    assert not executor.accepts(jobs["larger than all"])
    executor._release(executor._alive[0])  # 100 and 10 left
    assert executor.accepts(jobs["next"])
    assert executor.accepts(jobs["larger than all"])  # alone on an idle device


class _Idle:
    """A worker without a process: where a job goes is decided before it is sent."""

    def __init__(self, executor, device):
        self.device, self.job, self.pipe = device, None, self
        executor._alive.append(self)

    def send(self, job):
        """Do nothing."""


def test_memory_of_a_model_follows_from_the_headers_of_its_files(models):
    from auditor.models import open_model

    parameters = open_model(f"local:{models.reference}", device="cpu").ref.parameters
    wide = model_memory(f"local:{models.reference}", "float32", "cpu")
    narrow = model_memory(f"local:{models.reference}", "bfloat16", "cpu")
    # 1.2 times the weights; 2 bytes a parameter between the types.
    assert wide - narrow == pytest.approx(1.2 * 2 * parameters, abs=2)


def test_ray_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError) as failure:
        open_executor("ray", 2)
    assert failure.value.hint == "pip install 'auditor[ray]'"


def test_options_that_an_executor_has_no_use_for_are_refused():
    with pytest.raises(InputError, match="--workers"):
        open_executor("inline", 2)
    with pytest.raises(InputError, match="--cluster"):
        open_executor("process", 2, address="head:6379")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no-such-host.invalid:6379"])
def test_a_ray_cluster_that_does_not_answer_is_named_with_the_remedy(address):
    pytest.importorskip("ray")
    executor = open_executor("ray", 2, device="cpu", address=address)
    with pytest.raises(ExecutorError, match=f"Ray cluster at {address} cannot be reached") as end:
        executor.__enter__()
    assert "ray start --head" in end.value.hint


def test_what_is_no_address_of_a_cluster_is_refused():
    pytest.importorskip("ray")
    with pytest.raises(ExecutorError, match="no address of a Ray cluster"):
        open_executor("ray", 2, address="head")
