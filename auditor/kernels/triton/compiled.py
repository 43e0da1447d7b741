"""Ahead-of-time compilation to Hopper and what the machine code costs, with no GPU needed.

The compiler, `cuobjdump` and `nvdisasm` come inside the triton wheel. The cost of a kernel is
counted in its main loop, which is the longest backward branch of the listing: every instruction
between the branch and its target counts, rare branches and address arithmetic included, except
NOP. One iteration handles as many logit pairs per lane as its global loads read bytes, over the
bytes of one pair; that holds however often the compiler unrolls the loop.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from auditor.errors import KernelUnavailableError

_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?);")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_TARGET = re.compile(r"`\((\.L_x_\d+)\)")
_POINTERS = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCode:
    """What ptxas made of a kernel."""

    listing: str
    """Output of nvdisasm."""
    registers: int
    """Per thread."""
    stack_bytes: int
    """Per thread; above 0 where registers spill."""

    @property
    def spills(self) -> int:
        """Number of instructions that read or write local memory."""
        return sum(op.startswith(("LDL", "STL")) for op, _ in self._operations())

    def loop_cost(self, pair_bytes: int) -> "LoopCost":
        """Return the cost of the main loop per logit pair of `pair_bytes` bytes."""
        loop = self._loop()
        loaded = sum(_bytes_loaded(op) for op, _ in loop)
        if loaded == 0:
            raise ValueError("the longest loop loads nothing: it is not the main loop")
        pairs = loaded / pair_bytes
        special = sum(op.startswith("MUFU") for op, _ in loop)
        return LoopCost(instructions=len(loop) / pairs, special=special / pairs, pairs=pairs)

    def _operations(self) -> list[tuple[str, str]]:
        found = (_INSTRUCTION.match(line) for line in self.listing.splitlines())
        return [(m[1], m[2]) for m in found if m and m[1] != "NOP"]

    def _loop(self) -> list[tuple[str, str]]:
        operations: list[tuple[str, str]] = []
        starts: dict[str, int] = {}
        longest: list[tuple[str, str]] = []
        for line in self.listing.splitlines():
            if label := _LABEL.match(line):
                starts[label[1]] = len(operations)
            if not (found := _INSTRUCTION.match(line)) or found[1] == "NOP":
                continue
            operations.append((found[1], found[2]))
            target = _TARGET.search(found[2]) if found[1].startswith("BRA") else None
            if target and target[1] in starts:
                body = operations[starts[target[1]] :]
                # a branch to itself ends every listing
                longest = body if len(body) > len(longest) else longest
        return longest


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopCost:
    """Cost of a kernel's main loop, per logit pair and lane."""

    instructions: float
    special: float
    """MUFU instructions: exponentials and logarithms."""
    pairs: float
    """Logit pairs per lane and iteration."""


def _bytes_loaded(operation: str) -> int:
    parts = operation.split(".")
    if parts[0] not in ("LDG", "LDGSTS"):
        return 0
    sizes = {"U8": 1, "S8": 1, "U16": 2, "S16": 2, "64": 8, "128": 16}
    return next((sizes[part] for part in parts if part in sizes), 4)


def hopper_code(kernel: Any, pointers: dict[str, torch.dtype], constants: dict[str, Any],
                warps: int) -> MachineCode:  # fmt: skip
    """Compile a kernel for sm_90 and return its machine code.

    Args:
        kernel: a `triton.jit` function, loaded without the interpreter.
        pointers: element types of its logit tables; other pointers have the types below.
        constants: values of its constexpr parameters.
        warps: per program.

    Raises:
        KernelUnavailableError: triton runs as an interpreter.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    if triton.knobs.runtime.interpret:
        raise KernelUnavailableError(
            "the interpreter compiles nothing", hint="unset TRITON_INTERPRET"
        )
    kinds = {name: _kind(name, pointers) for name in kernel.arg_names if name not in constants}
    aligned = {(kernel.arg_names.index(name),): [["tt.divisibility", 16]] for name in kinds}
    source = ASTSource(
        kernel, kinds | dict.fromkeys(constants, "constexpr"), constexprs=constants, attrs=aligned
    )
    target = GPUTarget("cuda", 90, 32)
    made = triton.compile(source, target=target, options={"num_warps": warps})
    return _inspected(made.asm["cubin"])


def _kind(name: str, pointers: dict[str, torch.dtype]) -> str:
    if name in pointers:
        return _POINTERS[pointers[name]]
    if name.startswith("stride"):
        return "i64"
    return {"rows": "*i64", "counts": "*i64", "sums": "*fp64"}.get(name, "*fp32")


def _inspected(cubin: bytes) -> MachineCode:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        usage = _tool("cuobjdump", "--dump-resource-usage", str(path))
        listing = _tool("nvdisasm", "-c", str(path))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise KernelUnavailableError(
            f"cuobjdump printed no resource usage: {usage[:200]!r}", hint="reinstall triton"
        )
    return MachineCode(listing=listing, registers=int(found[1]), stack_bytes=int(found[2]))


def _tool(name: str, *arguments: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    done = subprocess.run(  # noqa: S603 - a program of the triton package on our own file
        [str(path), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout
