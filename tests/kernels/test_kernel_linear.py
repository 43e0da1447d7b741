"""Agreement and top-k from hidden states and heads."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.errors import InputError, VocabularyError
from auditor.kernels import agreement, linear_agreement, top_mass


@pytest.fixture
def heads() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    sizes = {"h_a": (13, 24), "w_a": (5000, 24), "h_b": (13, 40), "w_b": (5000, 40)}
    return {name: torch.randn(*size, generator=draw) for name, size in sizes.items()}


def test_chunks_of_logits_give_what_whole_logits_give(heads: dict[str, torch.Tensor]) -> None:
    bias = torch.linspace(-1, 1, 5000), torch.linspace(2, -2, 5000)
    tokens = torch.arange(13) * 300
    # softcap tanh(scale (h W^T + b) / softcap), with every part switched on in one of the heads
    a = 30 * torch.tanh(1.5 * (heads["h_a"] @ heads["w_a"].T + bias[0]) / 30)
    b = 0.5 * (heads["h_b"] @ heads["w_b"].T + bias[1])
    whole = agreement(a, b, tokens)
    found = linear_agreement(
        *heads.values(), tokens, bias=bias, softcap=(30.0, None), scale=(1.5, 0.5), chunk=5
    )
    for name in ("kl_ab", "kl_ba", "js", "tv", "logp_a", "entropy_b", "lse_b", "pearson"):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), rtol=2e-5, atol=2e-5)
    assert torch.equal(found.rank_b, whole.rank_b)
    assert torch.equal(found.topk_overlap, whole.topk_overlap)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_agrees_with_itself_exactly(
    heads: dict[str, torch.Tensor], dtype: torch.dtype, tmp_path: Path
) -> None:
    # The reference comes from disk, at another alignment than the live copy.
    h, w = heads["h_a"].to(dtype), heads["w_a"].to(dtype)
    stored = []
    for name, table in (("h", h), ("w", w)):
        raw = table.contiguous().view(torch.uint8).numpy()
        (tmp_path / name).write_bytes(b"12345678" + raw.tobytes())
        mapped = np.memmap(tmp_path / name, dtype=np.uint8, mode="c", offset=8)
        stored.append(torch.from_numpy(mapped).view(dtype).view(table.shape))
    found = linear_agreement(*stored, h, w, chunk=4)
    for name in ("kl_ab", "kl_ba", "js", "tv", "hellinger2"):
        assert torch.equal(getattr(found, name), torch.zeros(13)), name


def test_the_chunk_size_changes_nothing_but_rounding(heads: dict[str, torch.Tensor]) -> None:
    whole, small = (linear_agreement(*heads.values(), chunk=c) for c in (256, 1))
    torch.testing.assert_close(small.kl_ab, whole.kl_ab, rtol=1e-4, atol=1e-5)
    assert torch.equal(small.argmax_b, whole.argmax_b)


def test_no_position_gives_empty_fields(heads: dict[str, torch.Tensor]) -> None:
    found = linear_agreement(heads["h_a"][:0], heads["w_a"], heads["h_b"][:0], heads["w_b"])
    assert found.kl_ab.shape == (0,)
    assert found.topk_overlap.shape == (0, 4)


def test_hidden_states_that_do_not_fit_are_refused_by_name(
    heads: dict[str, torch.Tensor],
) -> None:
    h_a, w_a, h_b, w_b = heads.values()
    with pytest.raises(InputError, match="h_b has width 24 and w_b reads 40"):
        linear_agreement(h_a, w_a, h_a, w_b)
    with pytest.raises(InputError, match="h_a has 13 positions and h_b 12"):
        linear_agreement(h_a, w_a, h_b[1:], w_b)
    with pytest.raises(VocabularyError, match="w_a has 5000 token ids and w_b 4999"):
        linear_agreement(h_a, w_a, h_b, w_b[1:])
    with pytest.raises(InputError, match="chunk"):
        linear_agreement(h_a, w_a, h_b, w_b, chunk=0)
    with pytest.raises(InputError, match="softcap of a"):
        linear_agreement(h_a, w_a, h_b, w_b, softcap=(0.0, None))
    with pytest.raises(InputError, match="bias of b"):
        linear_agreement(h_a, w_a, h_b, w_b, bias=(None, torch.zeros(3)))
    with pytest.raises(InputError, match="tokens"):
        linear_agreement(h_a, w_a, h_b, w_b, torch.zeros(14, dtype=torch.int64))


def test_a_bad_row_is_named_by_its_position_in_the_whole(
    heads: dict[str, torch.Tensor],
) -> None:
    heads["h_b"][11, 3] = float("nan")
    with pytest.raises(InputError, match=r"b\[11\] holds nan"):
        linear_agreement(*heads.values(), chunk=4)


def test_top_mass_holds_the_first_ids_and_the_mass_of_the_rest(
    heads: dict[str, torch.Tensor],
) -> None:
    found = top_mass(heads["h_a"], heads["w_a"], k=6, chunk=5)
    logp = torch.log_softmax((heads["h_a"] @ heads["w_a"].T).double(), 1)
    exact = logp.topk(6, dim=1)
    assert torch.equal(found.ids, exact.indices)
    torch.testing.assert_close(found.logprobs.double(), exact.values, rtol=1e-5, atol=1e-5)
    kept = torch.zeros_like(logp, dtype=torch.bool).scatter_(1, exact.indices, True)
    tail = logp.exp().masked_fill(kept, 0.0).sum(1)
    torch.testing.assert_close(found.tail_mass.double(), tail, rtol=2e-5, atol=1e-12)


def test_a_tail_of_one_in_a_billion_keeps_its_digits() -> None:
    # logits 0 and -ln(1e9): the second has 1e-9 / (1 + 1e-9); 1 - p in float32 would say 0
    h, w = torch.ones(1, 1), torch.tensor([[0.0], [-np.log(1e9)]])
    found = top_mass(h, w, k=1)
    assert found.tail_mass.item() == pytest.approx(1e-9, rel=1e-5)
    assert top_mass(h, w, k=5).tail_mass.item() == 0.0  # nothing left out


def test_top_mass_refuses_no_ids(heads: dict[str, torch.Tensor]) -> None:
    with pytest.raises(InputError, match="k and chunk"):
        top_mass(heads["h_a"], heads["w_a"], k=0)
