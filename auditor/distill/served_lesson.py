"""The answers of a teacher behind a server: drawn once, and read again as distributions.

RUN/exchanges.jsonl keeps every attempt. Distributions are read from it, so that nothing is asked
twice; prompts are shown to the student as it writes them itself, and answers by the tokens that the
server drew.
"""

import contextlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from auditor.canon import file_digest
from auditor.distill.cache import Identity
from auditor.distill.cache_rows import Arrays, encode
from auditor.distill.capture import Reader
from auditor.distill.data import own_prompts
from auditor.distill.generate import decoding_of
from auditor.distill.recipe import Recipe
from auditor.distill.run_folder import RunFolder
from auditor.distill.sequences import Sequences
from auditor.distill.served import served_logits
from auditor.distill.served_tokens import Taught, TokenIds, taught
from auditor.errors import AccessError, VocabularyError
from auditor.kernels.sparse import TopKTargets
from auditor.models.openai_replies import Reply, shows_raw_bytes
from auditor.models.vocabulary import vocabulary_of
from auditor.types import Probe, Sample

if TYPE_CHECKING:
    from auditor.distill.student import Student
    from auditor.models.openai_server import OpenAIServer

_MOST_OTHER = 1 / 3
"""Share of tokens that the student's tokenizer may write in another way: a 135M-parameter model at
temperature 1 drew 1 in 15 so, and another tokenizer gives most of them."""


def open_teacher(recipe: Recipe, folder: RunFolder, vocabulary: int) -> "OpenAIServer":
    """Return the recipe's teacher; what it answered in this run is answered from the record.

    Raises:
        SubjectError, MissingExtraError: as `auditor.models.openai_server.open_server`.
        CaseError: the record was changed.
    """
    from auditor.models.exchange_log import ExchangeLog
    from auditor.models.openai_server import open_server
    from auditor.models.specifier import parse

    cache = recipe.method.cache
    asked = min(cache.k, vocabulary) if cache is not None and served_logits(recipe) else None
    specifier = parse(recipe.subject(recipe.teacher or ""))
    return open_server(specifier, log=ExchangeLog(folder.exchanges), top_logprobs=asked)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """Answers with the distributions that they were drawn from."""

    answers: list[Sample]
    """As `AnswerFormat` takes them unchanged: prompt and answer in the student's ids."""
    record: dict[str, Any]
    """What a lineage says about them."""
    taught: list[Taught]
    max_length: int
    """Inputs after which a sequence is cut off."""

    def reader(self) -> Reader:
        """Return what gives the arrays of a cache for the sequences made of these answers."""
        found: dict[bytes, Taught] = {}
        for sample, rows in zip(self.answers, self.taught, strict=True):
            ids = [*sample.prompt_ids, *sample.token_ids][: self.max_length + 1]
            # The same tokens drawn twice: one distribution, up to the server's rounding.
            found.setdefault(np.asarray(ids, np.int32).tobytes(), rows)

        def read(identity: Identity, store: Sequences, rows: list[int]) -> Arrays:
            parts = [(found[store.row(row).tobytes()], int(store.targets[row])) for row in rows]
            top = [part.top_ids[:count] for part, count in parts]
            logprobs = [part.logprobs[:count] for part, count in parts]
            tail = [part.tail[:count] for part, count in parts]
            targets = TopKTargets(
                ids=torch.from_numpy(np.concatenate(top)),
                logprobs=torch.from_numpy(np.concatenate(logprobs)),
                tail_mass=torch.from_numpy(np.concatenate(tail)),
            )
            return encode(targets, identity.vocabulary)

        return read


