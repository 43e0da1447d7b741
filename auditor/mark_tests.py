"""The exact tests for marks that a distillation run committed to, on a suspect model.

The key, the tests and their level were fixed before training; the ledger holds the commitment. A
model that was not trained on the run's data gives uniform p-values, whatever it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.canaries import canary_sets, canary_test
from auditor.distill.finished_run import FinishedRun
from auditor.distill.marks import Reveal, read_reveal
from auditor.errors import InputError
from auditor.kernels.exact_ranks import SMALLEST_P, smallest_p
from auditor.types import Decoding, Probe

if TYPE_CHECKING:
    from auditor.models.base import Model

SCHEMA = "auditor/mark-tests/1"
OBSERVED = "observed"
"""Key of a test's result under which it keeps what the model said."""
MarkTest = Callable[["Model", Sequence[Probe], int], dict[str, Any]]
"""(model, prompts for a green list, seed of the answers) -> p-value and what it rests on."""


def mark_tests(
    run: Path, suspect: str, prompts: Sequence[Probe], *, reveal: Path | None = None, seed: int = 0
) -> dict[str, Any]:
    """Return the result of every test that a run committed to, on the suspect.

    Args:
        run: folder of the finished run.
        suspect: specifier; canaries need its log-probabilities, green lists its answers.
        prompts: which the suspect answers, for a green list.
        reveal: the file with the key; that of the run folder if None.
        seed: of the answers.

    Raises:
        InputError: the run committed to nothing, or the key is not the committed one.
        AccessError: the suspect gives no log-probabilities.
        UndefinedError: nothing can be tested.
    """
    from auditor.models.specifier import open_model

    marks = committed_marks(run, reveal)
    model = open_model(suspect)
    try:
        tests = {name: test(model, prompts, seed) for name, test in marks.tests.items()}
    finally:
        model.close()
    return {
        "schema": SCHEMA,
        "suspect": suspect,
        "commitment": marks.commitment,
        "alpha": marks.alpha,
        "tests": {
            name: {
                **{key: value for key, value in test.items() if key != OBSERVED},
                "found": test["p_value"] <= marks.alpha,
            }
            for name, test in tests.items()
        },
    }


@dataclass(frozen=True, slots=True)
class CommittedMarks:
    """The marks of a run, their key shown and found to be the committed one."""

    finished: FinishedRun
    shown: Reveal

    @property
    def commitment(self) -> str:
        """What the ledger holds since before training."""
        return self.shown.commitment

    @property
    def alpha(self) -> float:
        """The level that was fixed before training."""
        return float(self.shown.spec["alpha"])

    @property
    def tests(self) -> dict[str, "MarkTest"]:
        """The tests that the run committed to, by name."""
        spec = self.shown.spec
        known: dict[str, MarkTest] = {"canaries": self._canaries, "green_list": self._green_list}
        return {name: test for name, test in known.items() if spec[name] is not None}

    def _canaries(self, model: "Model", prompts: Sequence[Probe], seed: int) -> dict[str, Any]:
        del prompts, seed  # the canaries are the prompts, and nothing is drawn
        return _canaries(self.shown, model)

    def _green_list(self, model: "Model", prompts: Sequence[Probe], seed: int) -> dict[str, Any]:
        return _green_list(self.shown, model, self.finished, prompts, seed)


def committed_marks(run: Path, reveal: Path | None = None) -> CommittedMarks:
    """Return the marks of a finished run.

    Args:
        run: its folder.
        reveal: the file with the key; that of the run folder if None.

    Raises:
        CaseError: it is no finished run.
        InputError: the run committed to nothing, or the key is not the committed one.
    """
    finished = FinishedRun(run)
    marks = finished.bodies("marks")
    if not marks:
        raise InputError(f"the run {run} committed to no marks", hint="its recipe has no key marks")
    shown = read_reveal(reveal or run / "marks-reveal.json", marks[0]["commitment"])
    return CommittedMarks(finished, shown)


def _canaries(shown: Reveal, model: "Model") -> dict[str, Any]:
    choice = shown.spec["canaries"]
    sets = canary_sets(
        shown.key,
        choice["sets"],
        siblings=choice["siblings"],
        form=choice["form"],
        length=choice["length"],
    )
    texts = [text for one in sets for text in one.sequences]
    losses = np.array([-float(score.logprobs.sum()) for score in model.score(texts)])
    bounds = np.cumsum([len(one.sequences) for one in sets])[:-1]
    parts = np.split(losses, bounds)  # (sets)(m + 1)
    found = canary_test(sets, parts)
    size = choice["siblings"] + 1
    return {
        "p_value": found.p_value,
        "floor": smallest_p([size] * len(sets)),
        "ranks": list(found.ranks),
        "of": size,
        OBSERVED: {"losses_nats": [part.tolist() for part in parts]},
    }


def _green_list(
    shown: Reveal,
    model: "Model",
    finished: FinishedRun,
    prompts: Sequence[Probe],
    seed: int,
) -> dict[str, Any]:
    from auditor.distill.green_list import retokenized
    from auditor.kernels.green_tokens import GreenHash, green_test

    choice = shown.spec["green_list"]
    tokenizer = _teacher_tokenizer(finished, choice["tokenizer_digest"])
    samples = list(model.sample(prompts, 1, Decoding(max_new_tokens=128), seed))
    answers = [(sample.prompt, sample.text) for sample in samples]
    lists = GreenHash(shown.key, window=choice["window"], fraction=choice["fraction"])
    found = green_test(lists, retokenized(tokenizer, answers))
    return {
        "p_value": found.p_value,
        # Where every window that was scored is green.
        "floor": max(choice["fraction"] ** found.scored, SMALLEST_P),
        "scored": found.scored,
        "green": found.green,
        "expected_share": choice["fraction"],
        "answers": len(samples),
        OBSERVED: {"prompts": [p for p, _ in answers], "answers": [a for _, a in answers]},
    }


def _teacher_tokenizer(finished: FinishedRun, digest: str) -> Any:
    from auditor.models.loading import load_tokenizer
    from auditor.models.source import locate
    from auditor.models.specifier import identify, parse

    spec = finished.lineage["teacher"]["spec"]
    found = identify(spec).tokenizer_digest
    if found != digest:
        raise InputError(
            f"the tokenizer of {spec} is not the one that the marks were made with",
            hint="restore the teacher's tokenizer: green lists are lists of its token ids",
        )
    return load_tokenizer(locate(parse(spec)))
