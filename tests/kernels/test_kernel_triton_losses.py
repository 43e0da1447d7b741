"""The Triton losses without a GPU: numbers from the interpreter, machine code from the compiler."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton_loss_cases import INF, KINDS, OPEN, Case, assert_near

from auditor.errors import InputError, KernelUnavailableError
from auditor.kernels import distillation_loss, fused, losses

ALL = [*KINDS, "cross-entropy"]
FLAVOURS = ["offset", "near", "peaked", "huge"]
SIZES = [1, 63, 257]
EXACT = [
    *(Case(k) for k in ALL),
    *(Case(k, f, size=300) for k in ALL for f in FLAVOURS),
    *(Case(k, size=size, tau=1.0) for k in ALL for size in SIZES),
    *(Case(k, softcap=4.0, tau=0.5, size=300) for k in ALL),
]
HALF = [Case(k, dtype=d, size=300) for k in ALL for d in (torch.bfloat16, torch.float16)]
CLOSED = [Case(k, f"impossible for {n}") for k in KINDS for n in ("both", "one")]
EQUAL = [Case(k, "equal", size=300) for k in KINDS]
SILENT = [Case(k, size=63, tau=1.0, with_gradient=False) for k in ALL]


def head_losses(implementation: str) -> dict[str, torch.Tensor]:
    """Return losses and gradients through `distillation_loss`, in chunks that do not fit T."""
    losses.chosen_implementation = lambda *_asked, **_more: implementation  # the CPU has no triton
    draw = torch.Generator().manual_seed(8)
    h_s, w_s, h_t, w_t, bias = (
        torch.randn(*size, generator=draw) for size in ((9, 3), (40, 3), (9, 4), (40, 4), (40,))
    )
    weights = torch.rand(9, generator=draw)
    weights[4] = 0.0
    labels = torch.randint(0, 40, (9,), generator=draw)
    labels[6] = -100
    leaves = [t.requires_grad_() for t in (h_s, w_s, bias)]
    found: dict[str, torch.Tensor] = {}
    for kind in ALL:
        options: dict[str, Any] = {"beta": 0.2, "temperature": 1.3, "normalise": kind == "jsd"}
        options |= {"labels": labels} if kind == "cross-entropy" else {"h_t": h_t, "w_t": w_t}
        options |= {"softcap": (4.0, 20.0), "scale": (1.2, 0.8), "bias": (bias, None)}
        loss = distillation_loss(h_s, w_s, divergence=kind, weights=weights, chunk=4, **options)
        gradients = torch.autograd.grad(loss.total, leaves)
        names = ("total", "per_token", "h", "w", "bias")
        for name, table in zip(names, (*loss[:2], *gradients), strict=True):
            found[f"{kind} {name}"] = table.detach()
    return found


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """Return what the kernels give, from a process in which Triton interprets."""
    pytest.importorskip("triton")
    out = tmp_path_factory.mktemp("interpreted") / "results.pt"
    command = [sys.executable, __file__, str(out)]
    # Triton reads the variable when a kernel is defined: too late in this process.
    run = subprocess.run(
        command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return torch.load(out, weights_only=False)


def case_name(case: Case) -> str:
    return f"{case.kind}-{case.flavour}-{case.size}"


@pytest.mark.parametrize("case", EXACT, ids=case_name)
def test_values_and_gradients_equal_float64_autograd(interpreted: Any, case: Case) -> None:
    found, exact = interpreted[case], case.exactly()
    # At offset 40 float32 logits are 4e-6 apart; near models lose digits of a small difference.
    tolerance = {"offset": 3e-5, "near": 1e-3}.get(case.flavour, 1e-5)
    if case.size == 1:  # one token: nothing to choose
        assert found["loss"].abs().max() <= 1e-6
        assert found["gradient"].abs().max() <= 1e-6
        return
    assert_near(found["loss"], exact["loss"], tolerance)
    assert_near(found["gradient"], exact["gradient"], tolerance)


@pytest.mark.parametrize("case", [*CLOSED, *(Case(k) for k in KINDS)], ids=case_name)
def test_they_equal_the_chunked_implementation(interpreted: Any, case: Case) -> None:
    found, expected = interpreted[case], case.by_torch()
    assert torch.isfinite(found["loss"]).all()
    assert torch.isfinite(found["gradient"]).all()
    assert_near(found["loss"], expected["loss"], 1e-5)
    assert_near(found["gradient"], expected["gradient"], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_impossible_for_both_get_no_gradient(interpreted: Any, kind: str) -> None:
    found = interpreted[Case(kind, "impossible for both")]["gradient"]
    assert torch.equal(found[:, :-OPEN], torch.zeros(2, 2100 - OPEN))
    assert found[:, -OPEN:].abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_equal_models_lose_nothing(interpreted: Any, kind: str) -> None:
    found = interpreted[Case(kind, "equal", size=300)]
    assert torch.all(found["loss"] >= 0)
    assert found["loss"].max() <= 4e-6
    assert found["gradient"].abs().max() <= 1e-6


@pytest.mark.parametrize("case", HALF, ids=case_name)
def test_half_precision_tables_are_computed_in_float32(interpreted: Any, case: Case) -> None:
    found, exact = interpreted[case], case.exactly()
    # only the stored gradient is rounded, to 8 bits of bfloat16 or 11 of float16
    step = torch.finfo(case.dtype).eps
    assert found["gradient"].dtype == case.dtype
    assert_near(found["loss"], exact["loss"], 1e-5)
    assert_near(found["gradient"], exact["gradient"], step)


@pytest.mark.parametrize("case", SILENT, ids=case_name)
def test_without_gradient_the_logits_stay(interpreted: Any, case: Case) -> None:
    found = interpreted[case]
    assert torch.equal(found["gradient"], case.tables()[0])
    assert torch.equal(found["loss"], interpreted[replace(case, with_gradient=True)]["loss"])


def test_columns_beyond_the_vocabulary_are_neither_read_nor_written(interpreted: Any) -> None:
    # they hold NaN, which would spread into every sum
    for case in (*EXACT, *HALF, *CLOSED):
        assert torch.isnan(interpreted[case]["beyond"]).all()
        assert torch.isfinite(interpreted[case]["loss"]).all()


def test_twice_the_same_bytes(interpreted: Any) -> None:
    for case in (Case(kind, size=257, tau=1.0) for kind in ALL):
        for name in ("loss", "gradient"):
            assert torch.equal(interpreted[case][name], interpreted[case, "again"][name])


def test_a_nan_logit_makes_its_row_nan_and_no_other(interpreted: Any) -> None:
    for kind in ALL:
        assert torch.isnan(interpreted[kind, "nan"]).tolist() == [False, True]


def test_through_the_heads_both_implementations_agree(
    interpreted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "chosen_implementation", losses.chosen_implementation)
    expected = head_losses("chunked")
    found = interpreted["heads"]
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        assert_near(found[name], table, 1e-5)


def projection(device: str, dtype: torch.dtype) -> Any:
    hidden = SimpleNamespace(device=SimpleNamespace(type=device))
    return SimpleNamespace(hidden=hidden, dtype=dtype)


def test_auto_takes_triton_on_a_gpu_in_float32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "find_spec", lambda name: name)
    chosen = fused.chosen_implementation
    assert chosen("auto", projection("cuda", torch.float32)) == "triton"
    assert chosen("chunked", projection("cuda", torch.float32)) == "chunked"
    assert chosen("auto", projection("cuda", torch.float64)) == "chunked"
    assert chosen("auto", projection("cpu", torch.float32)) == "chunked"
    monkeypatch.setattr(fused, "find_spec", lambda name: None)
    assert chosen("auto", projection("cuda", torch.float32)) == "chunked"
    with pytest.raises(KernelUnavailableError, match="need the package triton") as caught:
        chosen("triton", projection("cuda", torch.float32))
    assert caught.value.hint == "pip install 'auditor[triton]', or use \"chunked\""
    monkeypatch.undo()
    with pytest.raises(KernelUnavailableError, match="found float64 inputs"):
        chosen("triton", projection("cuda", torch.float64))


def test_triton_without_a_gpu_is_refused_with_the_remedy() -> None:
    h, w = torch.randn(2, 3), torch.randn(5, 3)
    with pytest.raises(KernelUnavailableError, match="found tensors on cpu") as caught:
        distillation_loss(h, w, h, w, divergence="jsd", implementation="triton")
    assert caught.value.hint == 'move the tensors to cuda, or use "chunked"'
    with pytest.raises(KernelUnavailableError, match="called 'cuda'"):
        distillation_loss(h, w, h, w, divergence="jsd", implementation="cuda")
    assert distillation_loss(h, w, h, w, divergence="jsd").implementation == "chunked"


def test_models_on_two_devices_are_refused_by_name() -> None:
    h, w = torch.randn(2, 3), torch.randn(5, 3)
    with pytest.raises(InputError, match="h_s is on cpu, h_t on meta"):
        distillation_loss(h, w, h.to("meta"), w.to("meta"), divergence="jsd")


# kind -> most instructions and exponentials per logit pair in the longest loop over a row. The
# bandwidth of an H200 lets 62 pass for two float32 logits read, 93 where a gradient is written.
BUDGET = {
    "forward-kl": (40, 2.1),
    "reverse-kl": (45, 2.1),
    "jsd": (68, 2.1),
    "skew-kl": (76, 3.1),
    "skew-rkl": (76, 3.1),
    "tvd": (40, 2.1),
    "cross-entropy": (20, 1.1),
}


def hopper_code(kind: str, dtype: torch.dtype) -> Any:
    """Return the machine code for a real vocabulary, from the compiler in the triton wheel."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from auditor.kernels.triton import compiled, loss_gradients
    from auditor.kernels.triton.losses import WARPS, block_of

    hard = kind == "cross-entropy"
    kernel = loss_gradients.cross_entropy_rows if hard else loss_gradients.divergence_rows
    constants = {"size": 128256, "block": block_of(128256), "with_gradient": True, "capped": False}
    constants |= {} if hard else {"kind": kind}
    table = {torch.float32: "*fp32", torch.bfloat16: "*bf16"}[dtype]
    types = {"student": table, "teacher": table, "loss": "*fp32", "rates": "*fp32"}
    types |= {"labels": "*i64", "student_stride": "i32", "teacher_stride": "i32"}
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else types.get(n, "fp32") for n in names}
    aligned = {(names.index(n),): [["tt.divisibility", 16]] for n in names if n in types}
    source = ASTSource(kernel, signature, constexprs=constants, attrs=aligned)
    target = GPUTarget("cuda", 90, 32)
    made = triton.compile(source, target=target, options={"num_warps": WARPS})
    return compiled._inspected(made.asm["cubin"])