def lesson(
    recipe: Recipe,
    folder: RunFolder,
    prompts: Sequence[Probe],
    answers: Sequence[Sample],
    student: "Student",
) -> Lesson:
    """Return what the recorded answers teach; asks the server only for what is not on record.

    Args:
        recipe: with method logits and a teacher behind a server.
        folder: of the run.
        prompts: that were answered.
        answers: in order of (prompt, repeat).
        student: whose tokenizer is declared to be the teacher's.

    Raises:
        VocabularyError: a token of the server is not exactly one of the student's.
        AccessError: too few log-probabilities, or none that belongs to the text.
        ServerError: what came are no log-probabilities.
    """
    vocabulary = vocabulary_of(student.tokenizer)
    show = own_prompts(student)
    end, sampling = student.tokenizer.eos_token_id, recipe.data.sampling
    cache = recipe.method.cache
    k = min(cache.k if cache else 0, vocabulary.size)
    samples, found = [], []
    with contextlib.closing(open_teacher(recipe, folder, vocabulary.size)) as teacher:

        def recorded(number: int) -> Reply:
            probe, repeat = prompts[number // sampling.samples], answers[number].repeat
            return teacher.reply(probe, repeat, decoding_of(sampling), sampling.seed)

        raw = any(shows_raw_bytes(recorded(number)) for number in range(len(answers)))
        ids = TokenIds(vocabulary, raw=raw)
        for number, sample in enumerate(answers):
            probe = prompts[number // sampling.samples]
            rows = taught(recorded(number), ids, end=end, k=k)
            found.append(rows)
            # Its own end token is in the answer, if the server weighed it: none is to be added.
            shown = replace(sample, finish_reason="length", token_ids=rows.token_ids)
            samples.append(replace(shown, prompt_ids=tuple(show(probe))))
    other = _otherwise_written(answers, found, student, ids)
    return Lesson(
        answers=samples,
        record={**_record(answers, found, k), "tokens_written_otherwise": other},
        taught=found,
        max_length=recipe.data.max_length,
    )


def _otherwise_written(
    answers: Sequence[Sample], found: Sequence[Taught], student: "Student", ids: TokenIds
) -> int:
    """Return how many tokens the student's tokenizer would not put where the server drew them.

    A model draws such a token rarely. The last of an answer may be one because it was cut off, and
    is not counted.

    Raises:
        VocabularyError: more than one in three: the two are not one tokenizer.
    """
    other = drawn = 0
    for sample, rows in zip(answers, found, strict=True):
        written = student.tokenizer(sample.text, add_special_tokens=False)["input_ids"]
        places = ids.places(rows.token_ids[:-1])
        drawn += len(places)
        other += len(places - ids.places(written))
    if other > drawn * _MOST_OTHER:
        raise VocabularyError(
            f"the student's tokenizer writes the answers with other tokens: {other} of {drawn} "
            "that the server drew are not among them",
            hint="name the owner of the teacher's own tokenizer for the student, or use method "
            "sequence",
        )
    return other


def _record(answers: Sequence[Sample], found: Sequence[Taught], k: int) -> dict[str, Any]:
    positions = sum(len(rows.token_ids) for rows in found)
    dropped = sum(rows.dropped for rows in found)
    if not positions:
        raise AccessError(
            f"of {dropped} positions whose log-probabilities came, none lines up with the text of "
            "its answer",
            hint="use method sequence",
        )
    ended = sum(sample.finish_reason == "stop" for sample in answers)
    return {
        "k": k,
        "positions": positions,
        "positions_dropped": dropped,
        "ends_without_distribution": ended - sum(rows.ends for rows in found),
        "mean_tail_mass": math.fsum(float(rows.tail.sum()) for rows in found) / positions,
    }


def exchanges_record(path: Path) -> dict[str, Any] | None:
    """Return what a lineage says about the attempts of a run; None where nobody was asked."""
    if not path.is_file():
        return None
    attempts = answered = 0
    usage: Counter[str] = Counter()
    with path.open("rb") as stream:
        for line in stream:
            entry = json.loads(line)
            attempts += 1
            answered += entry["answered"]
            usage.update(_usage(entry))
    return {
        "attempts": attempts,
        "answered": answered,
        "usage": dict(sorted(usage.items())),
        "digest": file_digest(path),
    }


def _usage(entry: dict[str, Any]) -> dict[str, int]:
    """Return the whole numbers of a reply's ``usage``: prompt_tokens, completion_tokens, ..."""
    if not entry["answered"] or "body" not in entry:
        return {}
    usage = json.loads(entry["body"]).get("usage")
    counts = usage.items() if isinstance(usage, dict) else ()
    return {name: value for name, value in counts if type(value) is int}
