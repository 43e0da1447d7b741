"""From documents and answers to the token sequences of the student: training part and holdout."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.distill.digests import Digests, digests_of
from auditor.distill.documents import Sources, Split, document_digest, prompt_text, split_holdout
from auditor.distill.filter_items import Item, PickedItems
from auditor.distill.filters import run_filters
from auditor.distill.held_out import by_category, held_documents
from auditor.distill.on_demand import OnDemand
from auditor.distill.recipe_data import Data
from auditor.distill.sequences import Row, Sequences, document_rows, sequences
from auditor.types import Access, Array, ModelRef, Probe, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from auditor.distill.student import Student


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingData:
    """Sequences to train on and to measure on."""

    train: Sequences
    holdout: Sequences | None
    """None where nothing is held out."""
    categories: tuple[str, ...]
    """Of each held-out sequence."""
    record: dict[str, Any]
    """What a lineage says about the data: counts, digests, what was left out and why."""
    filtered_answers: frozenset[int] = frozenset()
    """Positions of the answers that a filter dropped."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnswerFormat:
    """How the student is shown an answer of the teacher."""

    tokenizer: "PreTrainedTokenizerFast"
    """The student's."""
    prompt_ids: Callable[[Probe], Sequence[int]] | None
    """The student's own rendering; None where it writes prompts and answers with the teacher's ids,
    which are then taken as they are."""

    def row(self, probe: Probe, sample: Sample) -> Row:
        """Return the prompt's and the answer's tokens; the answer's are the targets.

        A finished answer ends with the student's end token, one cut off by its budget does not.
        """
        if self.prompt_ids is None:
            prompt, answer = list(sample.prompt_ids), list(sample.token_ids)
        else:
            prompt = list(self.prompt_ids(probe))
            answer = list(self.tokenizer(sample.text, add_special_tokens=False)["input_ids"])
        if sample.finish_reason == "stop" and self.tokenizer.eos_token_id is not None:
            answer.append(self.tokenizer.eos_token_id)
        return [*prompt, *answer], len(prompt), True


def training_data(
    data: Data,
    sources: Sources,
    answers: Sequence[Sample],
    form: AnswerFormat,
    inserted: Sequence[str] = (),
    pack: Callable[[Iterable[Row]], Sequences] = sequences,
) -> TrainingData:
    """Return the sequences of a recipe. Answers come in order of (prompt, repeat).

    `inserted` documents are trained on after those of the sources, and never held out. `pack`
    makes a store of the rows to train on, or takes one that it made of them before.

    Raises:
        RecipeError: nothing is left to train on, or a filter drops every answer.
        MissingExtraError: a filter needs a package that is not installed.
    """
    dropped, records = _filtered(data, sources, answers)
    documents = split_holdout(sources.documents.digests, data.holdout)
    prompts = split_holdout(sources.prompts.digests, data.holdout)
    answered = AnswerRows(data, sources, answers, form, dropped)

    texts = chain(sources.documents.pick(documents.train), inserted)
    written = document_rows(texts, form.tokenizer, data.max_length, packing=data.packing)
    of_answers = answered.of(prompts.train)
    train = pack(chain(written, of_answers))
    # Where `pack` had them already, the answers are still to be counted.
    deque(of_answers, maxlen=0)
    held = held_documents(data, sources, documents.holdout, form.tokenizer)
    asked = sources.prompts.pick(prompts.holdout)
    for category, some in by_category(probe.category for probe in asked).items():
        held.add(category, answered.of(prompts.holdout[some]))
    holdout, categories = held.sequences()
    return TrainingData(
        train=train,
        holdout=holdout,
        categories=categories,
        record={
            "sources": dict(sorted(sources.digests.items())),
            "documents": part_record(documents, sources.documents.digests),
            "prompts": part_record(prompts, sources.prompts.digests),
            "left_out": {**answered.left_out, "repeated_prompts": sources.repeated},
            "filters": [*sources.filters, *records],
            "flags": sources.flags,
            "train_sequences": len(train),
            "train_targets": int(train.targets.sum()),
            "holdout_targets": 0 if holdout is None else int(holdout.targets.sum()),
        },
        filtered_answers=dropped,
    )


def _filtered(
    data: Data, sources: Sources, answers: Sequence[Sample]
) -> tuple[frozenset[int], tuple[dict[str, Any], ...]]:
    """Return the positions of the answers that filters drop, and what each filter did.

    Answers without text are not among them: nothing in them can be filtered, and room that is kept
    for answers of the student looks the same.
    """
    if data.filters is None:
        return frozenset(), ()
    digests = digests_of(document_digest(sample.text) for sample in answers)
    written = np.flatnonzero([bool(sample.text) for sample in answers])
    items = PickedItems(AnswerItems(sources, answers, data.sampling.samples), written)
    left = run_filters(data.filters, "answers", items, digests.pick(written))
    return frozenset(np.delete(written, left.kept).tolist()), left.records


class AnswerItems(OnDemand[Item]):
    """What a filter reads of each answer, fetched when it is asked for."""

    def __init__(self, sources: Sources, answers: Sequence[Sample], repeats: int) -> None:
        self._prompts = sources.prompts
        self._answers = answers
        self._repeats = repeats

    def __len__(self) -> int:
        return len(self._answers)

    def member(self, index: int) -> Item:
        """Return one item."""
        prompt = self._prompts[index // self._repeats]
        return Item(text=self._answers[index].text, prompt=prompt_text(prompt))


class AnswerRows:
    """The rows of answers, cut to max_length inputs, and a count of what had to be left out."""

    def __init__(
        self,
        data: Data,
        sources: Sources,
        answers: Sequence[Sample],
        form: AnswerFormat,
        dropped: frozenset[int],
    ) -> None:
        self._data = data
        self._prompts = sources.prompts
        self._answers = answers
        self._form = form
        self._dropped = dropped
        self.left_out = {"empty_answers": 0, "too_long_prompts": 0}

    def of(self, prompts: Array) -> Iterator[Row]:
        """Yield the rows of the prompts at these positions."""
        repeats = self._data.sampling.samples if len(self._answers) else 0
        for index in prompts.tolist():
            for number in range(index * repeats, (index + 1) * repeats):
                if number not in self._dropped:
                    yield from self._row(self._prompts[index], self._answers[number])

    def _row(self, prompt: Probe, answer: Sample) -> Iterator[Row]:
        longest = self._data.max_length
        ids, first, generated = self._form.row(prompt, answer)
        if not answer.token_ids and not answer.text:
            self.left_out["empty_answers"] += 1
        elif first > longest:
            self.left_out["too_long_prompts"] += 1
        else:
            yield ids[: longest + 1], first, generated


def part_record(split: Split, digests: Digests) -> dict[str, Any]:
    """Return ``{"train" | "holdout": {"count", "digest"}}`` of a split."""
    return {
        name: {"count": len(part), "digest": digests.pick(part).in_order().json_digest()}
        for name, part in (("train", split.train), ("holdout", split.holdout))
    }


def own_prompts(student: "Student") -> Callable[[Probe], Sequence[int]]:
    """Return how the student itself renders a prompt to ids: as an audit of it would."""
    from auditor.models.loading import Loaded
    from auditor.models.source import Source
    from auditor.models.specifier import Specifier
    from auditor.models.transformers_model import TransformersModel

    nowhere = Source(path=Path(), specifier=Specifier(scheme="local"), config={})
    loaded = Loaded(module=student.module, tokenizer=student.tokenizer, source=nowhere)
    model = TransformersModel(loaded, ModelRef(spec="student", access=Access.WEIGHTS))
    return lambda probe: model.prompt(probe).token_ids
