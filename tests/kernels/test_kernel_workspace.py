"""Tables kept between calls change no digit, whatever they were used for before."""

import pytest
import torch
from torch import Tensor

from auditor.kernels import Workspace, distillation_loss

KINDS = ("forward-kl", "reverse-kl", "jsd", "skew-kl", "skew-rkl", "tvd")


def sides(positions: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(positions * vocabulary)
    shapes = ((positions, 6), (vocabulary, 6), (positions, 9), (vocabulary, 9))
    tables = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    return [table.requires_grad_(i < 2) for i, table in enumerate(tables)]


def found(tables: list[Tensor], kind: str, workspace: Workspace | None) -> list[Tensor]:
    loss = distillation_loss(*tables, divergence=kind, chunk=8, workspace=workspace)
    return [loss.per_token, *torch.autograd.grad(loss.total, tables[:2])]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_workspace_changes_no_digit(kind: str) -> None:
    workspace = Workspace()
    for positions, vocabulary, dtype in (
        (20, 31, torch.float32),
        (5, 31, torch.float32),
        (20, 31, torch.float32),
        (20, 17, torch.float32),
        (20, 17, torch.float64),
    ):
        tables = sides(positions, vocabulary, dtype)
        kept, fresh = found(tables, kind, workspace), found(tables, kind, None)
        assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))


def test_the_tables_are_the_same_memory_in_the_next_call() -> None:
    from auditor.kernels.projection import Projection

    workspace = Workspace()
    hidden, head = torch.randn(4, 3), torch.randn(5, 3)
    student = Projection(name="s", hidden=hidden, weight=head)
    first = workspace.logits(student, 4)
    assert workspace.logits(student, 2).data_ptr() == first.data_ptr()
    assert workspace.logits(student, 2).shape == (2, 5)
    assert workspace.logits(student, 6).shape == (6, 5)
