"""Next-byte targets of a subword teacher: by hand, by enumeration, and as a loss."""

import itertools
import math

import pytest
import torch

from auditor.errors import InputError, VocabularyError
from auditor.kernels.next_byte import (
    TokenTable,
    bytes_after,
    next_byte_loss,
    next_byte_targets,
    text_byte_targets,
)

PIECES = [b"the", b"<s>", b"t", b"th", b" a", None, b"there", b"\xff\xff", b"ta", b"t"]
PROBABILITIES = [0.2, 0.5, 0.02, 0.04, 0.05, 0.01, 0.1, 0.03, 0.03, 0.02]
TABLE = TokenTable(PIECES, frozenset({1}))


def logits(rows: int = 1) -> torch.Tensor:
    return torch.tensor([PROBABILITIES] * rows, dtype=torch.float64).log()


def distribution(**parts: float) -> torch.Tensor:
    """A row of 256 from letters; the rest is 0."""
    row = torch.zeros(256, dtype=torch.float64)
    for letter, mass in parts.items():
        row[ord(letter)] = mass
    return row / row.sum()


def test_the_first_byte_is_the_exact_marginal_of_text_tokens() -> None:
    (found,) = next_byte_targets(logits(), TABLE, [b""])
    # 0.2 + 0.02 + 0.04 + 0.1 + 0.03 + 0.02 start with t, 0.05 with a space, 0.03 with ff.
    expected = torch.zeros(256, dtype=torch.float64)
    expected[ord("t")], expected[ord(" ")], expected[255] = 0.41, 0.05, 0.03
    torch.testing.assert_close(found, expected / 0.49, rtol=1e-12, atol=1e-15)


def test_inside_a_token_only_those_that_go_on_count() -> None:
    found = next_byte_targets(logits(), TABLE, [b"t", b"th", b"the", b"\xff"], rows=[0] * 4)
    expected = [distribution(h=0.34, a=0.03), distribution(e=1.0), distribution(r=1.0)]
    torch.testing.assert_close(found[:3], torch.stack(expected), rtol=1e-12, atol=1e-15)
    assert float(found[3, 255]) == pytest.approx(1)


def test_where_a_token_starts_the_one_before_might_have_gone_on() -> None:
    found = text_byte_targets(logits(2), TABLE, [b"the", b" a"])
    assert found.shape == (5, 256)
    plain = next_byte_targets(logits(2), TABLE, [b"", b"t", b"th", b"", b" "], rows=[0, 0, 0, 1, 1])
    torch.testing.assert_close(found[[0, 1, 2, 4]], plain[[0, 1, 2, 4]])
    # E = 0.2 for "the", and C_r = 0.1 for "there": (0.2 f + 0.1 at r) / 0.3.
    expected = 0.2 * plain[3]
    expected[ord("r")] += 0.1
    torch.testing.assert_close(found[3], expected / 0.3, rtol=1e-12, atol=1e-15)


def test_the_look_back_is_the_exact_next_byte_of_two_token_texts() -> None:
    """Enumerate a language of two tokens, cut one way only; compare after its first token."""
    first = {b"a": 0.5, b"ab": 0.2, b"c": 0.3}
    second = {b"c": 0.6, b"ca": 0.3, b"x": 0.1}
    pieces = sorted({*first, *second})
    table = TokenTable(pieces, frozenset())
    rows = torch.tensor([[p.get(piece, 0.0) for piece in pieces] for p in (first, second)]).log()
    mass = torch.zeros(256)
    for (one, p), (two, q) in itertools.product(first.items(), second.items()):
        if (one + two).startswith(b"a"):
            mass[(one + two)[1]] += p * q
    found = text_byte_targets(rows, table, [b"a", b"c"])
    torch.testing.assert_close(found[1], mass / mass.sum(), rtol=1e-5, atol=1e-7)


def test_rows_sum_to_one_whatever_the_logits_and_keep_tiny_masses() -> None:
    said = torch.tensor([[0.0, 5.0, -300.0, -torch.inf, 1e4, 0.0, -310.0, 0.0, -310.0, -320.0]])
    found = next_byte_targets(said, TABLE, [b"", b"t", b"th"], rows=[0, 0, 0], temperature=1.0)
    torch.testing.assert_close(found.sum(1), torch.ones(3))
    # After "t": "the" at 0 against "ta" at -310 nats; all lie 1e4 below the largest.
    assert float(found[1, ord("h")]) == pytest.approx(1)


