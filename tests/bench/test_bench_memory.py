"""Peak memory, against tensors of known size."""

import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from auditor.bench import memory, memory_child
from auditor.bench.experiment import Settings
from auditor.bench.memory import extra_bytes, measured_apart
from auditor.errors import KernelUnavailableError

MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells the peak"
)


def test_the_peak_counts_what_was_freed_again():
    def run():
        table = torch.ones(16 * MIB)  # 64 MiB
        other = table + 1  # 64 MiB beside it
        del table
        return {"kept": other[:1].clone()}

    assert 120 * MIB <= extra_bytes(run, "cpu") <= 140 * MIB


def test_a_small_run_is_not_charged_for_an_earlier_large_one():
    torch.ones(16 * MIB).sum()
    assert extra_bytes(lambda: {"x": torch.ones(4)}, "cpu") < 4 * MIB


@pytest.mark.parametrize(("compiles", "runs"), [(False, 1), (True, 2)])
def test_a_long_run_is_measured_at_once_unless_it_compiles(monkeypatch, compiles, runs):
    monkeypatch.setattr(memory, "LONG_S", 0.0)
    calls = []
    extra_bytes(lambda: calls.append(1) or {}, "cpu", compiles=compiles)
    assert len(calls) == runs


def test_a_candidate_is_measured_in_its_own_process():
    size, reason = measured_apart("cka", "debiased", "torch Gram sums", Settings(small=True))
    assert reason is None
    assert 0 <= size < 64 * MIB


def test_a_process_that_fails_is_a_reason():
    size, reason = measured_apart("cka", "debiased", "nobody", Settings(small=True))
    assert size is None
    assert "StopIteration" in reason


def test_a_process_that_hangs_is_a_reason(monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("python", 900)

    monkeypatch.setattr(subprocess, "run", hang)
    assert measured_apart("cka", "debiased", "x", Settings()) == (
        None,
        "its process took longer than 900 s",
    )


def test_a_system_that_does_not_tell_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MARK", tmp_path / "missing" / "clear_refs")
    with pytest.raises(KernelUnavailableError, match="cannot be measured"):
        extra_bytes(dict, "cpu")


def test_tables_that_are_kept_between_runs_count(monkeypatch):
    settings = asdict(Settings(small=True, threads=torch.get_num_threads()))
    request = {"case": "losses", "key": "jsd", "candidate": "auditor chunked", "settings": settings}
    monkeypatch.setattr(memory_child, "extra_bytes", lambda *_, **__: 1000)
    # Two tables of 16 positions x 257 tokens in float32.
    assert memory_child.answer(request) == {"extra_bytes": 1000 + 2 * 16 * 257 * 4, "reason": None}
