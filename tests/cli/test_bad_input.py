"""Bad input gets a clear message, exit code 2, a remedy, and nothing is lost or left behind."""

import json
import os
import subprocess

import pytest
from command_line import TINY, auditor, failure

QUICK = ("--probes", "4", "--max-new-tokens", "4", "--json")


def compare(suspect: object, *more: object, out: object) -> dict:
    return failure(auditor("compare", suspect, "tiny:teacher", *QUICK, "--out", out, *more))


def test_a_missing_folder_is_named(tmp_path):
    error = compare(tmp_path / "nowhere", out=tmp_path / "case")
    assert "nowhere" in error["message"]
    assert not (tmp_path / "case").exists()


def test_a_folder_without_weights_is_named(tmp_path, tiny_copy):
    (tiny_copy / "model.safetensors").unlink()
    error = compare(tiny_copy, out=tmp_path / "case")
    assert "weights" in error["message"]
    assert not (tmp_path / "case").exists()


def test_truncated_safetensors_are_refused(tmp_path, tiny_copy):
    weights = tiny_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    error = compare(tiny_copy, out=tmp_path / "case")
    assert "model.safetensors" in error["message"]
    assert not (tmp_path / "case").exists()


def test_a_corrupt_gguf_is_refused(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + b"\x00" * 40)
    error = compare(tmp_path / "m.gguf", out=tmp_path / "case")
    assert "m.gguf" in error["message"]


def test_a_missing_tokenizer_is_named(tmp_path, tiny_copy):
    for path in tiny_copy.glob("tokenizer*"):
        path.unlink()
    error = compare(tiny_copy, out=tmp_path / "case")
    assert "tokenizer" in error["message"]
    assert not (tmp_path / "case").exists()


def test_an_unknown_suite_names_the_known_ones(tmp_path):
    error = compare("tiny:independent", "--suite", "instructoins", out=tmp_path / "case")
    assert "instructoins" in error["message"]
    assert "instructions" in f"{error['message']} {error['hint']}"


def test_an_empty_probe_file_is_refused(tmp_path):
    (tmp_path / "items.jsonl").write_text("")
    error = compare("tiny:independent", "--suite", tmp_path / "items.jsonl", out=tmp_path / "case")
    assert error["type"] == "SuiteError"
    assert "no probe" in error["message"] or "empty" in error["message"]


def test_duplicate_probe_ids_are_named(tmp_path):
    line = json.dumps({"id": "a-1", "category": "c", "text": "Once"})
    (tmp_path / "items.jsonl").write_text(f"{line}\n{line}\n")
    error = compare("tiny:independent", "--suite", tmp_path / "items.jsonl", out=tmp_path / "case")
    assert "a-1" in error["message"]


def test_a_records_file_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "r.jsonl").write_bytes(b'{"probe_id": "x", "text": "\xff\xfe"}\n')
    error = compare(tmp_path / "r.jsonl", out=tmp_path / "case")
    assert error["type"] == "RecordsError"
    assert "UTF-8" in error["message"]


def test_an_out_folder_with_another_case_is_left_alone(tmp_path):
    out = tmp_path / "case"
    first = auditor("compare", "tiny:independent", "tiny:teacher", *QUICK, "--out", out)
    assert first.code == 0, first.err
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    error = compare("tiny:independent", "--seed", "1", out=out)
    assert error["type"] == "CaseError"
    assert "seed" in error["message"]
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_an_out_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    error = compare("tiny:independent", out=tmp_path)
    assert error["type"] == "CaseError"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_bad_gate_is_refused_before_any_model_runs(tmp_path):
    error = compare("tiny:independent", "--fail-on", "kl<1", out=tmp_path / "case")
    assert error["type"] == "GateError"
    assert not (tmp_path / "case").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_loses_nothing_and_the_command_continues(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        return subprocess.run(command, capture_output=True).returncode

    if mount("size=256k") != 0:
        pytest.skip("mounting is not permitted here")
    try:
        error = compare("tiny:independent", out=disk / "case")
        assert error["type"] == "StorageError"
        assert "repeat the command" in error["hint"]
        assert mount("remount,size=200m") == 0
        words = ("compare", "tiny:independent", "tiny:teacher", *QUICK, "--out")
        assert auditor(*words, disk / "case").code == 0
        assert auditor(*words, tmp_path / "straight").code == 0
        name = "data/statistics.json"
        straight = (tmp_path / "straight" / name).read_bytes()
        assert (disk / "case" / name).read_bytes() == straight
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def recipe(folder, **changes) -> object:
    """Write a good recipe with its permission, changed at the given keys; None removes one."""
    value = {
        "teacher": "tiny:teacher",
        "student": {"shrink": {"layers": 2}},
        "data": {"corpus": {"name": "stories", "seed": 1, "documents": 50}},
        "method": {"kind": "logits"},
        "train": {"steps": 2, "batch_tokens": 512},
        "permission": str(TINY / "permission.json"),
    }
    value = {k: v for k, v in {**value, **changes}.items() if v is not None}
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(value))  # JSON is YAML
    return path


def distill(path, tmp_path) -> dict:
    return failure(auditor("distill", path, "--json", "--out", tmp_path / "run"))


def test_an_unknown_recipe_key_is_named(tmp_path):
    error = distill(recipe(tmp_path, steps=3), tmp_path)
    assert error["type"] == "RecipeError"
    assert "steps" in error["message"]
    assert not (tmp_path / "run").exists()


def test_no_permission_stops_before_the_teacher_is_read(tmp_path):
    error = distill(recipe(tmp_path, permission=None, teacher="local:/nowhere"), tmp_path)
    # The teacher does not exist: had it been looked for, this would be a SubjectError.
    assert error["type"] == "PermissionRefusedError"
    assert not (tmp_path / "run").exists()


def test_different_vocabularies_are_refused_for_logits(tmp_path):
    student = {
        "init": {"architecture": "llama", "hidden": 32, "layers": 1, "heads": 2},
    }
    student["init"]["tokenizer"] = str(other_tokenizer(tmp_path / "other"))
    error = distill(recipe(tmp_path, student=student), tmp_path)
    assert error["type"] in ("VocabularyError", "RecipeError")
    assert "vocabular" in error["message"]
    assert not (tmp_path / "run").exists()


def other_tokenizer(folder):
    """Save a small model folder whose tokenizer has words instead of bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<unk>", "<eos>", "once", "upon", "a", "time"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    config = LlamaConfig(
        vocab_size=6,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_missing_recipe_is_named(tmp_path):
    error = distill(tmp_path / "nowhere.yaml", tmp_path)
    assert "nowhere.yaml" in error["message"]
