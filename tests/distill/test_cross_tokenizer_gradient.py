"""Losses against a teacher of other tokens, in float64, beside autograd of the plain formulas."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from cross_world import hand_tokenizer
from torch import Tensor
from torch.nn import functional

from auditor.distill.aligned import AlignedRows
from auditor.distill.aligned_fidelity import AlignedHoldout
from auditor.distill.aligned_objective import AlignedObjective
from auditor.distill.aligning import alignment_of
from auditor.distill.batches import padded_batch
from auditor.distill.objective import Teacher
from auditor.distill.recipe_method import Method
from auditor.distill.recipe_student import Init
from auditor.distill.sequences import Sequences, sequences
from auditor.distill.spans import SpanReader
from auditor.distill.student import random_module
from auditor.models.unembedding import head_of

ROLES = {"bos_token": "<s>", "eos_token": "</s>"}
TEXTS = ("the cat then sat", "he that hath", "a€ the he")


@dataclass(frozen=True)
class World:
    """A student and a teacher in float64, and three sequences with spans of several tokens."""

    reader: SpanReader
    student: Any
    teacher: Any
    store: Sequences
    rows: AlignedRows

    def batch(self, members: list[int]) -> dict[str, Any]:
        return {**padded_batch(self.store, members), **self.rows.batch(members)}

    def objective(self, **method: Any) -> AlignedObjective:
        found = Method(kind="logits", **method)
        size = self.reader.teacher_vocabulary.size
        teacher = Teacher(module=self.teacher, head=head_of(self.teacher, size))
        form = head_of(self.student, self.reader.student_vocabulary.size)
        alignment = alignment_of(found.alignment or "", self.reader)
        return AlignedObjective(found, form, teacher, alignment)


def module(tokenizer: Any, hidden: int, seed: int) -> Any:
    torch.manual_seed(seed)
    init = Init(
        architecture="llama", hidden=hidden, layers=1, heads=2, ffn=24, max_length=64, tie=True
    )
    found = random_module(init, tokenizer).double().eval()
    with torch.no_grad():
        for parameter in found.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20.0)
    return found


@pytest.fixture
def world() -> World:
    own = hand_tokenizer("t h", "a t", specials=ROLES)
    other = hand_tokenizer("h e", "t he", "a t", specials=ROLES)
    reader = SpanReader(student=own, teacher=other)
    rows = [
        ([own.bos_token_id, *own(text)["input_ids"], own.eos_token_id], first, False)
        for text, first in zip(TEXTS, (1, 3, 1), strict=True)
    ]
    store = sequences(rows)
    return World(
        reader,
        module(own, 8, 1),
        module(other, 12, 2),
        store,
        AlignedRows(reader, store, [0, 1, 2]),
    )


def plain_spans(world: World) -> list[tuple[list[tuple[Tensor, int]], list[tuple[Tensor, int]]]]:
    """Of each span, (logits, token) of the student's tokens and of the teacher's."""
    found = []
    for member in range(len(world.store)):
        tokens = world.store.row(member).tolist()
        spans = world.reader.read(tokens, int(world.store.first[member]))
        own = world.student(torch.tensor([tokens])).logits[0]
        read = spans.tokens.tolist()
        other = world.teacher(torch.tensor([read])).logits[0].detach()
        for (a, b), (c, d) in zip(spans.student.tolist(), spans.teacher.tolist(), strict=True):
            found.append(
                (
                    [(own[k - 1], tokens[k]) for k in range(a, b + 1)],
                    [(other[k - 1], read[k]) for k in range(c, d + 1)],
                )
            )
    return found


def plain_span_loss(world: World) -> Tensor:
    parts = []
    for own, other in plain_spans(world):
        sums = [
            torch.stack([functional.log_softmax(row, -1)[token] for row, token in side]).sum()
            for side in (own, other)
        ]
        parts.append(0.5 * (sums[0] - sums[1]) ** 2)
    return torch.stack(parts).sum()


def masses(row: Tensor, tokenizer: Any, common: list[str], temperature: float) -> Tensor:
    """The probabilities of the common tokens, then of all other text and end tokens together."""
    probabilities = torch.softmax(row / temperature, -1)
    places = [tokenizer.convert_tokens_to_ids(piece) for piece in common]
    listed = probabilities[places]
    return torch.cat([listed, (probabilities.sum() - listed.sum())[None]])


def plain_matched_loss(world: World, temperature: float, reverse: bool) -> Tensor:
    own, other = world.reader.student, world.reader.teacher
    common = sorted(set(own.get_vocab()) & set(other.get_vocab()))
    parts = []
    for mine, yours in plain_spans(world):
        s = masses(mine[0][0], own, common, temperature)
        t = masses(yours[0][0], other, common, temperature)
        if reverse:
            s, t = t, s
        parts.append((t * (t.log() - s.log())).sum())
    return torch.stack(parts).sum()


def plain_uld_loss(world: World) -> Tensor:
    parts = []
    for mine, yours in plain_spans(world):
        s = torch.softmax(mine[0][0], -1).sort(descending=True).values
        t = torch.softmax(yours[0][0], -1).sort(descending=True).values
        size = max(len(s), len(t))
        padded = [functional.pad(side, (0, size - len(side))) for side in (s, t)]
        parts.append((padded[0] - padded[1]).abs().sum())
    return torch.stack(parts).sum()


def gradients(found: Any) -> dict[str, Tensor]:
    grads = {name: p.grad.clone() for name, p in found.named_parameters() if p.grad is not None}
    found.zero_grad()
    return grads


def assert_same(world: World, ours: Tensor, plain: Tensor) -> None:
    assert ours.dtype == torch.float64
    assert ours.item() == pytest.approx(plain.item(), rel=1e-10)
    ours.backward()
    found = gradients(world.student)
    plain.backward()
    expected = gradients(world.student)
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        assert wanted.abs().max() > 0
        torch.testing.assert_close(found[name], wanted, rtol=1e-8, atol=1e-10)


def test_the_spans_hold_several_tokens_on_either_side(world: World) -> None:
    sizes = {(len(own), len(other)) for own, other in plain_spans(world)}
    assert {(1, 1), (2, 1)} <= sizes


def test_span_kl_is_the_plain_formula(world: World) -> None:
    ours = world.objective(alignment="span-kl")(world.student, world.batch([0, 1, 2]))
    assert_same(world, ours, plain_span_loss(world))


@pytest.mark.parametrize(
    ("divergence", "temperature"), [("forward-kl", 1.0), ("forward-kl", 2.0), ("reverse-kl", 1.0)]
)
def test_matched_vocabulary_is_the_plain_formula(
    world: World, divergence: str, temperature: float
) -> None:
    objective = world.objective(
        alignment="matched-vocabulary",
        divergence=divergence,
        temperature=temperature,
        t_squared=True,
    )
    plain = plain_matched_loss(world, temperature, divergence == "reverse-kl")
    ours = objective(world.student, world.batch([0, 1, 2]))
    assert_same(world, ours, plain * temperature**2)


def test_uld_is_the_plain_formula(world: World) -> None:
    ours = world.objective(alignment="uld")(world.student, world.batch([0, 1, 2]))
    assert_same(world, ours, plain_uld_loss(world))


def test_alpha_mixes_in_the_cross_entropy_of_all_targets(world: World) -> None:
    batch = world.batch([0, 1, 2])
    mixed = world.objective(alignment="span-kl", alpha=0.25)(world.student, batch)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = world.student(**given).logits[batch["scored"]]
    labels = batch["targets"][batch["scored"]]
    entropy = functional.cross_entropy(logits, labels, reduction="sum")
    expected = 0.75 * plain_span_loss(world) + 0.25 * entropy
    assert mixed.item() == pytest.approx(expected.item(), rel=1e-8)


@pytest.mark.parametrize("alignment", ["span-kl", "matched-vocabulary", "uld"])
def test_cutting_a_batch_changes_nothing(world: World, alignment: str) -> None:
    objective = world.objective(alignment=alignment)
    whole = objective(world.student, world.batch([0, 1, 2]))
    parts = [objective(world.student, world.batch([member])) for member in (2, 0, 1)]
    assert whole.item() == pytest.approx(math.fsum(part.item() for part in parts), rel=1e-12)


@pytest.mark.parametrize("alignment", ["span-kl", "matched-vocabulary", "uld"])
def test_without_a_span_the_loss_is_0_with_a_gradient_of_zeros(
    world: World, alignment: str
) -> None:
    half = world.reader.student("é")["input_ids"][1]
    store = sequences([([half, half], 1, False)])
    rows = AlignedRows(world.reader, store, [0])
    batch = {**padded_batch(store, [0]), **rows.batch([0])}
    loss = world.objective(alignment=alignment)(world.student, batch)
    assert loss.item() == 0.0
    loss.backward()
    assert all(float(grad.abs().max()) == 0.0 for grad in gradients(world.student).values())


def test_bits_a_byte_are_those_of_the_spans_for_both_models(world: World) -> None:
    objective = world.objective(alignment="span-kl")
    holdout = AlignedHoldout(
        world.store,
        world.rows,
        form=head_of(world.student, world.reader.student_vocabulary.size),
        objective=objective,
        batch_tokens=24,
    )
    found = holdout.measure(world.student)
    totals = [
        sum(functional.log_softmax(row, -1)[token].item() for row, token in side)
        for pair in zip(*plain_spans(world), strict=True)
        for side in [[entry for part in pair for entry in part]]
    ]
    # Bytes: all 16 of the first text; of the second "he that hath" what follows its first two
    # targets; 11 of the third, whose euro takes 3.
    text = world.rows.coverage()["text_bytes"]
    assert found["bits_per_byte"] == pytest.approx(-totals[0] / text / math.log(2), rel=1e-6)
    assert found["teacher_bits_per_byte"] == pytest.approx(
        -totals[1] / text / math.log(2), rel=1e-6
    )
    targets = int(world.store.targets.sum())
    expected = plain_span_loss(world).item() / targets
    assert found["alignment_loss"] == pytest.approx(expected, rel=1e-6)
    assert found == holdout.measure(world.student)  # from the states that were kept
