"""Marks in real students: found where they were trained on, uniform p-values where they were not.

Three students of one start are trained together: on a teacher's plain answers, on its answers under
a green list, and on plain answers with canaries. How much of a mark is enough is measured in
reports/benchmarks/distillation.md.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import binom, kstest

from auditor.controls.ensemble import train
from auditor.controls.ensemble_lessons import Batch, Lessons, Recipe
from auditor.controls.ensemble_shape import Shape
from auditor.controls.ensemble_weights import Stacked, member_weights, stack_weights
from auditor.controls.material import Windows, token_stream
from auditor.data import data_dir
from auditor.distill.canaries import canary_documents, canary_sets, canary_test
from auditor.distill.corpus import generate_corpus
from auditor.distill.green_list import GreenListProcessor, retokenized
from auditor.kernels.green_tokens import GreenHash, GreenTest, green_test
from auditor.models.specifier import open_model
from auditor.types import Decoding, Probe, Sample

pytestmark = pytest.mark.slow

SHAPE = Shape(
    architecture="llama",
    vocabulary=512,
    hidden=48,
    layers=2,
    heads=4,
    intermediate=128,
    positions=320,
)
PLAIN, GREEN, CANARIES = range(3)
STEPS = 200
STUDENT_PROMPTS, AUDIT_PROMPTS = (77, 400), (78, 128)


def key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def lists(name: str) -> GreenHash:
    return GreenHash(key(name), window=1, fraction=0.25)


def prompts(seed: int, count: int) -> list[Probe]:
    """The first six words of documents."""
    texts = generate_corpus("stories", seed=seed, documents=count)
    return [
        Probe(id=f"d{number}", category="prompt", text=" ".join(text.split()[:6]))
        for number, text in enumerate(texts)
    ]


def answers(model: Any, asked: Sequence[Probe], green: GreenHash | None = None) -> list[Sample]:
    model.processors = () if green is None else (GreenListProcessor(green, 2.0),)
    return list(model.sample(asked, 1, Decoding(max_new_tokens=128), 0))


def trained(streams: list[np.ndarray], start: str) -> Stacked:
    """Students of one start, each on windows of its own stream."""
    state = load_file(data_dir("probes") / "packs/zoo/models" / start / "model.safetensors")
    windows = [Windows(stream, None, 0.0, seed=1) for stream in streams]

    def batches(step: int) -> Batch:
        rows = [one.draw(5, 128)[0] for one in windows]
        return Batch(tokens=torch.from_numpy(np.stack(rows)))

    weights = stack_weights(SHAPE, [{k: v.float() for k, v in state.items()}] * len(streams))
    recipe = Recipe(steps=STEPS, learning_rate=0.004)
    return train(SHAPE, weights, Lessons(batches=batches), recipe).weights


@pytest.fixture(scope="module")
def world() -> Any:
    """What each student says, as ids of its teacher's tokenizer, and its canary tests."""
    model: Any = open_model("tiny:zoo/reference-00", batch_tokens=1 << 15)
    asked, tokenizer = prompts(*STUDENT_PROMPTS), model.tokenizer
    plain, green = (
        [sample.prompt + sample.text for sample in answers(model, asked, marked_by)]
        for marked_by in (None, lists("run"))
    )
    sets = canary_sets(key("run"), 20, siblings=99)
    with_canaries = np.random.RandomState(0).permutation([*plain, *canary_documents(sets, 4)])
    streams = [token_stream(tokenizer, list(texts)) for texts in (plain, green, with_canaries)]
    weights = trained(streams, "other-stories-01")
    texts = [text for of_set in sets for text in of_set.sequences]
    said, known = [], {}
    for student in range(len(streams)):
        model.module.load_state_dict(member_weights(SHAPE, weights, student))
        drawn = answers(model, prompts(*AUDIT_PROMPTS))
        said.append(retokenized(tokenizer, [(sample.prompt, sample.text) for sample in drawn]))
        if student in (PLAIN, CANARIES):
            losses = np.array([-float(score.logprobs.sum()) for score in model.score(texts)])
            known[student] = canary_test(sets, list(losses.reshape(len(sets), -1)))
    return said, known


def found_in(world: Any, student: int, green: GreenHash) -> GreenTest:
    said, _ = world
    return green_test(green, said[student])


def test_a_student_of_marked_answers_prefers_green_tokens(world):
    found = found_in(world, GREEN, lists("run"))
    assert found.p_value < 1e-6
    assert found.green / found.scored > 0.28


@pytest.mark.parametrize("student", [PLAIN, GREEN])
def test_p_is_uniform_for_keys_that_were_not_used(world, student):
    # Discrete p: P(S' > s) + V P(S' = s) is uniform exactly.
    random, found = np.random.RandomState(0), []
    for number in range(100):
        test = found_in(world, student, lists(f"other {number}"))
        mass = float(binom.pmf(test.green, test.scored, 0.25))
        found.append(test.p_value - random.uniform() * mass)
    assert kstest(found, "uniform").pvalue > 0.01


def test_a_student_of_plain_answers_has_no_mark(world):
    assert found_in(world, PLAIN, lists("run")).p_value > 0.001


def test_canaries_are_found_where_they_were_trained_on(world):
    _, known = world
    assert known[CANARIES].p_value < 1e-6
    assert known[PLAIN].p_value > 0.001
