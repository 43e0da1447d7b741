"""What the agreement kernels cost on a Hopper GPU, read off the machine code without one.

The compiler, `cuobjdump` and `nvdisasm` are those inside the triton wheel. Instructions are
counted in the main loop, all of it, per logit pair and lane: see `auditor.kernels.triton.compiled`.
Bandwidth lets about 31 instructions pass per bfloat16 pair and pass over the tables
(kernels.md 0). The numbers are those of the compiler that the extra `test` pins; 3.6 needs more.
"""

from typing import Any

import pytest
import torch

pytest.importorskip("triton")

import triton

from auditor.kernels.triton import compiled, divergence, launch, stats

VOCABULARY = 128_256
budget = pytest.mark.skipif(
    not triton.__version__.startswith("3.7."), reason="counts are those of triton 3.7"
)
LISTING = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   LDG.E.128 R4, [R2.64] ;
.L_x_0:
        /*0020*/                   LDG.E.64.CONSTANT R4, [R2.64] ;
        /*0030*/              @!P0 LDG.E R6, [R2.64] ;
        /*0040*/                   FFMA R7, R4, R5, R6 ;
        /*0050*/                   MUFU.EX2 R8, R7 ;
        /*0060*/                   NOP ;
        /*0070*/               @P0 BRA `(.L_x_0) ;
        /*0080*/                   STL [R1], R8 ;
.L_x_1:
        /*0090*/                   BRA `(.L_x_1) ;
"""


def machine_code(kernel: Any, dtype: torch.dtype, **flags: bool) -> compiled.MachineCode:
    shape = launch.shape_for(1 << 16, VOCABULARY, dtype.itemsize)
    constants = {**shape.constants(VOCABULARY), **flags, "interp": False}
    return compiled.hopper_code(kernel, {"a": dtype, "b": dtype}, constants, launch.WARPS)


FAST = {"careful": False, "with_tokens": True}


@budget
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_the_first_pass_keeps_its_budget(dtype: torch.dtype) -> None:
    code = machine_code(stats.stats_kernel, dtype, **FAST, with_maxima=True)
    cost = code.loop_cost(2 * dtype.itemsize)
    assert (code.stack_bytes, code.spills) == (0, 0)
    assert code.registers <= 96  # five programs of 128 threads on a multiprocessor
    assert cost.instructions <= 32
    assert cost.special <= 2.3


@budget
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_the_second_pass_keeps_its_budget(dtype: torch.dtype) -> None:
    code = machine_code(divergence.divergence_kernel, dtype, **FAST, full=True)
    cost = code.loop_cost(2 * dtype.itemsize)
    assert (code.stack_bytes, code.spills) == (0, 0)
    assert code.registers <= 128  # four programs
    assert cost.instructions <= 66
    assert cost.special <= 4.1


@budget
def test_the_lite_tier_costs_less() -> None:
    first = machine_code(stats.stats_kernel, torch.bfloat16, **FAST, with_maxima=False)
    second = machine_code(divergence.divergence_kernel, torch.bfloat16, **FAST, full=False)
    assert first.loop_cost(4).instructions <= 29
    assert second.loop_cost(4).instructions <= 46
    assert first.stack_bytes == second.stack_bytes == 0


def test_leaving_out_impossible_ids_spills_nothing() -> None:
    flags = {"careful": True, "with_tokens": True}
    first = machine_code(stats.stats_kernel, torch.bfloat16, **flags, with_maxima=True)
    second = machine_code(divergence.divergence_kernel, torch.bfloat16, **flags, full=True)
    assert first.stack_bytes == second.stack_bytes == 0


def test_the_count_by_hand() -> None:
    code = compiled.MachineCode(listing=LISTING, registers=9, stack_bytes=4)
    # The loop loads 8 + 4 bytes: three pairs of bfloat16. It has five instructions beside the NOP.
    cost = code.loop_cost(4)
    assert cost.pairs == 3.0
    assert cost.instructions == pytest.approx(5 / 3)
    assert cost.special == pytest.approx(1 / 3)
    assert code.spills == 1
    with pytest.raises(ValueError, match="loads nothing"):
        compiled.MachineCode(listing="", registers=0, stack_bytes=0).loop_cost(4)
