"""Span KL estimators: their exact expectation over a small alphabet, and bad input."""

import math

import pytest
import torch

from auditor.errors import InputError
from auditor.kernels.projection import Projection
from auditor.kernels.span_kl import (
    span_gap_loss,
    span_logprobs,
    span_policy_loss,
    token_logprobs,
)


def distributions() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of six spans for the student, log-probabilities for the teacher."""
    draw = torch.Generator().manual_seed(0)
    student = torch.randn(6, generator=draw, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(6, generator=draw, dtype=torch.float64).log_softmax(0)
    return student, teacher


def gradient(value: torch.Tensor, leaf: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value, leaf, retain_graph=True)[0]


def test_spans_sum_their_tokens_and_leave_special_ones_out() -> None:
    logprobs = torch.tensor([-9.0, -1.0, -2.0, -9.0, -4.0], dtype=torch.float64).requires_grad_()
    found = span_logprobs(logprobs, torch.tensor([-1, 0, 0, -1, 1]), 3)
    assert found.tolist() == [-3.0, -4.0, 0.0]
    assert gradient(found.sum(), logprobs).tolist() == [0, 1, 1, 0, 1]


def test_expected_gradients_over_the_students_draws_are_that_of_the_kl() -> None:
    student, teacher = distributions()
    ls = student.log_softmax(0)
    expected = gradient((ls.exp() * (ls - teacher)).sum(), student)
    drawn = ls.detach().exp()
    squared = gradient((drawn * span_gap_loss(ls, teacher)).sum(), student)
    policy = gradient((drawn * span_policy_loss(ls, teacher)).sum(), student)
    torch.testing.assert_close(squared, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(policy, expected, rtol=1e-12, atol=1e-14)
    # The trap: k1 itself, differentiated, averages to nothing.
    k1 = gradient((drawn * (ls - teacher)).sum(), student)
    assert float(k1.abs().max()) < 1e-15
    assert float(expected.abs().max()) > 1e-2


def test_the_policy_value_estimates_the_kl() -> None:
    student, teacher = distributions()
    ls = student.detach().log_softmax(0)
    kl = (ls.exp() * (ls - teacher)).sum()
    found = (ls.exp() * span_policy_loss(ls, teacher)).sum()
    torch.testing.assert_close(found, kl, rtol=1e-12, atol=1e-14)


def test_the_ratio_corrects_for_older_draws() -> None:
    # -exp(ls - old) A with A = lt - old: old ln 1/4, now ln 1/2, teacher ln 1/8 -> -2 ln(1/2).
    now, old, teacher = (torch.tensor([math.log(p)]) for p in (0.5, 0.25, 0.125))
    found = span_policy_loss(now, teacher, old)
    assert float(found) == pytest.approx(2 * math.log(2), abs=1e-6)


def test_squared_gaps_are_zero_exactly_where_spans_agree() -> None:
    student = torch.tensor([-1.0, -2.0], dtype=torch.float64, requires_grad=True)
    found = span_gap_loss(student, torch.tensor([-1.0, -5.0], dtype=torch.float64))
    assert found.tolist() == [0.0, 4.5]
    assert gradient(found.sum(), student).tolist() == [0.0, 3.0]
    assert torch.autograd.gradcheck(
        lambda x: span_gap_loss(x, torch.tensor([-1.5, -5.0], dtype=torch.float64)), student
    )


def test_advantages_are_clamped() -> None:
    student, teacher = torch.tensor([-1.0]), torch.tensor([-50.0])
    assert float(span_policy_loss(student, teacher)) == 10
    assert float(span_policy_loss(student, teacher, clamp=None)) == 49


def test_no_span_is_zero_with_a_gradient_of_zeros() -> None:
    logprobs = torch.zeros(2, requires_grad=True)
    spans = span_logprobs(logprobs, torch.tensor([-1, -1]), 0)
    value = span_gap_loss(spans, torch.zeros(0)).sum()
    assert float(value.detach()) == 0
    assert gradient(value, logprobs).tolist() == [0, 0]


def test_bad_input_is_refused() -> None:
    three = torch.zeros(3)
    with pytest.raises(InputError, match="must be"):
        span_logprobs(three, torch.zeros(2, dtype=torch.int64), 1)
    with pytest.raises(InputError, match=r"-1 .. 0"):
        span_logprobs(three, torch.tensor([0, 1, 0]), 1)
    with pytest.raises(InputError, match="do not fit"):
        span_gap_loss(three, torch.zeros(2))
    with pytest.raises(InputError, match="not finite"):
        span_policy_loss(three, torch.tensor([0.0, -torch.inf, 0.0]))
    with pytest.raises(InputError, match="clamp is 0"):
        span_policy_loss(three, three, clamp=0)


def head(positions: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"hidden": (positions, 4), "weight": (7, 4), "bias": (7,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(("softcap", "scale"), [(None, 1.0), (None, 0.5), (3.0, 2.0)])
@pytest.mark.parametrize("chunk", [1, 2, 5, 256])
def test_label_logprobs_in_chunks_are_those_of_the_whole_table(
    softcap: float | None, scale: float, chunk: int
) -> None:
    tables, labels = head(5), torch.tensor([6, 0, 3, 3, 1])
    side = Projection(name="s", softcap=softcap, scale=scale, **tables)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    found = token_logprobs(side, labels, chunk=chunk)
    logits = scale * (tables["hidden"] @ tables["weight"].T + tables["bias"])
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    expected = torch.log_softmax(logits, 1)[torch.arange(5), labels]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for name, table in tables.items():
        ours = gradient((found * weights).sum(), table)
        plain = gradient((expected * weights).sum(), table)
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12, msg=name)


def test_no_label_gives_no_value_and_a_gradient_of_zeros() -> None:
    tables = head(0)
    found = token_logprobs(Projection(name="s", **tables), torch.zeros(0, dtype=torch.int64))
    assert found.shape == (0,)
    assert gradient(found.sum(), tables["weight"]).abs().sum() == 0


@pytest.mark.parametrize(
    ("labels", "chunk", "words"),
    [
        (torch.tensor([0]), 1, "labels must be"),
        (torch.tensor([0.0, 1.0]), 1, "labels must be"),
        (torch.tensor([0, 7]), 1, r"0 .. 6"),
        (torch.tensor([-1, 0]), 1, r"0 .. 6"),
        (torch.tensor([0, 1]), 0, "at least 1 position"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: torch.Tensor, chunk: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        token_logprobs(Projection(name="s", **head(2)), labels, chunk=chunk)
