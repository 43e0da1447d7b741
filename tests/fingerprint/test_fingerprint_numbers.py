"""The numbers of a fingerprint beside what transformers itself gives, and how few of them leave."""

import dataclasses

import numpy as np
import pytest
import torch
from command_line import TINY
from transformers import AutoModelForCausalLM

from auditor.errors import InputError
from auditor.fingerprint.making import ProbeRows, Sketching, probe_rows, projected_states
from auditor.fingerprint.plan import LEAST_RATIO, Agreed, terms_of
from auditor.fingerprint.precision import precision_rows
from auditor.fingerprint.tensors import sketched_tensors
from auditor.models import open_model
from auditor.models.replies_only import prompt_text
from auditor.progress import Silent

AGREED = Agreed(suites=("ood",), probes=3, positions=5)
TERMS = terms_of(AGREED)
VOCABULARY = 600


@pytest.fixture(scope="module")
def teacher_rows():
    model = open_model("tiny:teacher", dtype="float32")
    try:
        return list(probe_rows(model, TERMS.probes, AGREED.positions))
    finally:
        model.close()


def one_hot_rows(vocabulary: int) -> ProbeRows:
    """Return a position for each token, at which the model is sure of it."""
    logp = torch.full((vocabulary, vocabulary), -torch.inf, dtype=torch.float64)
    logp.fill_diagonal_(0.0)
    numbers = np.arange(vocabulary)
    return ProbeRows(
        probe=0, byte_ends=numbers, logp=logp, targets=numbers[::-1].copy(), mean_state=np.zeros(4)
    )


def one_hot_arrays(seed: int) -> dict[str, np.ndarray]:
    terms = terms_of(dataclasses.replace(AGREED, seed=seed))
    sketching = Sketching(VOCABULARY, 4, terms)
    sketching.add(one_hot_rows(VOCABULARY))
    return sketching.arrays()


def test_rows_are_what_transformers_expects_of_the_tokens_that_follow(teacher_rows):
    model = AutoModelForCausalLM.from_pretrained(TINY / "teacher", dtype=torch.float32)
    for rows, probe in zip(teacher_rows, TERMS.probes, strict=True):
        raw = prompt_text(probe).encode()
        ids = [256, *raw]  # a byte is a token; 256 starts every text
        with torch.inference_mode():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        # Evenly spaced from the first scored position to the last; after it the text ends.
        assert len(rows.byte_ends) == AGREED.positions
        assert (rows.byte_ends[0], rows.byte_ends[-1]) == (0, len(raw) - 1)
        assert np.ptp(np.diff(rows.byte_ends)) <= 1
        assert rows.targets.tolist() == [raw[end] for end in rows.byte_ends]
        expected = out.logits[0, rows.byte_ends].double().log_softmax(dim=1)
        torch.testing.assert_close(rows.logp, expected, atol=2e-5, rtol=0)
        states = out.hidden_states[-1][0].double().mean(dim=0)
        np.testing.assert_allclose(rows.mean_state, states.numpy(), atol=1e-5)


def test_the_log_probability_that_leaves_is_that_of_the_following_token(teacher_rows):
    sketching = Sketching(259, 96, TERMS)
    for rows in teacher_rows:
        sketching.add(rows)
    expected = [
        float(row[target])
        for rows in teacher_rows
        for row, target in zip(rows.logp, rows.targets, strict=True)
    ]
    np.testing.assert_allclose(sketching.arrays()["logp"], expected, rtol=1e-6)


def test_an_excluded_token_is_a_number_and_no_infinity():
    logp = one_hot_arrays(0)["logp"]
    assert np.isfinite(logp).all()
    assert logp.min() == -1e4


def test_a_bucket_is_no_part_of_a_token_id():
    first, second = (one_hot_arrays(seed)["top1"].astype(int) for seed in (0, 1))
    # By chance two of 256 buckets agree at 1 of 256 tokens: 2.3 of 600.
    assert np.sum(first == np.arange(VOCABULARY) % 256) < 12
    assert np.sum(first == second) < 12
    # 600 balls into 256 boxes leave 256 exp(-600/256) = 25 of them empty.
    assert 215 < len(set(first)) < 250


