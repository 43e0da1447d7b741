"""Matched-vocabulary divergence and ULD: closed forms, float64, gradients, bad input."""

import math

import pytest
import torch

from auditor.errors import InputError, VocabularyError
from auditor.kernels import divergence_loss
from auditor.kernels.cross_vocabulary import Categories, chunked_total, matched_loss, uld_loss
from auditor.kernels.projection import Projection

A, VS, VT = 5, 7, 9
KINDS = ["forward-kl", "reverse-kl", "jsd"]


def table(rows: int, columns: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, columns, generator=draw, dtype=torch.float64)


def categories() -> Categories:
    """Three matched categories; one has two student ids, OTHER two and four, one is left out."""
    return Categories(
        student=torch.tensor([2, 0, 3, 1, 0, -1, 3]),
        teacher=torch.tensor([3, 0, 1, 3, 2, 3, 3, -1, -1]),
        matched=3,
    )


def masses(logits: torch.Tensor, groups: list[list[int]]) -> torch.Tensor:
    p = logits.exp()
    sums = torch.stack([p[:, group].sum(1) for group in groups], 1)
    return sums / sums.sum(1, keepdim=True)


@pytest.mark.parametrize("tau", [1.0, 2.5])
def test_both_kl_are_those_of_the_summed_masses(tau: float) -> None:
    student, teacher = table(A, VS, 0), table(A, VT, 1)
    s = masses(student / tau, [[1, 4], [3], [0], [2, 6]])
    t = masses(teacher / tau, [[1], [2], [4], [0, 3, 5, 6]])
    for kind, expected in (
        ("forward-kl", (t * (t / s).log()).sum(1)),
        ("reverse-kl", (s * (s / t).log()).sum(1)),
    ):
        found = matched_loss(student, teacher, categories(), divergence=kind, temperature=tau)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_a_coin_against_a_biased_one_by_hand() -> None:
    # Matched token: s 1/2, t 3/4. The rest, 1/2 and 1/4, lies on other tokens.
    both = Categories(student=torch.tensor([0, 1]), teacher=torch.tensor([1, 0, 1]), matched=1)
    student = torch.tensor([[0.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.125, 0.75, 0.125]], dtype=torch.float64).log()
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert float(matched_loss(student, teacher, both)) == pytest.approx(expected, abs=1e-14)


