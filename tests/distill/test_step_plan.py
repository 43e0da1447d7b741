import numpy as np
import pytest
from distill_world import random_sequences

from auditor.distill.batches import MicroBatches, padded_batch, plan_steps
from auditor.distill.documents import split_holdout
from auditor.distill.sequences import document_rows, sequences
from auditor.errors import RecipeError
from auditor.models.byte_tokenizer import byte_tokenizer

LENGTHS = [7, 31, 12, 3, 25, 18, 9, 30, 5, 14, 22, 11]


def step_members(plan, step):
    parts = plan.members[step * plan.parts : (step + 1) * plan.parts]
    return sorted(int(row) for part in parts for row in part)


def test_what_a_step_holds_does_not_depend_on_its_cut():
    store = random_sequences(LENGTHS)
    plans = [plan_steps(store, steps=9, batch_tokens=128, parts=p, seed=4) for p in (1, 2, 4)]
    for step in range(9):
        assert step_members(plans[0], step) == step_members(plans[1], step)
        assert step_members(plans[0], step) == step_members(plans[2], step)
    assert all(len(part) > 0 for plan in plans for part in plan.members)


def test_step_stays_inside_its_budget_and_counts_its_targets():
    store = random_sequences(LENGTHS)
    plan = plan_steps(store, steps=6, batch_tokens=64, parts=1, seed=0)
    inputs = [int(store.lengths[step_members(plan, k)].sum()) for k in range(6)]
    assert max(inputs) <= 64
    assert plan.step_targets.tolist() == inputs  # every token but the first is a target


def test_every_epoch_shows_each_sequence_once():
    store = random_sequences([8] * 6)
    # 6 sequences of 8 in batches of 16: 3 steps an epoch.
    plan = plan_steps(store, steps=6, batch_tokens=16, parts=1, seed=2)
    first = [row for step in range(3) for row in step_members(plan, step)]
    second = [row for step in range(3, 6) for row in step_members(plan, step)]
    assert sorted(first) == sorted(second) == list(range(6))
    assert [step_members(plan, k) for k in range(3)] != [step_members(plan, k) for k in range(3, 6)]


def test_budget_smaller_than_a_sequence_names_the_remedy():
    store = random_sequences([30])
    with pytest.raises(RecipeError) as caught:
        plan_steps(store, steps=1, batch_tokens=59, parts=2, seed=0)
    assert "at least 60" in str(caught.value.hint)


def test_padded_batch_scores_the_answer_only():
    store = sequences([([1, 2, 3, 4, 5], 3, True), ([6, 7], 1, False)])
    batch = padded_batch(store, [0, 1])
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4], [6, 0, 0, 0]]
    # The first answer token, 4, is predicted from 3 at position 2.
    assert batch["scored"].tolist() == [[False, False, True, True], [True, False, False, False]]
    assert batch["targets"][batch["scored"]].tolist() == [4, 5, 7]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 0]]
    assert "attention_mask" not in padded_batch(store, [0])


def test_micro_batches_carry_the_targets_of_their_whole_step():
    store = random_sequences([4, 8, 4, 8])
    plan = plan_steps(store, steps=2, batch_tokens=24, parts=2, seed=0)
    batches = MicroBatches(store, plan)
    assert len(batches) == 4
    for index in range(4):
        assert batches[index]["step_targets"] == plan.step_targets[index // 2]


def test_packed_documents_lose_no_token_and_predict_each_once():
    tokenizer = byte_tokenizer()
    texts = ["ab", "cdefg", "h"]
    # start + bytes + end: 4 + 7 + 3 = 14 tokens, of which 13 are targets.
    rows = list(document_rows(texts, tokenizer, 5, packing=True))
    assert [len(ids) for ids, _, _ in rows] == [6, 6, 4]
    joined = [*rows[0][0], *rows[1][0][1:], *rows[2][0][1:]]
    assert tokenizer.decode(joined) == "<|bos|>ab<|eos|><|bos|>cdefg<|eos|><|bos|>h<|eos|>"
    assert sum(len(ids) - first for ids, first, _ in rows) == 13


def test_unpacked_documents_start_a_row_each():
    rows = document_rows(["ab", "c"], byte_tokenizer(), 8, packing=False)
    assert [len(ids) for ids, _, _ in rows] == [4, 3]


def test_rows_without_a_target_leave_nothing_to_train_on():
    with pytest.raises(RecipeError, match="no token to train on"):
        sequences([([5], 1, False), ([1, 2], 2, True)])


def digests(*fractions):
    return ["sha256:" + f"{int(f * 16**4):04x}" + "0" * 60 for f in fractions]


def test_holdout_takes_the_items_whose_digest_is_below_the_share():
    # As fractions of one: 0x1000 = 1/16, 0x4000 = 1/4, 0xc000 = 3/4.
    split = split_holdout(digests(0.75, 0.0625, 0.25), 0.2)
    assert (split.train.tolist(), split.holdout.tolist()) == ([0, 2], [1])


def test_equal_items_fall_on_the_same_side():
    split = split_holdout(digests(0.0625, 0.75, 0.0625), 0.2)
    assert split.holdout.tolist() == [0, 2]


def test_small_data_still_hold_one_out_and_train_on_the_rest():
    assert split_holdout(digests(0.75, 0.5), 0.02).holdout.tolist() == [1]
    assert split_holdout(digests(0.01, 0.02), 0.5).holdout.tolist() == [0]


def test_nothing_is_held_out_of_equal_items_or_with_share_zero():
    assert split_holdout(digests(0.01, 0.01), 0.5).holdout.tolist() == []
    assert split_holdout(digests(0.01, 0.9), 0.0).holdout.tolist() == []


def test_head_of_a_store_keeps_whole_sequences():
    store = random_sequences([4, 4, 4])
    assert len(store.head(9)) == 2
    assert len(store.head(1)) == 1
    assert np.array_equal(store.head(9).tokens, store.tokens[:10])
