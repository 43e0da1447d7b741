"""Rows of candidates that run, lack a package, cannot run here, or break."""

import pytest
import torch

from auditor.bench import running
from auditor.bench.experiment import TORCH, Candidate, Experiment, Package, Settings
from auditor.bench.running import findings, prepare_device
from auditor.errors import InputError, KernelUnavailableError
from auditor.progress import Silent

SETTINGS = Settings(small=True, runs=2)


def broken():
    raise RuntimeError("out of\nluck")


def refused():
    raise KernelUnavailableError("needs a GPU")


def candidate(name: str, prepare, **options) -> Candidate:
    return Candidate(name=name, computes="x", prepare=prepare, **options)


def one() -> dict:
    return {"x": torch.tensor([1.0])}


@pytest.fixture
def finding(monkeypatch):
    missing = Package(module="no_such_module_of_ours", distribution="no-such")
    experiment = Experiment(
        title="",
        shape={},
        candidates=(
            candidate("auditor one", lambda: one),
            candidate("peer off", lambda: lambda: {"x": torch.tensor([1.5])}, package=TORCH),
            candidate("peer missing", broken, package=missing),
            candidate("peer refuses", refused),
            candidate("peer breaks", broken),
            candidate("peer breaks late", lambda: broken),
            candidate("peer compiles", broken, compiles=True),
        ),
        truth=lambda: {"x": torch.tensor([1.0], dtype=torch.float64)},
    )
    monkeypatch.setattr(running, "experiment_keys", lambda case: ["only"])
    monkeypatch.setattr(running, "build", lambda case, key, settings: experiment)
    asked = []

    def memory(case, key, name, settings):
        asked.append(name)
        return 7, None

    (found,) = findings(["made-up"], SETTINGS, Silent(), memory)
    assert asked == ["auditor one", "peer off"]
    return {row.name: row for row in found.rows}


def test_rows_that_run_are_timed_measured_and_compared(finding):
    ours, peer = finding["auditor one"], finding["peer off"]
    assert (ours.errors, peer.errors) == ({"x": 0.0}, {"x": 0.5})
    assert (ours.extra_bytes, ours.timing.runs, ours.ratio) == (7, 2, 1.0)
    assert peer.ratio == peer.timing.median / ours.timing.median
    assert peer.package == f"torch {torch.__version__}"


def test_a_long_first_run_is_the_only_one_unless_it_compiled(monkeypatch):
    monkeypatch.setattr(running, "LONG_S", 0.0)
    calls: list[str] = []

    def counted(name):
        def run():
            calls.append(name)
            return one()

        return lambda: run

    experiment = Experiment(
        title="",
        shape={},
        candidates=(
            candidate("auditor long", counted("long")),
            candidate("auditor compiled", counted("compiled"), compiles=True),
        ),
        truth=one,
    )
    monkeypatch.setattr(running, "experiment_keys", lambda case: ["only"])
    monkeypatch.setattr(running, "build", lambda case, key, settings: experiment)
    (found,) = findings(["made-up"], Settings(runs=3), Silent(), lambda *request: (0, None))
    assert [row.timing.runs for row in found.rows] == [1, 3]
    assert (calls.count("long"), calls.count("compiled")) == (1, 4)


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("peer missing", "not installed", "not installed: pip install 'auditor[bench]'"),
        ("peer refuses", "unavailable", "needs a GPU"),
        ("peer breaks", "failed", "RuntimeError: out of"),
        ("peer breaks late", "failed", "RuntimeError: out of"),
        ("peer compiles", "left out", "left out of --small: it compiles for seconds"),
    ],
)
def test_rows_that_do_not_run_say_why(finding, name, status, reason):
    row = finding[name]
    assert (row.status, row.reason, row.timing) == (status, reason, None)


@pytest.mark.parametrize("options", [{"threads": 0}, {"runs": 0}, {"device": "cuda:99"}])
def test_settings_that_cannot_be_used(options):
    with pytest.raises(InputError):
        prepare_device(Settings(**options))


def test_an_unknown_case_names_the_known_ones():
    with pytest.raises(InputError) as error:
        list(findings(["agrement"], SETTINGS, Silent()))
    assert "agreement" in error.value.hint
