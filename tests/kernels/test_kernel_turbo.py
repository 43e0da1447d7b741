"""The compiled agreement kernel: the numbers of the reference, or why nothing was compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kernel_tables import (
    IMPOSSIBLE,
    PATTERNS,
    assert_same_agreement,
    logit_pair,
    tokens_for,
)

from auditor.errors import InputError
from auditor.kernels import agreement, linear_agreement, turbo
from auditor.kernels.turbo import ROWS

VOCABULARY = 4097


@pytest.fixture(autouse=True)
def compiler() -> None:
    reason = turbo.unavailable_reason()
    if reason:
        pytest.skip(reason)


@pytest.mark.parametrize("pattern", [*PATTERNS, *IMPOSSIBLE])
def test_turbo_equals_the_reference(pattern: str) -> None:
    a, b = logit_pair(pattern, 7, VOCABULARY)
    tokens = tokens_for(a)
    found = agreement(a, b, tokens, implementation="turbo")
    exact = agreement(a, b, tokens, implementation="reference")
    assert found.implementation == "turbo"
    assert_same_agreement(found, exact, loosen=5.0)


@pytest.mark.parametrize("positions", [0, 1, ROWS, ROWS + 1])
def test_chunks_are_padded_and_cut_again(positions: int) -> None:
    a, b = (table[:positions] for table in logit_pair("usual", 2 * ROWS, VOCABULARY))
    found = agreement(a, b, implementation="turbo")
    assert found.kl_ab.shape == (positions,)
    assert found.rank_a is None
    assert_same_agreement(found, agreement(a, b, implementation="reference"), loosen=5.0)


@pytest.mark.parametrize("positions", [turbo.ORDERED_ROWS - 1, turbo.ORDERED_ROWS + 1])
def test_ids_ordered_over_several_chunks(positions: int) -> None:
    # one row without support in its last chunk, and ties at the peak in another
    a, b = logit_pair("usual", positions, VOCABULARY)
    a[-1, 7] = float("-inf")
    b[ROWS + 3, :90] = b[ROWS + 3].max()
    tokens = tokens_for(a)
    found = agreement(a, b, tokens, implementation="turbo")
    exact = agreement(a, b, tokens, implementation="reference")
    assert_same_agreement(found, exact, loosen=5.0)


@pytest.mark.parametrize(("noise", "bar"), [(1e-2, 1e-5), (1e-3, 1e-4)])
def test_nearly_identical_models_keep_their_digits(noise: float, bar: float) -> None:
    draw = torch.Generator().manual_seed(1)
    a = 3 * torch.randn(4, VOCABULARY, generator=draw)
    b = a + noise * torch.randn(4, VOCABULARY, generator=draw)
    found = agreement(a, b, implementation="turbo")
    exact = agreement(a, b, implementation="reference")
    torch.testing.assert_close(found.kl_ab.double(), exact.kl_ab, rtol=bar, atol=0.0)
    assert agreement(a, a.clone(), implementation="turbo").kl_ab.tolist() == [0.0] * 4


def test_given_normalisers_half_precision_and_repeats() -> None:
    a, b = (table.bfloat16() for table in logit_pair("usual", 5, VOCABULARY))
    lse_a, lse_b = (torch.logsumexp(table.double(), 1) + 0.1 for table in (a, b))
    found = agreement(a, b, lse_a=lse_a, lse_b=lse_b, implementation="turbo")
    exact = agreement(a, b, lse_a=lse_a, lse_b=lse_b, implementation="reference")
    torch.testing.assert_close(found.lse_a.double(), exact.lse_a, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(found.tv.double(), exact.tv, rtol=1e-5, atol=1e-6)
    again = agreement(a, b, lse_a=lse_a, lse_b=lse_b, implementation="turbo")
    assert torch.equal(found.js, again.js)


def test_hidden_states_take_it_too() -> None:
    draw = torch.Generator().manual_seed(2)
    h = torch.randn(9, 8, generator=draw)
    w = [torch.randn(VOCABULARY, 8, generator=draw) for _ in range(2)]
    found = linear_agreement(h, w[0], h, w[1], chunk=4, implementation="turbo")
    exact = linear_agreement(h, w[0], h, w[1], implementation="reference")
    assert found.implementation == "turbo"
    torch.testing.assert_close(found.kl_ab.double(), exact.kl_ab, rtol=1e-4, atol=0.0)


def test_without_a_compiler_the_reason_is_recorded(tmp_path: Path) -> None:
    code = (
        "import torch; from auditor.kernels import agreement;"
        "a = torch.randn(2, 50);"
        "print(agreement(a, a, implementation='turbo').implementation)"
    )
    bare = os.environ | {
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("chunked (no turbo: torch.compile failed")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_is_refused_by_row(value: float) -> None:
    a, b = logit_pair("usual", 3, VOCABULARY)
    b[1, 5] = value
    with pytest.raises(InputError, match=r"b\[1\] holds"):
        agreement(a, b, implementation="turbo")
    with pytest.raises(InputError, match=r"b\[0\] holds"):
        agreement(a[1:2], b[1:2], implementation="turbo")
