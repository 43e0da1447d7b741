"""The exact tests for marks that a distillation run committed to, on a suspect model.

The key, the tests and their level were fixed before training; the ledger holds the commitment. A
model that was not trained on the run's data gives uniform p-values, whatever it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.canaries import canary_sets, canary_test
from auditor.distill.finished_run import FinishedRun
from auditor.distill.marks import Reveal, read_reveal
from auditor.errors import InputError
from auditor.types import Decoding, Probe

if TYPE_CHECKING:
    from auditor.models.base import Model

SCHEMA = "auditor/mark-tests/1"


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

    finished = FinishedRun(run)
    marks = finished.bodies("marks")
    if not marks:
        raise InputError(f"the run {run} committed to no marks", hint="its recipe has no key marks")
    committed = marks[0]["commitment"]
    shown = read_reveal(reveal or run / "marks-reveal.json", committed)
    model = open_model(suspect)
    try:
        tests = {}
        if shown.spec["canaries"] is not None:
            tests["canaries"] = _canaries(shown, model)
        if shown.spec["green_list"] is not None:
            tests["green_list"] = _green_list(shown, model, finished, prompts, seed)
    finally:
        model.close()
    alpha = shown.spec["alpha"]
    return {
        "schema": SCHEMA,
        "suspect": suspect,
        "commitment": committed,
        "alpha": alpha,
        "tests": {
            name: {**test, "found": test["p_value"] <= alpha} for name, test in tests.items()
        },
    }


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
    found = canary_test(sets, np.split(losses, bounds))
    return {"p_value": found.p_value, "ranks": list(found.ranks), "of": choice["siblings"] + 1}


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
        "scored": found.scored,
        "green": found.green,
        "expected_share": choice["fraction"],
        "answers": len(samples),
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
