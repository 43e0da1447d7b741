"""The Triton agreement kernels run by Triton's interpreter, against the float64 reference."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kernel_tables import IMPOSSIBLE, INF, PATTERNS, assert_same_agreement, logit_pair, tokens_for

from auditor.errors import InputError, KernelUnavailableError
from auditor.kernels import Agreement, agreement, pairwise
from auditor.kernels.pairs import Fields, LogitPair, checked_pair, checked_wanted

Tables = tuple[torch.Tensor, torch.Tensor]
DIVERGENCES = ("kl_ab", "kl_ba", "js", "tv", "hellinger2")


@dataclass(frozen=True)
class Case:
    """Two tables, and what to ask of them."""

    pattern: str
    size: tuple[int, int] = (1, 2500)
    dtype: torch.dtype = torch.float32
    tier: str = "full"
    with_tokens: bool = True
    topk: tuple[int, ...] = (1, 5, 10, 50)
    with_lse: bool = False

    @property
    def tables(self) -> Tables:
        a, b = SPECIAL[self.pattern]() if self.pattern in SPECIAL else self._drawn()
        return a.to(self.dtype), b.to(self.dtype)

    def _drawn(self) -> Tables:
        a, b = logit_pair(self.pattern, *self.size)
        return a.clamp(max=6e4), b.clamp(max=6e4)  # float16 ends at 65504

    @property
    def options(self) -> dict[str, Any]:
        a, b = self.tables
        given: dict[str, Any] = {"tokens": tokens_for(a) if self.with_tokens else None}
        if self.with_lse:
            given |= {"lse_a": a.double().logsumexp(1), "lse_b": b.double().logsumexp(1)}
        return given

    @property
    def exact(self) -> Agreement:
        asked = {"tier": self.tier, "topk": self.topk, "implementation": "reference"}
        return agreement(*self.tables, **self.options, **asked)

    def by_kernel(self) -> Fields:
        from auditor.kernels.triton.agreement import agreement_fields

        a, b = self.tables
        wanted = checked_wanted(self.tier, self.topk)
        return agreement_fields(checked_pair(LogitPair(a=a, b=b, **self.options)), wanted)


def flips(size: float) -> Tables:
    """Return tables whose log ratios are +-size + ln cosh(size)."""
    draw = torch.Generator().manual_seed(9)
    a = torch.randn(1, 2500, generator=draw)
    return a, a + torch.where(torch.rand(1, 2500, generator=draw) < 0.5, size, -size)


def noisy(noise: float) -> Tables:
    draw = torch.Generator().manual_seed(3)
    a = 3 * torch.randn(1, 6000, generator=draw)
    return a, a + noise * torch.randn(1, 6000, generator=draw)


def padded() -> Tables:
    a, b = logit_pair("usual", 1, 2300)
    a[:, 2200:] = b[:, 2200:] = -INF
    return a, b


def late_twins() -> Tables:
    """Return tables whose largest logit comes twice in one lane, once more in another program."""
    a, b = logit_pair("usual", 1, 6300)
    a[:, [77, 2125, 4173, 6290]] = 30.0
    b[:, [2125, 6299]] = 40.0
    return a, b


def far_from_zero() -> Tables:
    a, b = logit_pair("usual", 2, 1000)
    return 1e4 + 0.01 * a, b - 1e4  # float32 steps are 0.001 there


def zeros_of_both_signs() -> Tables:
    a = torch.tensor([1.0, -1.0, 0.0, -0.0]).repeat(2, 16)  # the token is -0.0
    return a, -a


def strided() -> Tables:
    a, b = logit_pair("usual", 2, 300)
    wide = torch.full((2, 600), float("nan"))
    wide[:, ::2] = a
    return wide[:, ::2], b[:1].expand(2, -1)


LOOSEN = {1.3: 0.5, 1e-2: 0.5, 1e-3: 0.5, 1e-4: 10.0}
RATIOS = [0.01, 0.3, 0.99, 1.01, 5.0]
SPECIAL: dict[str, Callable[[], Tables]] = {
    **{f"flips {size}": lambda size=size: flips(size) for size in RATIOS},
    **{f"noise {noise}": lambda noise=noise: noisy(noise) for noise in LOOSEN},
    "padded": padded,
    "late twins": late_twins,
    "far from zero": far_from_zero,
    "both zeros": zeros_of_both_signs,
    "constant": lambda: (torch.full((2, 100), 7.3), logit_pair("usual", 2, 100)[0]),
    "zero": lambda: (torch.zeros(2, 100), logit_pair("usual", 2, 100)[0]),
    "beyond float32": lambda: (1e19 * flips(1.0)[0][:, :100], logit_pair("usual", 1, 100)[0]),
    "strided": strided,
    "empty": lambda: (torch.zeros(0, 9), torch.zeros(0, 9)),
}
HALVES = (torch.bfloat16, torch.float16)
EXACT = [
    *(Case(p, (1, 4500)) for p in PATTERNS + IMPOSSIBLE),
    *(Case(p, (2, 65), torch.bfloat16) for p in PATTERNS + IMPOSSIBLE),
    *(Case(p, (2, 65), torch.float16) for p in ("usual", "peaked", "large", "ties")),
    *(Case("usual", (2, width)) for width in (1, 2, 63, 64, 1000, 2048)),
    *(Case("ties", (1, 4100), d) for d in HALVES),
    *(Case(f"flips {size}") for size in RATIOS),
    *(Case(p) for p in SPECIAL if not p.startswith(("flips", "noise"))),
    Case("usual", dtype=torch.float64),
    Case("usual", tier="lite"),
    Case("usual", with_tokens=False, topk=()),
    Case("peaked", with_lse=True, topk=(3,)),
    Case("two-sided", tier="lite", with_tokens=False),
]
PADDED = Case("padded", with_tokens=False)  # the tokens of `Case("padded")` are impossible
NEAR = {Case(f"noise {noise}"): loosen for noise, loosen in LOOSEN.items()}
SAME = [*PATTERNS, "two-sided"]


def same_tables(pattern: str) -> Fields:
    """Return the agreement of a table with itself."""
    from auditor.kernels.triton.agreement import agreement_fields

    a, _ = logit_pair(pattern, 1, 2500)
    return agreement_fields(LogitPair(a=a, b=a.clone()), checked_wanted("full", (1, 5)))


def refusal(value: float) -> str:
    """Return the message about a row that holds `value`."""
    from auditor.kernels.triton.agreement import agreement_fields

    a, b = logit_pair("usual", 3, 100)
    b[1, 4] = value
    try:
        agreement_fields(LogitPair(a=a, b=b), checked_wanted("full", (1,)))
    except InputError as error:
        return error.message
    return ""


def without_reference() -> Fields:
    """Return the agreement of padded tables, with the reference out of reach."""
    from auditor.kernels.triton import agreement as by_triton

    kept = by_triton._exact_fields
    by_triton._exact_fields = lambda *_: pytest.fail("a padded row went to the reference")
    found = PADDED.by_kernel()
    by_triton._exact_fields = kept
    return found


def in_one_program() -> Fields:
    """Return the agreement with each row read by one program, however few rows there are."""
    from auditor.kernels.triton import launch

    kept, launch._PROGRAMS = launch._PROGRAMS, 1
    found = Case("late twins").by_kernel()
    launch._PROGRAMS = kept
    return found


def write_results(path: Path) -> None:
    results: dict[str, Any] = {repr(case): case.by_kernel() for case in (*EXACT, *NEAR)}
    results |= {f"same {pattern}": same_tables(pattern) for pattern in SAME}
    results |= {f"refused {value}": refusal(value) for value in (float("nan"), INF)}
    results["again"] = Case("late twins").by_kernel()
    results["padded"] = without_reference()
    results["one program"] = in_one_program()
    torch.save(results, path)


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the kernels give, from a process in which Triton interprets."""
    pytest.importorskip("triton")
    out = tmp_path_factory.mktemp("interpreted") / "results.pt"
    # Triton reads the variable when a kernel is defined: too late in this process.
    run = subprocess.run(
        [sys.executable, __file__, str(out)],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return torch.load(out)


def agreement_from(values: Fields) -> Agreement:
    return Agreement(**values, implementation="triton")


def case_name(case: Case) -> str:
    return f"{case.pattern}-{case.size[1]}-{case.dtype}-{case.tier}-{case.with_tokens}"


@pytest.mark.parametrize("case", EXACT, ids=case_name)
def test_every_output_equals_the_reference(interpreted: Any, case: Case) -> None:
    found = agreement_from(interpreted[repr(case)])
    assert_same_agreement(found, case.exact)
    for name, values in interpreted[repr(case)].items():
        assert values.dtype in (torch.float32, torch.int64), name


@pytest.mark.parametrize("case", NEAR, ids=case_name)
def test_nearly_identical_models_keep_their_digits(interpreted: Any, case: Case) -> None:
    assert_same_agreement(agreement_from(interpreted[repr(case)]), case.exact, NEAR[case])


@pytest.mark.parametrize("pattern", SAME)
def test_equal_logits_have_exactly_no_divergence(interpreted: Any, pattern: str) -> None:
    found = interpreted[f"same {pattern}"]
    for name in DIVERGENCES:
        assert torch.equal(found[name], torch.zeros(1)), name
    assert torch.all(found["topk_overlap"] == 1.0)
    assert torch.all(found["rank_argmax_a_in_b"] == 1)


def test_padding_of_both_models_needs_no_reference(interpreted: Any) -> None:
    assert_same_agreement(agreement_from(interpreted["padded"]), PADDED.exact)


def test_rows_give_the_same_whether_split_or_whole(interpreted: Any) -> None:
    whole, split = interpreted["one program"], interpreted[repr(Case("late twins"))]
    assert whole["argmax_a"].tolist() == [77]
    assert whole["argmax_b"].tolist() == [2125]
    assert_same_agreement(agreement_from(whole), Case("late twins").exact)
    for name in ("argmax_a", "rank_a", "ties_b", "topk_overlap"):
        assert torch.equal(whole[name], split[name]), name


def test_twice_the_same_bytes(interpreted: Any) -> None:
    first = interpreted[repr(Case("late twins"))]
    for name, values in interpreted["again"].items():
        assert torch.equal(values, first[name]), name


def test_unusable_rows_are_named(interpreted: Any) -> None:
    assert interpreted["refused nan"] == "b[1] holds nan"
    assert interpreted["refused inf"] == "b[1] holds inf"


def test_triton_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = logit_pair("usual", 2, 10)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(KernelUnavailableError, match="torch finds none") as caught:
        agreement(a, b, implementation="triton")
    assert caught.value.hint == 'choose "chunked", which runs on any device'
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(KernelUnavailableError, match="found cpu"):
        agreement(a, b, implementation="triton")
    monkeypatch.setattr(pairwise, "find_spec", lambda name: None)
    with pytest.raises(KernelUnavailableError, match="package triton") as caught:
        agreement(a, b, implementation="triton")
    assert "auditor[triton]" in (caught.value.hint or "")


def test_auto_takes_triton_on_a_gpu_for_types_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")

    def choice(device: str, dtype: torch.dtype, vocabulary: int = 9) -> str:
        table = SimpleNamespace(device=SimpleNamespace(type=device), dtype=dtype)
        pair: Any = SimpleNamespace(a=table, b=table, vocabulary=vocabulary)
        return pairwise.chosen_implementation("auto", pair)

    assert choice("cuda", torch.bfloat16) == "triton"
    assert choice("cuda", torch.float64) == "chunked"
    assert choice("cuda", torch.float32, 1 << 22) == "chunked"
    assert choice("cpu", torch.float32) == "chunked"
    monkeypatch.setattr(pairwise, "find_spec", lambda name: None)
    assert choice("cuda", torch.float32) == "chunked"
    assert agreement(*logit_pair("usual", 2, 9)).implementation == "chunked"


if __name__ == "__main__":
    write_results(Path(sys.argv[1]))
