"""From documents and answers to the token sequences of the student: training part and holdout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.canon import digest, json_digest
from auditor.distill.documents import Sources, Split, prompt_digest, prompt_text, split_holdout
from auditor.distill.filter_items import Item
from auditor.distill.filters import Filtered, run_filters
from auditor.distill.held_out import held_documents
from auditor.distill.recipe_data import Data
from auditor.distill.sequences import Row, Sequences, document_rows, sequences
from auditor.types import Access, ModelRef, Probe, Sample

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
) -> TrainingData:
    """Return the sequences of a recipe. Answers come in order of (prompt, repeat).

    `inserted` documents are trained on after those of the sources, and never held out.

    Raises:
        RecipeError: nothing is left to train on, or a filter drops every answer.
        MissingExtraError: a filter needs a package that is not installed.
    """
    with_text = [number for number, sample in enumerate(answers) if sample.text]
    left = _filtered(data, sources, answers, with_text)
    dropped = frozenset(with_text).difference(with_text[position] for position in left.kept)
    documents = split_holdout([digest(text.encode()) for text in sources.documents], data.holdout)
    prompts = split_holdout([prompt_digest(probe) for probe in sources.prompts], data.holdout)
    rows, left_out = _answer_rows(data, sources, answers, form, dropped)

    texts = [*(sources.documents[index] for index in documents.train), *inserted]
    written = document_rows(texts, form.tokenizer, data.max_length, packing=data.packing)
    train = sequences([*written, *(row for index in prompts.train for row in rows[index])])
    held = held_documents(data, sources, documents.holdout, form.tokenizer)
    for index in prompts.holdout:
        held.add(sources.prompts[index].category, rows[index])
    holdout, categories = held.sequences(data.holdout_tokens)
    return TrainingData(
        train=train,
        holdout=holdout,
        categories=categories,
        record={
            "sources": dict(sorted(sources.digests.items())),
            "documents": _part_record(documents, [digest(t.encode()) for t in sources.documents]),
            "prompts": _part_record(prompts, [prompt_digest(p) for p in sources.prompts]),
            "left_out": {**left_out, "repeated_prompts": sources.repeated},
            "filters": [*sources.filters, *left.records],
            "flags": sources.flags,
            "train_sequences": len(train),
            "train_targets": int(train.targets.sum()),
            "holdout_targets": 0 if holdout is None else int(holdout.targets.sum()),
        },
        filtered_answers=dropped,
    )


def _filtered(
    data: Data, sources: Sources, answers: Sequence[Sample], written: Sequence[int]
) -> Filtered:
    """Return what the filters leave of the answers at the positions `written`.

    Those without text are not among them: nothing in them can be filtered, and room that is kept
    for answers of the student looks the same.
    """
    if data.filters is None:
        return Filtered(kept=tuple(range(len(written))), records=())
    prompts = [prompt_text(probe) for probe in sources.prompts]
    repeats = data.sampling.samples
    items = [Item(text=answers[n].text, prompt=prompts[n // repeats]) for n in written]
    return run_filters(data.filters, "answers", items, [digest(i.text.encode()) for i in items])


def _answer_rows(
    data: Data,
    sources: Sources,
    answers: Sequence[Sample],
    form: AnswerFormat,
    dropped: frozenset[int],
) -> tuple[list[list[Row]], dict[str, int]]:
    """Return the rows of each prompt, cut to max_length inputs, and what had to be left out."""
    rows: list[list[Row]] = [[] for _ in sources.prompts]
    left_out = {"empty_answers": 0, "too_long_prompts": 0}
    for number, sample in enumerate(answers):
        if number in dropped:
            continue
        index = number // data.sampling.samples
        ids, first, generated = form.row(sources.prompts[index], sample)
        if not sample.token_ids and not sample.text:
            left_out["empty_answers"] += 1
        elif first > data.max_length:
            left_out["too_long_prompts"] += 1
        else:
            rows[index].append((ids[: data.max_length + 1], first, generated))
    return rows, left_out


def _part_record(split: Split, digests: Sequence[str]) -> dict[str, Any]:
    return {
        name: {"count": len(part), "digest": json_digest(sorted(digests[i] for i in part))}
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
