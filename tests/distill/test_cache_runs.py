"""Training from a captured teacher: what is read, what is refused, what a kill leaves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from distill_world import changed, logits_recipe, logits_run, make_teacher, weights_digest_of

from auditor.canon import directory_digests
from auditor.distill import capturing
from auditor.distill.cache import shards_root
from auditor.distill.capture import captured_tokens
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import CaseError, RecipeError


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher(tmp_path_factory.mktemp("teacher"))


def with_cache(folder: Path, teacher: Path, scheme: str, **cache: Any) -> dict[str, Any]:
    values = logits_recipe(folder, teacher)
    values["student"] = {"from": f"local:{teacher}"}
    return changed(values, "method", cache={"scheme": scheme, **cache})


def run(folder: Path, values: dict[str, Any], name: str = "run") -> dict[str, Any]:
    return distill(recipe_from(values, folder), folder / name)


def test_dense_states_train_as_the_teacher_itself(tmp_path: Path, teacher: Path) -> None:
    shrunk = {"shrink": {"layers": 2}}
    online = distill(logits_run(tmp_path, teacher, student=shrunk), tmp_path / "online")
    values = with_cache(tmp_path, teacher, "dense", dtype="float32")
    found = run(tmp_path, {**values, "student": shrunk})
    for key in ("loss", "holdout"):
        ours, theirs = found["results"][key]["end"], online["results"][key]["end"]
        pairs = [(ours, theirs)] if key == "loss" else [(ours[n], theirs[n]) for n in ours]
        assert all(a == pytest.approx(b, rel=1e-4) for a, b in pairs), key


def test_all_entries_train_as_the_whole_distribution(tmp_path: Path, teacher: Path) -> None:
    shrunk = {"shrink": {"layers": 2}}
    ends = []
    for scheme, k in (("dense", 1), ("topk", 4096)):
        values = {**with_cache(tmp_path, teacher, scheme, k=k), "student": shrunk}
        ends.append(run(tmp_path, values, scheme)["results"]["holdout"]["end"]["kl"])
    # Half-precision log-probabilities are the only difference.
    assert ends[1] == pytest.approx(ends[0], rel=0.02)


def test_the_teacher_is_not_loaded_again(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.models import loading

    shared = {"path": "shared"}
    student = {"init": {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2}}
    values = {**with_cache(tmp_path, teacher, "pps", k=8, **shared), "student": student}
    first = run(tmp_path, values, "first")
    before = directory_digests(tmp_path / "shared")
    monkeypatch.setattr(loading, "load_transformers", _never)
    values = changed(values, "train", lr=0.001)
    second = run(tmp_path, values, "second")
    assert directory_digests(tmp_path / "shared") == before
    assert first["data"]["cache"] == second["data"]["cache"]
    assert first["results"]["loss"]["start"] == second["results"]["loss"]["start"]


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the teacher was loaded")


def test_a_repeat_gives_the_same_bytes(tmp_path: Path, teacher: Path) -> None:
    values = with_cache(tmp_path, teacher, "pps", k=8)
    run(tmp_path, values, "one")
    run(tmp_path, values, "two")
    assert weights_digest_of(tmp_path / "one") == weights_digest_of(tmp_path / "two")
    caches = [directory_digests(tmp_path / name / "cache") for name in ("one", "two")]
    assert caches[0] == caches[1]
    assert any(name.startswith("shards/") for name in caches[0])


def spoiled(tmp_path: Path, teacher: Path, name: str) -> tuple[dict[str, Any], Path]:
    """Return a recipe whose shared cache is whole, and a file of that cache."""
    values = with_cache(tmp_path, teacher, "topk", k=8, path="shared")
    run(tmp_path, values, "first")
    return changed(values, "train", lr=0.001), tmp_path / "shared" / name


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("shards/000000.safetensors", lambda raw: raw[:-1], "bytes, not"),
        ("shards/000000.safetensors", lambda raw: raw[:-1] + b"\x7f", "was changed"),
        ("holdout/shards/000000.safetensors", lambda raw: raw[:-9], "bytes, not"),
        ("head.safetensors", lambda raw: raw[:-1] + b"\x01", "was changed"),
        ("manifest.json", lambda raw: raw[: len(raw) // 2], "cannot be read"),
        ("manifest.json", lambda raw: b"{}", "not the manifest"),
        (
            "manifest.json",
            lambda raw: raw.replace(b'"sequences":', b'"sequences": 1, "x":'),
            "not the manifest",
        ),
    ],
)
def test_a_changed_cache_is_refused(
    tmp_path: Path, teacher: Path, name: str, change: Any, message: str
) -> None:
    values, path = spoiled(tmp_path, teacher, name)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CaseError, match=message):
        run(tmp_path, values, "second")


def test_a_missing_shard_is_refused(tmp_path: Path, teacher: Path) -> None:
    values, path = spoiled(tmp_path, teacher, "shards/000000.safetensors")
    path.unlink()
    with pytest.raises(CaseError, match="missing"):
        run(tmp_path, values, "second")


def test_shards_that_change_places_are_refused(tmp_path: Path, teacher: Path) -> None:
    values, path = spoiled(tmp_path, teacher, "manifest.json")
    content = json.loads(path.read_bytes())
    content["shards"][0]["digest"] = content["head"]
    path.write_text(json.dumps(content))
    with pytest.raises(CaseError, match="list of shards"):
        run(tmp_path, values, "second")


def test_a_cache_of_another_teacher_is_refused(tmp_path: Path, teacher: Path) -> None:
    values, _ = spoiled(tmp_path, teacher, "manifest.json")
    other = make_teacher(tmp_path / "other", layers=2)
    values = {
        **with_cache(tmp_path, other, "topk", k=8, path="shared"),
        "student": values["student"],
    }
    with pytest.raises(CaseError, match="differs in: teacher"):
        run(tmp_path, values, "second")


def test_another_k_is_another_cache(tmp_path: Path, teacher: Path) -> None:
    values, _ = spoiled(tmp_path, teacher, "manifest.json")
    values = changed(values, "method", cache={"scheme": "topk", "k": 9, "path": "shared"})
    with pytest.raises(CaseError, match=r"differs in: k \(8, here 9\)"):
        run(tmp_path, values, "second")


def test_a_full_budget_is_refused_before_capturing(tmp_path: Path, teacher: Path) -> None:
    values = with_cache(tmp_path, teacher, "pps", k=8, max_bytes="1KB")
    with pytest.raises(RecipeError, match="max_bytes is 1,000"):
        run(tmp_path, values)
    assert not (tmp_path / "run" / "cache" / "shards").exists()


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "sequence", "cache": {"scheme": "pps"}}, "reads no logits"),
        (
            {"kind": "logits", "divergence": "jsd", "cache": {"scheme": "pps"}},
            "no unbiased estimate",
        ),
        ({"kind": "logits", "cache": {"scheme": "zip"}}, "scheme"),
        ({"kind": "logits", "cache": {"scheme": "pps", "k": 0}}, "k"),
        ({"kind": "logits", "cache": {"scheme": "pps", "sise": 3}}, "sise"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(
    tmp_path: Path, teacher: Path, method: dict[str, Any], message: str
) -> None:
    values = logits_recipe(tmp_path, teacher)
    values["method"] = method
    if method["kind"] == "sequence":
        (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n')
        values["data"] = {"prompts": "p.jsonl"}
    with pytest.raises(RecipeError, match=message):
        recipe_from(values, tmp_path)


def test_what_a_kill_leaves_is_captured_once(
    tmp_path: Path, teacher: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from auditor.distill import capture as capture_module

    monkeypatch.setattr(capture_module, "GROUP_TOKENS", 128)
    values = with_cache(tmp_path, teacher, "pps", k=8)
    run(tmp_path, values, "whole")
    whole = directory_digests(tmp_path / "whole" / "cache")
    run(tmp_path, values, "killed")
    cache = tmp_path / "killed" / "cache"
    # As a kill between a shard and its manifest leaves it, in the middle of the capture.
    manifest = json.loads((cache / "manifest.json").read_bytes())
    assert len(manifest["shards"]) > 4
    manifest["shards"] = manifest["shards"][:2]
    manifest["merkle_root"] = shards_root([shard["digest"] for shard in manifest["shards"]])
    (cache / "manifest.json").write_text(json.dumps(manifest))
    shutil.rmtree(tmp_path / "killed" / "student")
    (tmp_path / "killed" / "lineage.json").unlink()
    seen: list[int] = []

    def counted(teacher: Any, identity: Any, store: Any, rows: list[int]) -> Any:
        if identity.scheme == "pps":
            seen.extend(rows)
        return captured_tokens(teacher, identity, store, rows)

    monkeypatch.setattr(capturing, "captured_tokens", counted)
    run(tmp_path, values, "killed")
    assert directory_digests(cache) == whole
    assert len(seen) == len(set(seen)) == sum(s["sequences"] for s in _shards(cache)[2:])


def _shards(cache: Path) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = json.loads((cache / "manifest.json").read_bytes())["shards"]
    return shards


def test_recipe_as_used_names_the_cache(tmp_path: Path, teacher: Path) -> None:
    run(tmp_path, with_cache(tmp_path, teacher, "dense"))
    used = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert used["method"]["cache"]["scheme"] == "dense"