@pytest.mark.parametrize(("width", "k", "kept"), [(10, 256, 5), (10, 3, 3), (1, 256, 1)])
def test_of_a_state_at_most_half_as_many_numbers_leave(width, k, kept):
    assert projected_states(np.ones((4, width)), k, 0).shape == (4, kept)


def test_the_limit_is_true_two_seeds_of_a_narrow_model_give_its_states_back():
    from auditor.kernels.sketches import gaussian

    states = np.random.RandomState(1).standard_normal((5, 96))
    sent = [projected_states(states, 256, seed) for seed in (0, 1)]  # 48 numbers each
    drawn = [gaussian(96, 48, seed, "hidden").double().numpy() / np.sqrt(48) for seed in (0, 1)]
    found = np.linalg.solve(np.concatenate(drawn, axis=1).T, np.concatenate(sent, axis=1).T).T
    np.testing.assert_allclose(found, states, atol=1e-3)


@pytest.mark.parametrize(("width", "k", "kept"), [(96, 256, 48), (4096, 256, 256)])
def test_the_readme_is_true_about_the_numbers_of_a_state(width, k, kept):
    assert min(k, width // 2) == kept
    assert projected_states(np.ones((1, width)), k, 0).shape == (1, kept)


def test_a_projected_state_keeps_its_length_on_average():
    states = np.random.RandomState(0).standard_normal((1, 40))
    drawn = [np.sum(projected_states(states, 20, seed) ** 2) for seed in range(400)]
    # A relative deviation of sqrt(2 / 20) each, of a twentieth of that in the mean of 400.
    assert np.mean(drawn) / np.sum(states**2) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("size", [32, 128])
def test_no_sketch_has_more_than_a_sixteenth_of_the_numbers_of_its_matrix(size):
    terms = terms_of(dataclasses.replace(AGREED, tensor_projections=size))
    found = sketched_tensors("tiny:teacher", terms, Silent())
    sketched = [row for row in found.rows if row["blocks"]]
    assert LEAST_RATIO == 16
    assert 0 < len(sketched) < len(found.rows)
    for row in sketched:
        assert row["blocks"] * size * 16 <= np.prod(row["shape"]), row["name"]
    assert found.sums.shape == (sum(row["blocks"] for row in sketched), size)


def test_terms_can_ask_for_nothing_of_the_weights():
    terms = terms_of(dataclasses.replace(AGREED, tensor_projections=0))
    found = sketched_tensors("tiny:teacher", terms, Silent())
    assert (found.rows, found.sums) == ([], None)
    assert "ask for no sketch" in found.missing["tensors"]


def test_the_error_of_several_draws_is_the_root_of_their_mean_square():
    specs = ("tiny:sibling", "tiny:teacher")
    once, twice = (
        {row["measure"]: row for row in precision_rows(specs, AGREED, [256], draws=draws)}
        for draws in (1, 2)
    )
    for name in ("logit-js", "logit-hellinger"):
        full = once[name]["full"]
        first = once[name]["sketched"] - full
        assert once[name]["rms_error"] == pytest.approx(abs(first))
        second = 2 * (twice[name]["sketched"] - full) - first
        assert abs(first - second) > 1e-6  # the second draw is another one
        expected = np.sqrt((first**2 + second**2) / 2)
        assert twice[name]["rms_error"] == pytest.approx(expected, rel=1e-6)


def test_a_probe_of_one_token_gives_no_row():
    model = open_model("tiny:teacher", dtype="float32")
    try:
        short = dataclasses.replace(TERMS.probes[0], text="")
        assert [r.probe for r in probe_rows(model, (short, TERMS.probes[1]), 3)] == [1]
    finally:
        model.close()
    with pytest.raises(InputError, match="two tokens or more"):
        Sketching(259, 96, TERMS).arrays()
