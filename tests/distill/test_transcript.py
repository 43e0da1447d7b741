"""The committed training order: what it says is what the trainer did, and it survives a resume."""

import contextlib
import json

import numpy as np
import pytest
from distill_world import changed, logits_recipe, random_sequences, text_documents

from auditor.canon import file_digest
from auditor.distill.batches import plan_steps, training_order
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.sequences import sequences
from auditor.distill.transcript import TEXTS, last_seen, plain_text, spread, transcript
from auditor.models.byte_tokenizer import byte_tokenizer


def baseline(folder, **train):
    rows = [json.dumps({"text": text}) for text in text_documents(60, 1)]
    (folder / "text.jsonl").write_text("\n".join(rows) + "\n")
    init = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}
    values = {
        "student": {"init": {**init, "max_length": 64}},
        "data": {"text": "text.jsonl", "max_length": 32, "holdout": 0.1},
        "method": {"kind": "baseline"},
        "train": {"steps": 40, "batch_tokens": 64, "lr": 0.003, "save_every": 10, **train},
    }
    return recipe_from(values, folder)


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_sequences_are_ordered_by_when_they_were_seen_last():
    # 4 3 | 1 4 | 0 1: last seen 3 (step 1), 4 (step 2), 0 and 1 (step 3, as drawn); 2 never
    order, steps = last_seen([np.array([4, 3]), np.array([1, 4]), np.array([0, 1])])
    assert order.tolist() == [3, 4, 0, 1]
    assert steps.tolist() == [1, 2, 3, 3]


def test_the_order_within_a_step_is_as_drawn_and_not_by_length():
    store = random_sequences([5, 20, 11, 7, 16, 9])
    chosen = training_order(store.lengths, steps=1, batch_tokens=80, seed=3)
    drawn = np.random.RandomState(3).permutation(6)[: len(chosen[0])]
    assert last_seen(chosen)[0].tolist() == drawn.tolist()
    dealt = plan_steps(store, steps=1, batch_tokens=80, parts=1, seed=3).members[0]
    assert sorted(dealt.tolist()) == sorted(drawn.tolist())
    assert dealt.tolist() != drawn.tolist()


def test_runs_of_neighbouring_seeds_share_the_order_of_no_epoch():
    lengths = np.full(40, 8)

    def epochs(seed):
        chosen = np.concatenate(training_order(lengths, steps=12, batch_tokens=80, seed=seed))
        return [tuple(part) for part in chosen.reshape(3, 40).tolist()]

    seen = [order for seed in range(4) for order in epochs(seed)]
    assert len(set(seen)) == len(seen) == 12


def test_texts_are_spread_over_the_whole_order():
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(9, 5).tolist() == [0, 2, 4, 6, 8]
    many = spread(10**6, TEXTS)
    assert (many[0], many[-1], len(many)) == (0, 10**6 - 1, TEXTS)


def test_special_tokens_become_line_breaks_and_cut_characters_are_left_out():
    tokenizer = byte_tokenizer()
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    # "é" is c3 a9: here its second byte starts the sequence and its first one ends it.
    ids = [0xA9, *b"old wall", eos, bos, *b"rain", bos, 0xC3]
    assert plain_text(ids, tokenizer) == "old wall\nrain"


def test_sequences_without_text_are_left_out(tmp_path):
    tokenizer = byte_tokenizer()
    eos = tokenizer.eos_token_id
    store = sequences([([eos, eos, eos], 1, False), ([*b"wall"], 1, False)])
    content = transcript(baseline(tmp_path, steps=1), store, tokenizer)
    header, *rows = [json.loads(line) for line in content.splitlines()]
    assert header["sequences"] == 2
    assert [row["text"] for row in rows] == ["wall"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committed")
    recipe = baseline(folder)
    return recipe, folder / "run", distill(recipe, folder / "run")


def test_the_lineage_commits_to_the_transcript(finished):
    _, run, lineage = finished
    assert lineage["files"]["transcript.jsonl"] == file_digest(run / "transcript.jsonl")
    header, *rows = lines_of(run / "transcript.jsonl")
    assert header["schema"] == "auditor/transcript/1"
    assert header["sequences"] == lineage["data"]["train_sequences"]  # 40 steps: all of them
    assert [row["position"] for row in rows] == list(range(len(rows)))
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps)
    assert steps[-1] == 40


def test_each_text_is_one_that_the_trainer_was_given_at_that_step_for_the_last_time(
    tmp_path, monkeypatch
):
    from auditor.distill import batches

    given = []
    real = batches.padded_batch

    def watched(store, members):
        tokenizer = byte_tokenizer()
        given.append([plain_text(store.row(int(i))[:31].tolist(), tokenizer) for i in members])
        return real(store, members)

    monkeypatch.setattr(batches, "padded_batch", watched)
    recipe = baseline(tmp_path, steps=12)
    distill(recipe, tmp_path / "run")
    steps = given[-12:]  # before them the held-out part is measured
    for row in lines_of(tmp_path / "run" / "transcript.jsonl")[1:]:
        seen = [step for step, texts in enumerate(steps, start=1) if row["text"] in texts]
        assert seen[-1] == row["step"]


def test_a_resumed_run_commits_to_the_same_order(finished, tmp_path):
    recipe, run, lineage = finished

    class StoppedError(Exception):
        pass

    class Stopping:
        @contextlib.contextmanager
        def task(self, description, total):
            done = [0]

            class Task:
                def advance(self, amount=1):
                    done[0] += amount
                    if done[0] == 17:
                        raise StoppedError

            yield Task()

    with pytest.raises(StoppedError):
        distill(recipe, tmp_path / "run", progress=Stopping())
    assert not (tmp_path / "run" / "transcript.jsonl").exists()
    assert distill(recipe, tmp_path / "run") == lineage
    again = (tmp_path / "run" / "transcript.jsonl").read_bytes()
    assert again == (run / "transcript.jsonl").read_bytes()


def test_accumulation_does_not_change_the_order_and_the_seed_does(finished, tmp_path):
    recipe, run, _ = finished
    expected = (run / "transcript.jsonl").read_bytes()
    contents = []
    for keys in ({"accumulate": 2}, {"seed": 1}):
        values = changed(recipe.as_json(), "train", **keys)
        values = {key: value for key, value in values.items() if value is not None}
        out = tmp_path / next(iter(keys))
        distill(recipe_from(values, recipe.path(".")), out)
        contents.append((out / "transcript.jsonl").read_bytes())
    assert contents[0] == expected
    assert contents[1] != expected


def test_a_student_of_logits_commits_too(tmp_path, teacher):
    recipe = recipe_from(logits_recipe(tmp_path, teacher), tmp_path)
    lineage = distill(recipe, tmp_path / "run")
    assert "transcript.jsonl" in lineage["files"]
