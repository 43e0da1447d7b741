"""Held-out scores by sequence, null students, and the share of the gap: values by hand."""

import math

import numpy as np
import pytest
import torch
from distill_world import random_sequences

from auditor.distill.fidelity import Holdout
from auditor.distill.objective import Teacher
from auditor.distill.recipe_student import Init
from auditor.distill.recovered import share_recovered
from auditor.distill.scoreboard import members_of, null_scores, scoreboard, student_scores
from auditor.distill.scores import (
    Scores,
    beaten,
    empty_student,
    scores_from,
    scores_json,
    scores_of,
)
from auditor.distill.sequences import sequences
from auditor.distill.student import random_module
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.models.unembedding import head_of

VOCABULARY = 259


def model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    init = Init(architecture="llama", hidden=16, layers=1, heads=2, max_length=64)
    module = random_module(init, byte_tokenizer()).eval()
    with torch.no_grad():
        module.get_output_embeddings().weight.mul_(20.0)
    return module


def held_out(module, teacher, lengths=(9, 5, 13)) -> Holdout:
    return Holdout(
        random_sequences(list(lengths)),
        form=head_of(module, VOCABULARY),
        teacher=Teacher(module=teacher, head=head_of(teacher, VOCABULARY)),
        batch_tokens=16,
    )


def losses(values, teacher=None, targets=None) -> Scores:
    """Scores of sequences of 10 targets each, with these mean losses."""
    counts = np.full(len(values), 10) if targets is None else np.array(targets)
    sums = {"loss": np.array(values) * counts}
    if teacher is not None:
        sums["teacher_loss"] = np.array(teacher) * counts
    return Scores(targets=counts, sums=sums)


