"""The Triton agreement kernels on a GPU."""

from dataclasses import fields

import pytest
import torch
from kernel_tables import IMPOSSIBLE, INF, PATTERNS, assert_same_agreement, logit_pair, tokens_for

from auditor.errors import InputError
from auditor.kernels import Agreement, agreement

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


def on_gpu(pattern: str, size: tuple[int, int], dtype: torch.dtype) -> list[torch.Tensor]:
    tables = logit_pair(pattern, *size)
    return [table.clamp(max=6e4).to("cuda", dtype) for table in tables]


def on_cpu(found: Agreement) -> Agreement:
    values = {f.name: getattr(found, f.name) for f in fields(Agreement)}
    return Agreement(
        **{n: v.cpu() if isinstance(v, torch.Tensor) else v for n, v in values.items()}
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS + IMPOSSIBLE)
def test_triton_equals_the_reference(pattern: str, dtype: torch.dtype) -> None:
    for size in ((1, 1), (7, 2), (8, 63), (7, 64), (1, 65), (8, 1000), (7, 4097), (3, 32_001)):
        if pattern in IMPOSSIBLE and size[1] < 3:
            continue  # no possible token would be left
        a, b = on_gpu(pattern, size, dtype)
        tokens = tokens_for(a).cuda()
        found = agreement(a, b, tokens)
        assert found.implementation == "triton"
        exact = agreement(a.cpu(), b.cpu(), tokens.cpu(), implementation="reference")
        assert_same_agreement(on_cpu(found), exact)


@pytest.mark.parametrize("noise", [1e-2, 1e-3])
def test_nearly_identical_models_keep_their_digits(noise: float) -> None:
    draw = torch.Generator().manual_seed(3)
    a = 3 * torch.randn(4, 32_000, generator=draw)
    b = a + noise * torch.randn(4, 32_000, generator=draw)
    for tier in ("lite", "full"):
        exact = agreement(a, b, tier=tier, implementation="reference")
        assert_same_agreement(on_cpu(agreement(a.cuda(), b.cuda(), tier=tier)), exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [3, 2000])
def test_equal_logits_have_exactly_no_divergence(rows: int, dtype: torch.dtype) -> None:
    a, _ = on_gpu("usual", (rows, 5001), dtype)
    found = agreement(a, a.clone())
    for name in ("kl_ab", "kl_ba", "js", "tv", "hellinger2"):
        assert torch.equal(getattr(found, name), torch.zeros_like(found.kl_ab)), name


@pytest.mark.parametrize("rows", [3, 2000])
def test_repeated_runs_give_the_same_bytes(rows: int) -> None:
    a, b = on_gpu("usual", (rows, 9000), torch.bfloat16)
    first, second = agreement(a, b), agreement(a, b)
    for field in fields(Agreement):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if isinstance(ours, torch.Tensor):
            assert torch.equal(ours, theirs), field.name


def test_rows_far_beyond_two_billion_logits_are_found() -> None:
    rows, vocabulary = 17_000, 128_256  # 2.2e9 logits a table
    table = torch.zeros(rows, vocabulary, dtype=torch.bfloat16, device="cuda")
    a, b = on_gpu("usual", (1, vocabulary), torch.bfloat16)
    table[-1:] = a
    found = agreement(table, b.expand(rows, -1))
    alone = agreement(a, b, implementation="reference")
    assert found.argmax_a[-1] == alone.argmax_a[0]
    assert found.kl_ab[-1].item() == pytest.approx(alone.kl_ab[0].item(), rel=1e-5)


def test_a_row_that_is_not_a_number_is_named() -> None:
    a, b = on_gpu("usual", (6, 3000), torch.float32)
    b[4, 7] = INF - INF
    with pytest.raises(InputError, match=r"b\[4\] holds nan"):
        agreement(a, b)