def test_the_gradient_is_the_closed_form() -> None:
    student = table(A, VS, 2).requires_grad_()
    teacher = table(A, VT, 3)
    matched_loss(student, teacher, categories(), temperature=2.0).sum().backward()
    kept = [0, 1, 2, 3, 4, 6]
    place = torch.tensor([2, 0, 3, 1, 0, 3])
    own = torch.softmax(student.detach()[:, kept] / 2, 1)
    s = masses(student.detach() / 2, [[1, 4], [3], [0], [2, 6]])
    t = masses(teacher / 2, [[1], [2], [4], [0, 3, 5, 6]])
    expected = own * (1 - (t / s)[:, place]) / 2
    torch.testing.assert_close(student.grad[:, kept], expected, rtol=1e-10, atol=1e-12)
    assert bool((student.grad[:, 5] == 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: str) -> None:
    teacher = table(A, VT, 5)
    assert torch.autograd.gradcheck(
        lambda x: matched_loss(x, teacher, categories(), divergence=kind),
        table(A, VS, 4).requires_grad_(),
    )
    assert torch.autograd.gradcheck(
        lambda x: uld_loss(x, teacher), table(A, VS, 4).requires_grad_()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_zero_exactly_where_the_coarsened_distributions_agree(kind: str) -> None:
    both = Categories(
        student=torch.tensor([0, 1, 1]), teacher=torch.tensor([1, 0, 1, 1]), matched=1
    )
    student = torch.tensor([[0.5, 0.1, 0.4], [0.5, 0.1, 0.4]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.2, 0.5, 0.2, 0.1], [0.2, 0.4, 0.2, 0.2]], dtype=torch.float64).log()
    equal, other = matched_loss(student, teacher, both, divergence=kind).tolist()
    assert equal == pytest.approx(0, abs=1e-15)
    assert other > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_never_more_than_the_divergence_of_the_whole_distributions(kind: str) -> None:
    student, teacher = table(200, VS, 6), table(200, VS, 7)
    place = torch.tensor([0, 1, 2, 3, 3, 3, 3])
    coarse = Categories(student=place, teacher=place, matched=3)
    found = matched_loss(student, teacher, coarse, divergence=kind)
    whole = divergence_loss(student, teacher, divergence=kind)
    assert bool(((found >= 0) & (found <= whole + 1e-12)).all())
    permuted = torch.tensor([3, 0, 2, 5, 6, 1, 4])
    everything = Categories(student=torch.arange(VS), teacher=permuted, matched=VS)
    same = matched_loss(student, teacher[:, permuted], everything, divergence=kind)
    torch.testing.assert_close(same, whole, rtol=1e-12, atol=1e-14)


def test_impossible_and_tiny_tokens_leave_value_and_gradient_finite() -> None:
    student, teacher = table(A, VS, 8).float(), table(A, VT, 9).float()
    student[0, 1] = student[0, 4] = -200.0
    student[1, 3] = -torch.inf
    teacher[1, 2] = -torch.inf
    student.requires_grad_()
    value = matched_loss(student, teacher, categories())
    (value.sum() + uld_loss(student, teacher).sum()).backward()
    assert bool(value.isfinite().all() & student.grad.isfinite().all())
    assert float(value[0].detach()) > 1


def test_uld_by_hand() -> None:
    # Sorted s: .6 .4 (0); sorted t: .5 .3 .2. Gaps .1 + .1 + .2.
    student = torch.tensor([[0.4, 0.6]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log()
    assert float(uld_loss(student, teacher)) == pytest.approx(0.4, abs=1e-15)
    assert float(uld_loss(teacher, student)) == pytest.approx(0.4, abs=1e-15)


def test_uld_is_zero_for_equal_probabilities_in_any_order_and_at_most_two() -> None:
    teacher = table(A, VT, 10)
    assert float(uld_loss(teacher.flip(1), teacher).max()) < 1e-14
    found = uld_loss(table(50, VS, 11) * 9, table(50, 400, 12) / 9)
    assert bool(((found > 0) & (found <= 2)).all())


@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_chunks_change_neither_value_nor_gradient(chunk: int) -> None:
    h, w, b = table(A, 4, 13), table(VS, 4, 14), table(1, VS, 15)[0]
    teacher = Projection(name="t", hidden=table(A, 3, 16), weight=table(VT, 3, 17))
    weights = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    results = []
    for chunked in (True, False):
        leaves = [x.clone().requires_grad_() for x in (h, w, b)]
        if chunked:
            own = Projection(
                name="s", hidden=leaves[0], weight=leaves[1], bias=leaves[2], softcap=3.0, scale=0.5
            )
            total = chunked_total(
                lambda s, t: matched_loss(s, t, categories()),
                own,
                teacher,
                weights=weights,
                chunk=chunk,
            )
        else:
            logits = 3 * torch.tanh(0.5 * (leaves[0] @ leaves[1].T + leaves[2]) / 3)
            whole = teacher.hidden @ teacher.weight.T
            total = (weights * matched_loss(logits, whole, categories())).sum()
        total.backward()
        results.append([total.detach(), *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_no_position_is_zero_with_a_gradient_of_zeros() -> None:
    h, w = torch.zeros(0, 4, requires_grad=True), torch.ones(VS, 4, requires_grad=True)
    teacher = Projection(name="t", hidden=torch.zeros(0, 3), weight=torch.ones(VT, 3))
    total = chunked_total(uld_loss, Projection(name="s", hidden=h, weight=w), teacher)
    total.backward()
    assert float(total.detach()) == 0
    assert bool((w.grad == 0).all())
    with pytest.raises(InputError, match="chunk must be at least 1"):
        chunked_total(uld_loss, Projection(name="s", hidden=h, weight=w), teacher, chunk=0)
    with pytest.raises(InputError, match="weights must be"):
        chunked_total(
            uld_loss, Projection(name="s", hidden=h, weight=w), teacher, weights=torch.ones(2)
        )


@pytest.mark.parametrize(
    ("student", "teacher", "matched", "message"),
    [
        ([1], [1], 0, "share no token"),
        ([0, 2], [0, 1], 2, "no token of the student"),
        ([0, 1], [0, 0], 1, "text token of the teacher is matched"),
        ([0, 0], [0, 1], 1, "text token of the student is matched"),
        ([0, -2], [0, 0], 1, "from -1 to 1"),
        ([0, 1], [0, 2], 1, "from -1 to 1"),
    ],
)
def test_categories_that_allow_no_finite_divergence_are_refused(
    student: list[int], teacher: list[int], matched: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Categories(student=torch.tensor(student), teacher=torch.tensor(teacher), matched=matched)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(VocabularyError, match="logits of 8 token ids meet categories of 7"):
        matched_loss(table(A, 8, 0), table(A, VT, 0), categories())
    with pytest.raises(InputError, match="student has 5 positions, teacher 4"):
        uld_loss(table(A, VS, 0), table(4, VT, 0))
    with pytest.raises(InputError, match="must be floating point"):
        uld_loss(torch.ones(A, VS, dtype=torch.int64), table(A, VT, 0))
    with pytest.raises(InputError, match="temperature must be positive"):
        matched_loss(table(A, VS, 0), table(A, VT, 0), categories(), temperature=0.0)