def test_positions_come_in_the_order_of_the_sequences():
    # Batches go by falling length: 13 before 9 before 5. The store's order is 9, 5, 13.
    student, teacher = model(0), model(1)
    found = held_out(student, teacher).positions_of(student)
    alone = []
    store = random_sequences([9, 5, 13])
    for row in range(3):
        ids = torch.tensor(store.row(row).astype(np.int64))
        with torch.no_grad():
            logits = student(input_ids=ids[None, :-1]).logits[0].double()
        alone.append(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none"))
    assert found["loss"] == pytest.approx(torch.cat(alone).numpy(), rel=1e-5)


def test_student_that_is_the_teacher_inherits_every_error_and_no_divergence():
    teacher = model(1)
    scores = student_scores(held_out(teacher, teacher), teacher)
    assert scores.mean("kl") == 0.0
    assert scores.mean("top1") == 1.0
    assert scores.teacher()["wrong"] > 0
    assert scores.inherited() == 1.0


def test_agreement_where_the_teacher_is_right_is_no_inherited_error():
    teacher = model(1)
    ids = [7]
    for _ in range(6):  # what the teacher itself would say: it is right everywhere
        with torch.no_grad():
            ids.append(int(teacher(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    holdout = Holdout(
        sequences([(ids, 1, False)]),
        form=head_of(teacher, VOCABULARY),
        teacher=Teacher(module=teacher, head=head_of(teacher, VOCABULARY)),
        batch_tokens=16,
    )
    scores = student_scores(holdout, teacher)
    assert (scores.mean("top1"), scores.mean("same_error")) == (1.0, 0.0)
    assert scores.teacher()["wrong"] == 0
    assert scores.inherited() is None


def test_means_equal_those_of_the_evaluation():
    student, teacher = model(0), model(1)
    holdout = held_out(student, teacher)
    evaluated, scores = holdout.measure(student), student_scores(holdout, student)
    for name in ("loss", "kl", "top1", "teacher_loss"):
        assert scores.mean(name) == pytest.approx(evaluated[name], rel=1e-6)


def test_shuffled_student_says_what_it_said_half_the_part_further_on():
    # Two equal sequences: half of the part further on stands the same prediction.
    student, teacher = model(0), model(1)
    store = random_sequences([7])
    twice = type(store)(
        tokens=np.concatenate([store.tokens, store.tokens]),
        offsets=np.array([0, 8, 16]),
        first=np.array([1, 1], np.int32),
        generated=np.zeros(2, bool),
    )
    holdout = Holdout(
        twice,
        form=head_of(student, VOCABULARY),
        teacher=Teacher(module=teacher, head=head_of(teacher, VOCABULARY)),
        batch_tokens=64,
    )
    scores = student_scores(holdout, student)
    moved = student_scores(holdout, student, shuffled=True)
    found = beaten(scores, moved)
    assert [found[name]["better"] for name in ("loss", "kl", "top1")] == [False] * 3
    assert [found[name]["sequences"] for name in ("loss", "kl", "top1")] == [0] * 3
    other = held_out(student, teacher)
    assert student_scores(other, student, shuffled=True).mean("loss") != pytest.approx(
        student_scores(other, student).mean("loss"), rel=1e-3
    )


def test_empty_student_is_uniform():
    # KL(t || uniform) = ln V - H(t), by the definition of both.
    student, teacher = model(0), model(1)
    scores = student_scores(held_out(student, teacher), student)
    empty = empty_student(scores, VOCABULARY)
    assert empty.mean("loss") == pytest.approx(math.log(259))
    assert empty.mean("kl") == pytest.approx(math.log(259) - scores.mean("teacher_entropy"))
    assert (empty.mean("top1"), empty.inherited()) == (0.0, 0.0)


def test_uniform_student_ties_with_the_empty_one_and_is_not_better():
    uniform = model(0)
    with torch.no_grad():
        uniform.get_output_embeddings().weight.zero_()
    holdout = Holdout(
        random_sequences([9, 5]),
        form=head_of(uniform, VOCABULARY),
        teacher=None,
        batch_tokens=64,
    )
    scores = student_scores(holdout, uniform)
    assert scores.mean("loss") == pytest.approx(math.log(259), rel=1e-6)
    exact = losses([math.log(259)] * 2, targets=[9, 5])
    found = beaten(exact, empty_student(exact, VOCABULARY))
    assert found == {
        "loss": {"better": False, "sequences": 0, "of": 2},
        "kl": None,
        "top1": None,
    }


def test_strictly_better_counts_by_score_and_by_sequence():
    ours = Scores(
        targets=np.array([10, 10, 10]),
        sums={"loss": np.array([1.0, 2.0, 5.0]), "top1": np.array([3.0, 3.0, 3.0])},
    )
    theirs = Scores(
        targets=np.array([10, 10, 10]),
        sums={"loss": np.array([2.0, 2.0, 4.5]), "top1": np.array([3.0, 2.0, 4.0])},
    )
    # Losses: 8 < 8.5, better on the first alone. Agreement: 9 = 9 is no advantage.
    assert beaten(ours, theirs) == {
        "loss": {"better": True, "sequences": 1, "of": 3},
        "kl": None,
        "top1": {"better": False, "sequences": 1, "of": 3},
    }


def test_sums_of_sequences_by_hand():
    scores = scores_of({"loss": np.array([1.0, 2.0, 4.0, 8.0, 16.0])}, np.array([2, 1, 2]))
    assert scores.sums["loss"].tolist() == [3.0, 4.0, 24.0]
    # 31 / 5 over all; sequences 0 and 2: 27 / 4
    assert scores.mean("loss") == 6.2
    assert scores.mean("loss", np.array([0, 2])) == 6.75


def test_impossible_token_makes_the_divergence_missing_and_survives_the_file():
    scores = scores_of({"kl": np.array([1.0, np.inf, 2.0])}, np.array([2, 1]))
    assert scores.mean("kl") is None
    assert scores.mean("kl", np.array([1])) == 2.0
    again = scores_from(scores_json(scores), scores.targets)
    assert again.sums["kl"].tolist() == [np.inf, 2.0]


@pytest.mark.parametrize(
    ("student", "share"),
    [
        ([2.0, 2.5] * 4, 1.0),  # the teacher's losses
        ([4.0, 3.5] * 4, 0.0),  # the baseline's
        ([3.0, 3.0] * 4, 0.5),
        ([5.0, 4.0] * 4, -0.5),  # (7.5 - 9) / (7.5 - 4.5)
    ],
)
def test_share_recovered_is_exact_at_teacher_and_baseline(student, share):
    found = share_recovered(losses(student, [2.0, 2.5] * 4), losses([4.0, 3.5] * 4))
    assert found["value"] == share
    assert found["reason"] is None
    low, high = found["interval"]
    assert low <= share <= high
    if share in (0.0, 1.0):
        assert (low, high) == (share, share)


def test_share_recovered_weighs_sequences_by_their_targets():
    student = losses([1.0, 3.0], [1.0, 1.0], targets=[30, 10])
    # gain 30 * 2 + 10 * 0 of gap 30 * 2 + 10 * 2
    assert share_recovered(student, losses([3.0, 3.0], targets=[30, 10]))["value"] == 0.75


def test_interval_covers_the_true_share_at_its_level():
    # Gains of sequence s: 0.5 * gap + noise of mean 0; of 100 data sets about 95 cover 0.5.
    random = np.random.RandomState(4)
    covered = 0
    for _ in range(100):
        gap = random.uniform(0.5, 1.5, 40)
        gain = 0.5 * gap + random.normal(0.0, 0.2, 40)
        baseline = np.full(40, 5.0)
        found = share_recovered(losses(baseline - gain, baseline - gap), losses(baseline))
        low, high = found["interval"]
        covered += low <= 0.5 <= high
    # 84 is below the 0.1 % quantile of Binomial(100, 0.95)
    assert 85 <= covered <= 100


@pytest.mark.parametrize(
    ("teacher", "baseline", "reason"),
    [
        ([4.0] * 8, [4.0] * 8, "there is no gap to recover"),
        ([4.0] * 8, [4.005] * 8, "there is no gap to recover"),
        ([4.0] * 7, [5.0] * 7, "fewer than 8 held-out sequences"),
        ([4.0] * 8, [9.0, 0.0] * 4, "within its own noise"),
        (None, [4.0] * 8, "probabilities were not read"),
    ],
)
def test_what_cannot_be_said_has_a_reason(teacher, baseline, reason):
    found = share_recovered(losses([4.2] * len(baseline), teacher), losses(baseline))
    assert reason in found["reason"]
    assert found["interval"] is None


def test_scoreboard_by_category_adds_up_to_the_whole():
    student, teacher = model(0), model(1)
    holdout = held_out(student, teacher)
    untouched = student_scores(holdout, model(2))
    board = scoreboard(holdout, student, untouched, ["b", "a", "b"])
    assert [part["category"] for part in board["categories"]] == ["a", "b"]
    assert [part["targets"] for part in board["categories"]] == [5, 22]
    for name in ("student", "untouched", "shuffled", "empty"):
        of_a, of_b = (part["students"][name]["loss"] for part in board["categories"])
        assert (5 * of_a + 22 * of_b) / 27 == pytest.approx(board["students"][name]["loss"])
    assert null_scores(board)["untouched"]["loss"] == board["students"]["untouched"]["loss"]
    assert members_of(["a", "a"]) == {}
