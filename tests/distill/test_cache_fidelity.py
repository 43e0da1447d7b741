"""What the cache says it loses, against float64 and closed forms."""

from pathlib import Path
from typing import Any

import pytest
import torch
from distill_world import changed, logits_recipe, make_teacher

from auditor.distill.cache_fidelity import _sparse_divergence
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill, forecast
from auditor.kernels.sparse import PpsTargets, pps_targets, topk_targets


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def fidelity(folder: Path, teacher: Path, **cache: Any) -> dict[str, Any]:
    values = changed(logits_recipe(folder, teacher), "method", cache=cache)
    found: dict[str, Any] = distill(recipe_from(values, folder), folder / "run")["data"]["cache"]
    return found


def test_exact_states_lose_nothing(tmp_path: Path, teacher: Path) -> None:
    found = fidelity(tmp_path, teacher, scheme="dense", dtype="float32")["fidelity"]
    assert found["reconstruction_kl"] == pytest.approx(0.0, abs=1e-9)
    assert found["captured_mass"] == 1.0
    assert found["gradient_cosine"] == pytest.approx({"head": 1.0, "states": 1.0}, abs=1e-6)
    assert sum(found["entropy"]["positions"]) == found["positions"]


def test_half_precision_loses_little(tmp_path: Path, teacher: Path) -> None:
    found = fidelity(tmp_path, teacher, scheme="dense")
    assert 0.0 < found["fidelity"]["reconstruction_kl"] < 1e-4
    # 24 channels of two bytes, and the keys of the sequences
    assert 48 <= found["bytes_per_position"] < 80


def test_all_tokens_kept_lose_only_rounding(tmp_path: Path, teacher: Path) -> None:
    found = fidelity(tmp_path, teacher, scheme="topk", k=4096)["fidelity"]
    assert found["captured_mass"] == pytest.approx(1.0)
    assert found["reconstruction_kl"] < 1e-4
    assert found["gradient_cosine"]["head"] > 0.9999


def test_fewer_entries_lose_more(tmp_path: Path, teacher: Path) -> None:
    found = []
    for k in (2, 32):
        folder = tmp_path / str(k)
        folder.mkdir()
        found.append(fidelity(folder, teacher, scheme="topk", k=k)["fidelity"])
    few, many = found
    assert few["captured_mass"] < many["captured_mass"] < 1.0
    assert few["reconstruction_kl"] > many["reconstruction_kl"] > 0.0
    assert few["gradient_cosine"]["states"] < many["gradient_cosine"]["states"] < 1.0


def test_divergence_of_a_bucket_by_hand() -> None:
    # p = 1/2, 1/4, 1/8, 1/8; one kept: 1/2, and 1/6 for each other
    p = torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)
    kept = topk_targets(p.log(), 1)
    found = _sparse_divergence(p.log(), kept, slice(0, 1))
    sixth = torch.tensor(1 / 6, dtype=torch.float64)
    expected = sixth * ((sixth / 0.25).log() + 2 * (sixth / 0.125).log())
    assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_divergence_of_a_sample_adds_equal_ids() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64)
    kept = PpsTargets(
        ids=torch.tensor([[0, 1, 1]]),
        weights=torch.tensor([[0.5, 0.25, 0.25]]),
        entropy=torch.zeros(1),
    )
    # weights 1/2 and 1/2: 1/2 log 1 + 1/2 log 2
    found = _sparse_divergence(p.log(), kept, slice(0, 1))
    assert float(found) == pytest.approx(0.5 * 0.6931471805599453)


def test_pps_of_every_token_is_the_distribution() -> None:
    logits = torch.randn(5, 9, dtype=torch.float64)
    exact = torch.log_softmax(logits, 1)
    found = _sparse_divergence(exact, pps_targets(logits, 9), slice(0, 5))
    assert found.abs().max() < 1e-6


@pytest.mark.parametrize("scheme", ["dense", "topk", "pps"])
def test_a_forecast_bounds_the_cache(tmp_path: Path, teacher: Path, scheme: str) -> None:
    values = changed(logits_recipe(tmp_path, teacher), "method", cache={"scheme": scheme, "k": 8})
    recipe = recipe_from(values, tmp_path)
    expected = forecast(recipe)["cache"]
    distill(recipe, tmp_path / "run")
    shards = (tmp_path / "run" / "cache" / "shards").iterdir()
    taken = sum(path.stat().st_size for path in shards)
    # Keys and offsets of the sequences come on top: some hundred bytes here.
    assert expected["bytes_at_most"] / 3 < taken < expected["bytes_at_most"] + 4096
    assert expected["head_bytes"] <= (tmp_path / "run/cache/head.safetensors").stat().st_size


def test_a_cache_moves_the_teacher_from_memory_to_capture(tmp_path: Path, teacher: Path) -> None:
    online = forecast(recipe_from(logits_recipe(tmp_path, teacher), tmp_path))
    values = changed(logits_recipe(tmp_path, teacher), "method", cache={"scheme": "dense"})
    cached = forecast(recipe_from(values, tmp_path))
    assert online["cache"] is None
    assert online["memory_bytes"]["teacher"] == 4 * online["teacher"]["parameters"]
    assert cached["memory_bytes"]["teacher"] == 0
    assert online["seconds"]["capture"] == 0.0 < cached["seconds"]["capture"]
