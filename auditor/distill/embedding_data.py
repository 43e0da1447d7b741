"""From documents to the texts that an encoder is trained on and measured on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditor.distill.data import TrainingData, part_record
from auditor.distill.documents import Sources, split_holdout
from auditor.distill.embedding_folder import EncoderFolder, encoder_tokenizer
from auditor.distill.held_out import TEXT
from auditor.distill.recipe_data import Data
from auditor.distill.sequences import Row, sequences
from auditor.errors import RecipeError
from auditor.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EncoderTexts:
    """Texts with what the run's records say of them."""

    train: tuple[str, ...]
    holdout: tuple[str, ...]
    data: TrainingData
    """The texts as the student's tokens, sequence n for text n; a text counts one token less than
    it has: without the one at its start."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every text that the teacher embeds."""
        return (*self.train, *self.holdout)


def encoder_texts(
    data: Data, sources: Sources, tokenizer: "PreTrainedTokenizerFast", max_tokens: int
) -> EncoderTexts:
    """Return the texts of a recipe: a document each, cut after `max_tokens` of the student.

    Held-out texts are taken up to about ``data.holdout_tokens``.

    Raises:
        RecipeError: nothing is left to train on, or a text has no token for the student.
    """
    digests = sources.documents.digests
    split = split_holdout(digests, data.holdout)
    rows = token_rows(sources.documents, tokenizer, max_tokens)
    train = sequences(rows[index] for index in split.train)
    held = [rows[index] for index in split.holdout]
    holdout = sequences(held).head(data.holdout_tokens) if held else None
    measured = split.holdout[: 0 if holdout is None else len(holdout)]
    return EncoderTexts(
        train=tuple(sources.documents.pick(split.train)),
        holdout=tuple(sources.documents.pick(measured)),
        data=TrainingData(
            train=train,
            holdout=holdout,
            categories=tuple(
                row.category or TEXT for row in sources.documents.pick(measured).rows()
            ),
            record={
                "sources": dict(sorted(sources.digests.items())),
                "documents": part_record(split, digests),
                "filters": list(sources.filters),
                "flags": sources.flags,
                "train_sequences": len(train),
                "train_targets": int(train.targets.sum()),
                "holdout_texts": len(measured),
                "holdout_targets": 0 if holdout is None else int(holdout.targets.sum()),
            },
        ),
    )


def check_readable(teacher: EncoderFolder, texts: EncoderTexts) -> None:
    """Refuse texts of which the teacher would see nothing.

    Raises:
        RecipeError: there is one.
    """
    token_rows(texts.all, encoder_tokenizer(teacher), teacher.max_tokens, "teacher")


def token_rows(
    texts: Sequence[str],
    tokenizer: "PreTrainedTokenizerFast",
    max_tokens: int | None,
    reader: str = "student",
) -> list[Row]:
    """Return the tokens of each text, as rows of `auditor.distill.sequences`.

    Raises:
        RecipeError: a text has none: only characters that the tokenizer drops.
    """
    if not texts:
        return []
    with quiet():
        encoded = tokenizer(list(texts), truncation=max_tokens is not None, max_length=max_tokens)[
            "input_ids"
        ]
    special = tokenizer.num_special_tokens_to_add()
    for number, (text, ids) in enumerate(zip(texts, encoded, strict=True), start=1):
        if len(ids) <= max(special, 1):
            raise RecipeError(
                f"text {number} ({text[:40]!r}) has no token that the {reader} could read",
                hint=f"leave it out, or take a {reader} whose tokenizer knows its characters",
            )
    return [(ids, 1, True) for ids in encoded]
