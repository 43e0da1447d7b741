"""A watermark in the teacher's answers, which a student trained on them inherits in part.

At each draw the logits of the tokens that are green after the last w tokens are raised by d
(Kirchenbauer et al. 2023, arXiv 2301.10226). A student of such answers prefers green tokens too:
"radioactivity" (Sander et al. 2024, arXiv 2402.14904). The test is
`auditor.kernels.green_tokens.green_test`, on the token ids of the teacher's tokenizer.

Limits: paraphrase, or a mark taken out while sampling, removes it (arXiv 2502.11598), so that no
finding is no sign of innocence; greedy answers carry it only where d turns the best token over;
distributions of the teacher carry it only if the raised logits are the ones that were stored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor

from auditor.errors import InputError
from auditor.kernels.green_tokens import GreenHash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class GreenListProcessor(LogitsProcessor):
    """Raises the logits of green tokens; a step of ``generate``, before temperature and top-p."""

    def __init__(self, lists: GreenHash, bias: float) -> None:
        """Take the lists and the bias.

        Args:
            lists: of the run's key.
            bias: d > 0 in nats, added to the logits of green tokens.

        Raises:
            InputError: the bias is not a positive number.
        """
        if not 0.0 < bias < float("inf"):
            raise InputError(
                f"the bias of green tokens is a positive number, not {bias:g}",
                hint="1 to 4 are usual",
            )
        self._lists = lists
        self._bias = bias

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return (B, V) raised logits; unchanged where fewer than w tokens came before.

        Args:
            input_ids: (B, L) tokens so far, the padding to the left.
            scores: (B, V) logits of the next token.
        """
        window = self._lists.window
        if input_ids.shape[1] < window:
            return scores
        green = self._lists.mask(input_ids[:, -window:], scores.shape[1])  # (B, V)
        return torch.where(green, scores + self._bias, scores)


def retokenized(
    tokenizer: "PreTrainedTokenizerBase", answers: Sequence[tuple[str, str]]
) -> list[tuple[list[int], list[int]]]:
    """Return (prompt ids, answer ids) of texts of any model, as `green_test` takes them.

    Args:
        tokenizer: the marked teacher's; a suspect may have another.
        answers: (prompt, answer) texts.
    """
    return [(_ids(tokenizer, prompt), _ids(tokenizer, answer)) for prompt, answer in answers]


def _ids(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
