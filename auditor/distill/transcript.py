"""The committed training order: which texts a student saw last at which step.

A model remembers what it saw last a little better, and so does whatever derives from it. The order
was drawn at random, so a model that knows nothing of it cannot follow it: an exact test for anyone
who can compute likelihoods (Kuditipudi et al. 2025, palimpsestic membership inference). Only the
owner of a run can commit to its order, and only beforehand: the digest of this file is in
lineage.json.

JSON lines. The first: ``schema``, ``sequences`` (how many were trained on) and ``order``, what was
shuffled. Then, by rising ``position`` in the order in which the sequences were last seen: ``step``
(from 1) and ``text``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor.canon import canonical_json
from auditor.distill.batches import training_order
from auditor.distill.recipe import Recipe
from auditor.distill.sequences import Sequences
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SCHEMA = "auditor/transcript/1"
TEXTS = 2048
"""At most this many texts, evenly spread over the order, stand in the file."""


def transcript(recipe: Recipe, sequences: Sequences, tokenizer: "PreTrainedTokenizerFast") -> bytes:
    """Return the content of transcript.jsonl; the same recipe and data give the same bytes.

    Sequences that hold no text (special tokens only) are left out.
    """
    train = recipe.train
    chosen = training_order(
        sequences.lengths, steps=train.steps, batch_tokens=train.batch_tokens, seed=train.seed
    )
    order, steps = last_seen(chosen)
    lines = [{"schema": SCHEMA, "sequences": len(order), "order": "shuffled anew each epoch"}]
    # One token less than the student reads, which makes room for a start token.
    longest = recipe.data.max_length - 1
    for position in spread(len(order), TEXTS).tolist():
        text = plain_text(sequences.row(int(order[position]))[:longest].tolist(), tokenizer)
        if text.strip():
            lines.append({"position": position, "step": int(steps[position]), "text": text})
    return b"".join(canonical_json(line) + b"\n" for line in lines)


def last_seen(chosen: Sequence[Array]) -> tuple[Array, Array]:
    """Return the n distinct numbers in `chosen` by their last occurrence, and its step from 1.

    Within a step they keep the order in which they were drawn, which is random: an order of the
    numbers or of the lengths would follow the content of the texts.
    """
    numbers = np.concatenate(list(chosen))
    steps = np.repeat(np.arange(1, len(chosen) + 1), [len(rows) for rows in chosen])
    _, from_the_end = np.unique(numbers[::-1], return_index=True)
    last = np.sort(len(numbers) - 1 - from_the_end)
    return numbers[last], steps[last]


def spread(count: int, most: int) -> Array:
    """Return up to `most` of the positions 0 .. count - 1, evenly spread, ends included."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def plain_text(token_ids: Sequence[int], tokenizer: "PreTrainedTokenizerFast") -> str:
    """Return the text of a training sequence, a line break for each run of special tokens.

    Characters that the sequence cuts in two are left out.
    """
    special = set(tokenizer.all_special_ids)
    pieces: list[list[int]] = [[]]
    for token in token_ids:
        if token not in special:
            pieces[-1].append(token)
        elif pieces[-1]:
            pieces.append([])
    texts = [str(tokenizer.decode(p, clean_up_tokenization_spaces=False)) for p in pieces]
    return "\n".join(texts).strip("\ufffd\n")
