"""Candidates for a watch, edits of them, and which are kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from server_process import model_server

from auditor.cli.main import run
from auditor.collect.first_answers import answers_of_logits
from auditor.collect.short_questions import candidates, edited
from auditor.enrolment.asking import Answered, Asking, Deployment
from auditor.enrolment.baseline import Enrolling, enrol
from auditor.enrolment.choice import near_ties, tied_questions, varied_questions
from auditor.errors import InputError
from auditor.models import open_model
from auditor.models.tiny import tiny_folder
from auditor.progress import Silent
from auditor.types import Message, Probe
from auditor.watching import Watching, watch

HOW = Asking(temperature=0.1, draws=100, seed=0, device=None)
ONE = Deployment(spec="tiny:teacher", dtype="float32", attention=None, exact=True)


def chat(text: str) -> Probe:
    return Probe(id="p", category="pair", messages=(Message(role="user", content=text),))


def tie(nats: float, names: str = "ab") -> dict[str, float]:
    share = 1.0 / (1.0 + np.exp(-nats / HOW.temperature))
    return dict(zip(names, (share, 1.0 - share), strict=True))


def answered(rows: list[dict[str, float]], system: str | None = None, draws: int | None = None):
    counts = [draws] * len(rows)
    return Answered(deployment=ONE, system=system, draws=counts, answers=rows)


def test_an_edit_differs_by_a_word_or_its_end():
    text = "Which is better, salt or sugar?"
    found = edited(chat(text), 60, np.random.RandomState(0))
    texts = [probe.messages[-1].content for probe in found]
    assert len(set(texts)) == len(texts) > 40
    assert text not in texts
    # another round of edits of the same question: an id stands for one text
    again = [*found, *edited(chat(text), 60, np.random.RandomState(1))]
    named = {(probe.id, probe.messages[-1].content) for probe in again}
    assert len({name for name, _ in named}) == len(named) == len({text for _, text in named})
    kinds = set()
    for one in texts:
        words, before = one.split(), text.split()
        if one.startswith(text):
            kinds.add("after")
            assert len(words) == len(before) + 1
        elif one.endswith(text):
            kinds.add("before")
            assert len(words) == len(before) + 1
        elif text.startswith(one):
            kinds.add("cut")
            assert 1 <= len(text) - len(one) <= 4
        else:
            kinds.add("replaced")
            assert sum(a != b for a, b in zip(words, before, strict=True)) == 1
    assert kinds == {"after", "before", "cut", "replaced"}


def test_edits_of_a_short_text_are_never_empty_and_leave_earlier_messages():
    system = Message(role="system", content="Be brief.")
    probe = Probe(id="p", category="pair", messages=(system, Message(role="user", content="So?")))
    for one in edited(probe, 40, np.random.RandomState(1)):
        assert one.messages[0] == system
        assert one.messages[-1].content.strip()


def test_the_same_seed_gives_the_same_candidates_each_text_once():
    texts = [probe.messages[-1].content for probe in candidates(200, 3)]
    assert texts == [probe.messages[-1].content for probe in candidates(200, 3)]
    assert len(texts) == 200
    assert len(set(texts)) > 190


def test_the_nearest_that_every_pass_leaves_wide_enough_are_kept():
    first = answered([tie(0.5), tie(0.35), tie(0.32), tie(0.9)])
    other = answered([tie(0.5), tie(0.2), tie(0.31), tie(0.9)])
    # at least a margin of 0.1 and two temperatures of 0.1: the second drops to 0.2 in a pass
    assert near_ties([first, other], [0.1], 0.1, 4) == [2, 0, 3]


def test_the_wider_margin_counts_that_of_other_questions_or_their_own():
    rows = [tie(0.30 + 0.05 * k) for k in range(8)]
    narrow = answered([tie(0.26 + 0.05 * k) for k in range(8)])  # drops by 0.04 each
    probes = [chat(f"q{k}") for k in range(8)]
    own = tied_questions(probes, [answered(rows), narrow], {None: 0.01}, HOW, 8)
    assert own.margins == {(ONE.spec, None): pytest.approx(0.05)}
    assert [p.messages[0].content for p in own.probes] == [f"q{k}" for k in range(8)]
    wide = tied_questions(probes, [answered(rows), narrow], {None: 0.2}, HOW, 8)
    assert wide.margins == {(ONE.spec, None): 0.2}
    # gaps of 0.4 and more: from 0.26 + 3 x 0.05 on
    assert [p.messages[0].content for p in wide.probes] == [f"q{k}" for k in range(3, 8)]
    assert wide.passes[0].answers == rows[3:]


def test_too_few_near_ties_are_refused():
    probes = [chat(f"q{k}") for k in range(5)]
    passes = [answered([tie(0.05)] * 2 + [tie(0.9)] * 3)]
    with pytest.raises(InputError, match="only 3 of 5 questions"):
        tied_questions(probes, passes, {None: 0.0}, HOW, 5)


def test_drawn_questions_vary_and_no_pass_of_theirs_is_kept():
    rows = [{"a": 0.5, "b": 0.5}] * 4 + [{"a": 1.0}] * 4
    probes = [chat(f"q{k}") for k in range(8)]
    found = varied_questions(probes, [answered(rows, draws=100)], 100, 0.25, 8)
    assert [p.messages[0].content for p in found.probes] == ["q0", "q1", "q2", "q3"]
    assert (found.passes, found.margins, found.temperature) == ([], {}, 0.25)
    with pytest.raises(InputError, match="only 0 of 8"):
        varied_questions(probes, [answered([{"a": 1.0}] * 8, draws=100)], 100, 0.25, 8)


def test_the_first_answers_are_told_however_low_the_temperature():
    import torch

    model = open_model("tiny:teacher", dtype="float32")
    logits = torch.full((model.vocabulary.size,), -20.0)
    letters = [model.tokenizer.encode(letter)[-1] for letter in "abcdefgh"]
    logits[letters] = torch.tensor([5.0, 4.9, 4.8, 4.7, 4.6, 4.5, 4.4, 4.3])
    found = answers_of_logits(model, logits, 0.01)
    model.close()
    assert sorted(found, key=lambda text: -found[text]) == list("abcdef")
    # 0.1 nats are 10 of log-odds at a temperature of 0.01
    assert np.log(found["a"]) - np.log(found["b"]) == pytest.approx(10.0, rel=1e-5)
    assert np.log(found["b"]) - np.log(found["f"]) == pytest.approx(40.0, rel=1e-5)


def outcome(spec: str, baseline: dict[str, Any], queries: int) -> str:
    model = open_model(spec)
    try:
        found = watch(model, baseline, Watching(seed=3, queries=queries), Silent())
    finally:
        model.close()
    return str(found["outcome"])


def test_a_model_behind_a_server_is_enrolled_by_its_draws(tmp_path: Path) -> None:
    with model_server(tiny_folder("zoo/reference-00"), tmp_path) as server:
        wanted = Enrolling(spec=server.spec(), candidates=16, cells=4, draws=60, temperature=0.5)
        found = enrol(wanted, Silent())
        assert {p["draws"] for group in found["groups"] for p in group["passes"]} == {60}
        assert [group["margin"] for group in found["groups"]] == [0.0, 0.0]
        same = outcome(server.spec(), found, 30)
        other = outcome("tiny:zoo/gpt2-00", found, 150)
    assert same == "no change seen"
    assert other == "changed"


def test_another_deployment_is_enrolled_with_the_subject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = "tiny:zoo/reference-00"
    path, also = tmp_path / "both.json", f"local:{tiny_folder('zoo/reference-00')}"
    words = ["--candidates", "80", "--cells", "8", "--also", also]
    assert run(["watch", spec, "--enrol", str(path), *words]) == 0
    assert "12 deployments in 4 groups" in capsys.readouterr().out
    groups = json.loads(path.read_bytes())["groups"]
    assert [group["spec"] for group in groups] == [spec, spec, also, also]