def test_temperature_divides_the_logits() -> None:
    found = next_byte_targets(logits(), TABLE, [b""], temperature=2.0)[0]
    roots = [math.sqrt(p) for p in PROBABILITIES]
    t = roots[0] + roots[2] + roots[3] + roots[6] + roots[8] + roots[9]
    assert float(found[ord("t")]) == pytest.approx(t / (t + roots[4] + roots[7]), abs=1e-12)


def test_a_range_of_tokens_is_found_behind_any_prefix() -> None:
    assert bytes_after(b"a\xff") == b"b"
    assert bytes_after(b"\xff\xff") is None
    assert [PIECES[i] for i in TABLE.ids[TABLE.whole(b"t")]] == [b"t", b"t"]
    assert [PIECES[i] for i in TABLE.ids[TABLE.longer(b"th")]] == [b"the", b"there"]
    assert TABLE.next_bytes(b"\xff").tolist() == [255]
    assert TABLE.next_bytes(b"zz").tolist() == []
    zeros = TokenTable([b"t\0", b"t", b"t\0\0"], frozenset())
    assert zeros.ids[zeros.whole(b"t")].tolist() == [1]
    assert zeros.ids[zeros.longer(b"t")].tolist() == [0, 2]


def test_many_rare_tokens_are_not_lost_beside_a_likely_one() -> None:
    # Each of 60000 is below half a float32 step of 1; together they are 9.1e-4.
    pieces = [b"a", b"b", *(b"a%05d" % k for k in range(60000))]
    said = torch.tensor([[0.0, 0.0, *[-18.0] * 60000]])
    found = next_byte_targets(said, TokenTable(pieces, frozenset()), [b""])[0]
    mass = 1 + 60000 * math.exp(-18)
    assert float(found[97]) == pytest.approx(mass / (1 + mass), abs=5e-7)


def test_the_loss_is_a_kl_over_bytes_with_a_checked_gradient() -> None:
    draw = torch.Generator().manual_seed(0)
    targets = text_byte_targets(logits(2), TABLE, [b"the", b" a"])
    ids = torch.randperm(259, generator=draw)[:256]
    student = torch.randn(5, 259, generator=draw, dtype=torch.float64).requires_grad_()
    value = next_byte_loss(student, targets, ids)
    ls = student[:, ids].log_softmax(1)
    expected = (torch.xlogy(targets, targets) - targets * ls).sum(1)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
    value.sum().backward()
    slope = torch.zeros_like(student)
    slope[:, ids] = (ls.exp() - targets).detach()  # the softmax's gradient: s - t
    torch.testing.assert_close(student.grad, slope, rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: next_byte_loss(x, targets, ids, divergence="jsd"), student, fast_mode=True
    )


def test_the_loss_is_zero_for_the_targets_themselves() -> None:
    targets = next_byte_targets(logits(), TABLE, [b""])
    for kind in ("forward-kl", "reverse-kl", "jsd"):
        value = next_byte_loss(targets.log(), targets, torch.arange(256), divergence=kind)
        assert float(value) == pytest.approx(0, abs=1e-12)
    assert float(next_byte_loss(targets.log().clamp(min=-9), targets, torch.arange(256))) > 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"no token goes on after b'there'"):
        next_byte_targets(logits(), TABLE, [b"there"])
    with pytest.raises(InputError, match="2 prefixes do not fit rows of 1"):
        next_byte_targets(logits(), TABLE, [b"", b"t"])
    with pytest.raises(InputError, match="1 prefixes do not fit rows of 1"):
        next_byte_targets(logits(), TABLE, [b""], rows=[1])
    with pytest.raises(VocabularyError, match="logits of 9 token ids meet a table of 10"):
        next_byte_targets(logits()[:, :9], TABLE, [b""])
    with pytest.raises(VocabularyError, match="no text token"):
        TokenTable([b"", None, b"<s>"], frozenset({2}))
    with pytest.raises(InputError, match="2 tokens, none empty, must meet 1 rows"):
        text_byte_targets(logits(), TABLE, [b"t", b"t"])
    with pytest.raises(InputError, match="b'a' is not a token"):
        text_byte_targets(logits(3), TABLE, [b"t", b"a", b"t"])


def test_a_loss_of_wrong_shapes_is_refused() -> None:
    targets, student = torch.full((2, 256), 1 / 256), torch.zeros(2, 259)
    with pytest.raises(InputError, match="256 different"):
        next_byte_loss(student, targets, torch.zeros(256, dtype=torch.int64))
    with pytest.raises(InputError, match=r"targets must be \(A, 256\)"):
        next_byte_loss(student, targets[:, :9], torch.arange(256))
    with pytest.raises(InputError, match="byte ids do not fit"):
        next_byte_loss(student[:, :200], targets, torch.arange(256))
