"""Token sequences in a file of the run: the same ones as in memory, digested, never half there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distill_world import text_documents, write_text
from full_disk import room_for

from auditor.canon import file_digest
from auditor.distill import sequences as module
from auditor.distill.cache import key_of
from auditor.distill.ledger import Ledger
from auditor.distill.packed import PackedSequences
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.distill.sequences import document_rows, first_rows, sequences
from auditor.errors import CaseError, RecipeError, StorageError
from auditor.models.byte_tokenizer import byte_tokenizer

ROWS = [([1, 2, 3], 1, False), ([4], 1, False), ([5, 6], 2, True), ([7, 8, 9, 10], 2, True)]


def test_packing_text_by_text_is_packing_the_whole_stream(monkeypatch):
    monkeypatch.setattr(module, "_GROUP_CHARACTERS", 100)
    tokenizer, texts = byte_tokenizer(), text_documents(40, seed=9)
    end = tokenizer.eos_token_id
    whole = np.concatenate([[*tokenizer(text)["input_ids"], end] for text in texts])
    found = [ids for ids, _, _ in document_rows(iter(texts), tokenizer, 16, packing=True)]
    # The rule, with the stream in memory: a row every 16 tokens, its last token twice.
    expected = [whole[start : start + 17] for start in range(0, len(whole) - 1, 16)]
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]


def test_rows_that_end_with_a_text_leave_no_row_of_one_token():
    # start + 2 bytes + end: 4 tokens, a row of 3 inputs, whose last token would start the next.
    rows = list(document_rows(["ab"], byte_tokenizer(), 3, packing=True))
    assert [len(ids) for ids, _, _ in rows] == [4]


def test_packed_sequences_are_those_in_memory(tmp_path):
    packed = PackedSequences(tmp_path / "packed", "a")
    assert not packed.is_complete
    packed.write(iter(ROWS))
    assert packed.is_complete
    found, expected = packed.open(), sequences(ROWS)
    assert len(found) == len(expected) == 2
    for name in ("offsets", "first", "generated", "lengths", "targets"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()
    assert found.row(1).tolist() == [7, 8, 9, 10]
    assert key_of(found, 1) == key_of(expected, 1)
    assert found.head(2).row(0).tolist() == [1, 2, 3]
    assert not PackedSequences(tmp_path / "packed", "b").is_complete


@pytest.mark.parametrize("positions", [0, 2, 3, 5, 99])
def test_first_rows_are_the_head_of_all(positions):
    rows = [([0] * n, 1, False) for n in (3, 2, 4, 1, 2)]
    expected = sequences(rows).head(positions).offsets.tolist()
    assert sequences(first_rows(iter(rows), positions)).offsets.tolist() == expected


@pytest.mark.parametrize("name", ["tokens.int32", "index.safetensors"])
def test_changed_sequences_are_refused(tmp_path, name):
    packed = PackedSequences(tmp_path, "a")
    packed.write(iter(ROWS))
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CaseError, match="not as it was written"):
        packed.open()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(CaseError, match="cannot be read"):
        assert packed.is_complete


def test_sequences_that_are_cut_in_use_are_refused(tmp_path):
    packed = PackedSequences(tmp_path, "a")
    packed.write(iter(ROWS))
    store = packed.open()
    (tmp_path / "tokens.int32").write_bytes(b"\0" * 16)
    with pytest.raises(CaseError, match="was cut"):
        store.row(1)
    (tmp_path / "tokens.int32").unlink()
    with pytest.raises(CaseError, match="cannot be read"):
        store.row(1)


def test_interrupted_packing_leaves_nothing_and_is_done_again(tmp_path):
    def rows() -> Iterator[Any]:
        yield ROWS[0]
        raise KeyboardInterrupt

    packed = PackedSequences(tmp_path, "a")
    with pytest.raises(KeyboardInterrupt):
        packed.write(rows())
    assert not list(tmp_path.iterdir())
    packed.write(iter(ROWS))
    with pytest.raises(RecipeError, match="no token to train on"):
        packed.write(iter(ROWS[1:3]))
    assert not packed.is_complete


def test_full_disk_is_named_and_leaves_no_half_file(tmp_path):
    rows = (([1] * 100, 1, False) for _ in range(100))
    with room_for(20_000), pytest.raises(StorageError, match="no space left") as caught:
        PackedSequences(tmp_path, "a").write(rows)
    assert "repeat the command" in (caught.value.hint or "")
    assert not list(tmp_path.iterdir())


def baseline(folder: Path) -> Recipe:
    write_text(folder)
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "max_length": 64}
    values = {
        "student": {"init": {**init, "tokenizer": "bytes"}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.1, "holdout_tokens": 256},
        "method": {"kind": "baseline"},
        "train": {"steps": 3, "batch_tokens": 128, "lr": 0.01},
    }
    return recipe_from(values, folder)


def test_order_and_records_are_those_of_data_held_in_memory(tmp_path):
    lineage = distill(baseline(tmp_path), tmp_path / "run")
    # As the version wrote them that held all data in memory.
    listed = "75d08c97fd5cee7f20e0c5160e030482cca1a9287b43e29dd102ea31fc5aacae"
    assert file_digest(tmp_path / "run" / "sequences.jsonl") == f"sha256:{listed}"
    assert lineage["ledger"]["roots"]["samples"] == {
        "count": 55,
        "root": "7cc30f8171e7a6880291d43d1b5a7569bdcf92f856dba6243a8f01802b846512",
    }
    steps = Ledger(tmp_path / "run" / "ledger.jsonl").bodies("batch")
    assert [step["sequences"][7:15] for step in steps] == ["44d424f6", "c9425c06", "f9fd6335"]
    assert (lineage["data"]["train_targets"], lineage["data"]["holdout_targets"]) == (1963, 178)
    assert not (tmp_path / "run" / "work" / "sequences").exists()


def test_continued_run_takes_its_sequences_again(tmp_path, monkeypatch):
    from auditor.distill import training

    recipe, run = baseline(tmp_path), tmp_path / "run"
    straight = distill(recipe, tmp_path / "straight")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "plan_steps", stop)
        with pytest.raises(KeyboardInterrupt):
            distill(recipe, run)
    assert (run / "work" / "sequences" / "manifest.json").is_file()

    def again(*_: Any) -> None:
        raise RuntimeError("packed again")

    monkeypatch.setattr(PackedSequences, "write", again)
    assert distill(recipe, run) == straight
