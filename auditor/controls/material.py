"""What the members of a pack train on: tokenizers, token streams, and the windows of a step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.controls.recipe import TextChoice, TokenizerChoice
from auditor.distill.corpus import generate_corpus
from auditor.models.byte_tokenizer import BOS, EOS, PAD, byte_alphabet, byte_tokenizer
from auditor.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def documents_of(choice: TextChoice, own_seed: int) -> list[str]:
    """Return the documents that a choice names; `own_seed` stands for ``own``."""
    seed = own_seed if choice.seed == "own" else choice.seed
    return list(generate_corpus(choice.corpus, seed=seed, documents=choice.documents))


def build_tokenizer(choice: TokenizerChoice) -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a choice; the same choice gives the same ids."""
    if choice.kind == "bytes" or choice.vocabulary is None:
        return byte_tokenizer()
    documents = [text for part in choice.texts for text in documents_of(part, 0)]
    return bpe_tokenizer(documents, choice.vocabulary)


def bpe_tokenizer(documents: Sequence[str], vocabulary: int) -> "PreTrainedTokenizerFast":
    """Return a byte-level BPE of `vocabulary` ids: 256 bytes, merges, and three specials.

    A text gets the start token in front; chats are written as by the byte tokenizer.
    """
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    core: Any = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    specials = [BOS, EOS, PAD]
    trainer: Any = trainers.BpeTrainer(
        vocab_size=vocabulary - len(specials),
        initial_alphabet=list(byte_alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(documents, trainer)
    core.add_special_tokens(specials)
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    build: Any = transformers.PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = build(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = byte_tokenizer().chat_template
    return tokenizer


def token_stream(tokenizer: "PreTrainedTokenizerFast", documents: Sequence[str]) -> Array:
    """Return (n,) int32: every document between the start and the end token."""
    encoded = tokenizer(list(documents), add_special_tokens=True)["input_ids"]
    end: Any = tokenizer.eos_token_id
    return np.concatenate([np.array([*ids, end], dtype=np.int32) for ids in encoded])


class Windows:
    """Random windows of some streams: the training sequences of one member."""

    def __init__(self, own: Array, imitated: Array | None, dose: float, seed: int) -> None:
        """Draw from `own`, and with probability `dose` from `imitated` (of the teacher)."""
        self._own = own
        self._imitated = imitated
        self._dose = dose if imitated is not None else 0.0
        self._random = np.random.RandomState(seed)

    def draw(self, sequences: int, length: int) -> tuple[Array, Array]:
        """Return (sequences, length + 1) int64 tokens and (sequences,) bool: is it imitation."""
        chosen = self._random.random_sample(sequences) < self._dose
        tokens = np.empty((sequences, length + 1), dtype=np.int64)
        for row, imitation in enumerate(chosen):
            stream = self._imitated if imitation and self._imitated is not None else self._own
            start = self._random.randint(0, len(stream) - length)
            tokens[row] = stream[start : start + length + 1]
        return tokens, chosen
