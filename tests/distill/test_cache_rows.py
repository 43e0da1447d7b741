"""What a position of the cache takes, and that it comes back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auditor.distill.cache_rows import (
    decode,
    dense_rows,
    encode,
    id_bits,
    most_bytes,
    pack_ids,
    unpack_ids,
)
from auditor.distill.cache_shard import Shard, write_shard
from auditor.kernels.sparse import PpsTargets, TopKTargets, pps_targets, topk_targets


def logits(positions: int, vocabulary: int, scale: float) -> torch.Tensor:
    stream = torch.Generator().manual_seed(3)
    return torch.randn(positions, vocabulary, generator=stream) * scale


@pytest.mark.parametrize(
    ("vocabulary", "bits"), [(1, 1), (2, 1), (256, 8), (257, 9), (65536, 16), (151936, 18)]
)
def test_bits_hold_every_id(vocabulary: int, bits: int) -> None:
    assert id_bits(vocabulary) == bits


def test_packed_by_hand() -> None:
    # 5 = 101 and 3 = 011 in three bits: 10101100
    assert pack_ids(np.array([[5, 3]]), 3).tolist() == [[0b10101100]]


@pytest.mark.parametrize("bits", [1, 7, 8, 9, 17, 18, 31])
@pytest.mark.parametrize("k", [1, 5, 32])
def test_ids_come_back(bits: int, k: int) -> None:
    ids = np.random.RandomState(bits).randint(0, 2**bits, (11, k))
    packed = pack_ids(ids, bits)
    assert packed.shape == (11, -(-k * bits // 8))
    assert (unpack_ids(packed, k, bits) == ids).all()


@pytest.mark.parametrize("scale", [0.1, 2.0, 9.0])
def test_topk_comes_back(scale: float) -> None:
    kept = topk_targets(logits(40, 300, scale), 16, temperature=1.5)
    found = decode("topk", encode(kept, 300), 16, 300, 1.5)
    assert isinstance(found, TopKTargets)
    assert (found.ids == kept.ids).all()
    assert found.temperature == 1.5
    listed = found.logprobs.double().exp()
    # float16 logarithms below 16 are exact to 2^-8.
    likely = kept.logprobs > -16
    assert (found.logprobs - kept.logprobs)[likely].abs().max() < 2**-7
    assert (listed.sum(1) + found.tail_mass - 1).abs().max() < 1e-6


@pytest.mark.parametrize("scale", [0.1, 2.0, 9.0])
def test_pps_comes_back(scale: float) -> None:
    stream = torch.Generator().manual_seed(1)
    kept = pps_targets(logits(40, 300, scale), 16, generator=stream)
    found = decode("pps", encode(kept, 300), 16, 300, 1.0)
    assert isinstance(found, PpsTargets)
    assert (found.ids == kept.ids).all()
    assert (found.weights - kept.weights).abs().max() < 4e-3
    assert (found.weights.double().sum(1) - 1).abs().max() < 1e-6
    assert (found.entropy - kept.entropy).abs().max() < 4e-3


def test_the_mass_of_sampled_ids_keeps_its_digits() -> None:
    # One token takes all but 1e-5: as 1 minus a rounded probability the rest would be lost.
    row = torch.full((1, 500), -18.0)
    row[0, 7] = 0.0
    kept = pps_targets(row, 8, generator=torch.Generator().manual_seed(0))
    found = decode("pps", encode(kept, 500), 8, 500, 1.0)
    assert isinstance(found, PpsTargets)
    rest = kept.weights[0, 1:].double().sum()
    assert found.weights[0, 1:].double().sum() == pytest.approx(float(rest), rel=1e-5)


@pytest.mark.parametrize("scheme", ["topk", "pps"])
def test_more_entries_than_tokens(scheme: str) -> None:
    table = logits(6, 5, 1.0)
    kept = topk_targets(table, 32) if scheme == "topk" else pps_targets(table, 32)
    found = decode(scheme, encode(kept, 5), 32, 5, 1.0)
    assert found.ids.shape == (6, 5)


def test_a_shard_without_a_certain_token_is_read(tmp_path: Path) -> None:
    kept = pps_targets(torch.zeros(3, 50), 4)  # all equal: none is certain
    write_shard(tmp_path / "a", [bytes(32), bytes([1] * 32)], [1, 2], encode(kept, 50))
    shard = Shard(tmp_path / "a")
    assert shard.positions == 3
    found = decode("pps", shard.read(1), 4, 50, 1.0)
    assert isinstance(found, PpsTargets)
    assert (found.ids == kept.ids[1:]).all()
    assert found.weights == pytest.approx(0.25)


def test_bytes_of_a_position_at_most() -> None:
    vocabulary, k = 151_936, 32
    kept = pps_targets(logits(20, 2000, 3.0), k)
    stored = sum(array.nbytes for array in encode(kept, vocabulary).values())
    assert stored / 20 <= most_bytes("pps", k, vocabulary, 0, "float16")
    # 32 ids of 18 bits, 32 float16, and count, rest and entropy
    assert most_bytes("pps", k, vocabulary, 0, "float16") == 72 + 64 + 8
    assert most_bytes("topk", k, vocabulary, 0, "float16") == 72 + 64 + 4
    assert most_bytes("dense", 0, vocabulary, 576, "float16") == 1152


def test_a_state_beyond_float16_is_no_silent_infinity() -> None:
    states = torch.tensor([[1.0, 7e4]])
    with pytest.raises(OverflowError, match="7e\\+04"):
        dense_rows(states, "float16")
    assert dense_rows(states, "float32")["states"].dtype == np.float32