@pytest.mark.parametrize(
    ("kind", "dtype"), [*((k, torch.float32) for k in ALL), ("reverse-kl", torch.bfloat16)]
)
def test_on_hopper_nothing_spills_and_the_loops_keep_their_budget(
    kind: str, dtype: torch.dtype
) -> None:
    code = hopper_code(kind, dtype)
    assert code.stack_bytes == 0
    assert code.spills == 0
    assert code.registers <= 80  # 8 warps: three programs fit on a multiprocessor
    tables = 1 if kind == "cross-entropy" else 2
    cost = code.loop_cost(pair_bytes=tables * dtype.itemsize)
    instructions, special = BUDGET[kind]
    assert cost.instructions <= instructions
    assert cost.special <= special


def nan_losses(kind: str) -> torch.Tensor:
    """Return the losses of rows of which the second holds a NaN."""

    class Broken(Case):
        def tables(self) -> tuple[torch.Tensor, torch.Tensor]:
            student, teacher = super().tables()
            student[1, 7] = INF - INF
            return student, teacher

    return Broken(kind, size=50).by_triton()["loss"]


def write_results(path: Path) -> None:
    cases = [*EXACT, *HALF, *CLOSED, *EQUAL, *SILENT]
    results: dict[Any, Any] = {case: case.by_triton() for case in cases}
    for kind in ALL:
        again = Case(kind, size=257, tau=1.0)
        results[again, "again"] = again.by_triton()
        results[kind, "nan"] = nan_losses(kind)
    results["heads"] = head_losses("triton")
    torch.save(results, path)


if __name__ == "__main__":
    write_results(Path(sys.argv[1]))
