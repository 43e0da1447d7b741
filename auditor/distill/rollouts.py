"""Answers that the student itself draws while it trains, in the form of training batches."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auditor.distill.batches import padded_batch
from auditor.distill.objective import live_head
from auditor.distill.sequences import Sequences
from auditor.errors import InputError
from auditor.models.base import Head
from auditor.models.forward import check_fit, padded, refuse_overflow
from auditor.models.sampling import sample_stream
from auditor.models.shared_prefix import cache_name
from auditor.models.unembedding import logits_of
from auditor.types import Array, Decoding

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OLD = "old_logprobs"
"""Key of (N,) float64: log-probability of each target under the student that drew it."""
BEHAVIOUR = "behaviour_logprobs"
"""Key of (N,) float64: the same under what was drawn from: tempered, truncated, renormalised."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollouts:
    """B answers of the student, and the batch that scores them."""

    batch: dict[str, Tensor]
    """As `padded_batch`, with ``old_logprobs`` and ``behaviour_logprobs``; N targets."""
    completions: tuple[tuple[int, ...], ...]
    """(B) token ids; the end token is the last, where one was drawn. It is a target."""
    finished: tuple[bool, ...]
    """(B): an end token was drawn, so the answer was not cut."""

    @property
    def targets(self) -> int:
        """Tokens drawn, N."""
        return sum(map(len, self.completions))

    @property
    def empty(self) -> int:
        """Answers of nothing but an end token. They are kept: ending is what was chosen."""
        pairs = zip(self.completions, self.finished, strict=True)
        return sum(ended and len(ids) == 1 for ids, ended in pairs)

    def rows(self, tokenizer: "PreTrainedTokenizerBase", step: int) -> list[dict[str, Any]]:
        """Return a record of each answer, for a file of one row a line."""
        pairs = zip(self.completions, self.finished, strict=True)
        return [
            {
                "step": step,
                "token_ids": list(ids),
                "text": tokenizer.decode(
                    list(ids[:-1] if ended else ids), skip_special_tokens=True
                ),
                "finish_reason": "stop" if ended else "length",
            }
            for ids, ended in pairs
        ]


class Sampler:
    """Draws answers from a student in training.

    A draw depends on (seed, step, draw number, the student's weights), not on what shares the
    batch, its padding, or the number of parts: every answer has its own stream of uniform numbers,
    one a token, turned into a token by the inverse of the cumulative distribution. Logits of
    another batch differ by rounding, which changes a token only where a number falls between two
    such sums: practically never, but the same bytes are promised for the same parts alone.
    """

    def __init__(self, form: Head, decoding: Decoding, *, ends: frozenset[int], seed: int) -> None:
        """Draw from the student's head of the given form; `ends` are the ids that end an answer.

        Raises:
            InputError: temperature is not positive: the likeliest token alone is no draw, and
                weighs nothing against the teacher's.
        """
        from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        if not decoding.temperature > 0:
            raise InputError(
                f"the student must draw its answers, and temperature is {decoding.temperature}",
                hint="give a positive temperature; 1 draws from the student as it is",
            )
        self._form = form
        self._ends = ends
        self._seed = seed
        self._length = decoding.max_new_tokens
        self._warpers: list[Any] = []
        if decoding.temperature != 1:
            self._warpers.append(TemperatureLogitsWarper(float(decoding.temperature)))
        if decoding.top_k:
            self._warpers.append(TopKLogitsWarper(decoding.top_k))
        if decoding.top_p < 1:
            self._warpers.append(TopPLogitsWarper(decoding.top_p))

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self._seed

    def draw(
        self,
        module: "PreTrainedModel",
        prompts: Sequence[Sequence[int]],
        numbers: Sequence[Sequence[int]] | Array,
        step: int,
    ) -> Rollouts:
        """Return one answer to each prompt. The student is used in evaluation mode, as it stands.

        Args:
            module: the student.
            prompts: (B) token ids, none empty.
            numbers: (B, 2) of `on_policy.draw_numbers`: equal ones get equal noise.
            step: optimizer steps done; another step, other draws.

        Raises:
            InputError: no prompts, an empty prompt, or not one pair of numbers for each.
            SubjectError: prompt and answer do not fit the model, or it computes NaN.
        """
        _check_prompts(prompts, numbers)
        check_fit(module, prompts, self._length)
        noise = np.stack([self._noise(pair, step) for pair in numbers])  # (B, length)
        with torch.no_grad(), _evaluation(module):
            drawn = self._continue(module, prompts, torch.from_numpy(noise).to(module.device))
        return _rollouts(prompts, drawn, self._ends)

    def _noise(self, pair: Sequence[int] | Array, step: int) -> Array:
        stream = sample_stream(self._seed, f"rollout {int(pair[0])}.{int(pair[1])}", step)
        return stream.random_sample(self._length)

    def _continue(
        self, module: "PreTrainedModel", prompts: Sequence[Sequence[int]], noise: Tensor
    ) -> "Drawn":
        ids, mask = padded(prompts, max(map(len, prompts)), left=True)
        ids, mask = ids.to(module.device), mask.to(module.device)
        ends = torch.tensor(sorted(self._ends), dtype=torch.long, device=module.device)
        alive = torch.ones(len(prompts), dtype=torch.bool, device=module.device)
        weight, bias = live_head(module, self._form.vocabulary)
        head = replace(self._form, weight=weight, bias=bias)
        cache: Any = None
        columns: list[Drawn] = []
        for uniform in noise.T.contiguous():
            output = module.base_model(**_inputs(module, ids, mask, cache))
            cache = getattr(output, cache_name(module))
            logits = logits_of(head, output.last_hidden_state[:, -1]).double()  # (B, V)
            refuse_overflow(logits)
            columns.append(self._choose(logits, uniform))
            alive &= ~torch.isin(columns[-1].tokens, ends)
            if not bool(alive.any()):
                break
            ids = columns[-1].tokens[:, None]
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        return Drawn(*(torch.stack(parts, dim=1).cpu() for parts in zip(*columns, strict=True)))

    def _choose(self, logits: Tensor, uniform: Tensor) -> "Drawn":
        """Return (B,) tokens from (B, V) logits and (B,) numbers in [0, 1)."""
        warped = logits.clone()
        for warper in self._warpers:
            warped = warper(None, warped)
        cumulative = warped.softmax(-1).cumsum(-1)
        # The last sum is now exactly 1, above every number: a token without mass is never taken.
        cumulative = cumulative / cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, uniform[:, None], right=True)  # (B, 1)
        old, behaviour = (
            values.log_softmax(-1).gather(1, tokens)[:, 0] for values in (logits, warped)
        )
        return Drawn(tokens[:, 0], old, behaviour)


class Drawn(NamedTuple):
    """Tokens and their log-probabilities, (B,) of one position or (B, n) of all."""

    tokens: Tensor
    old: Tensor
    behaviour: Tensor


def _check_prompts(
    prompts: Sequence[Sequence[int]], numbers: Sequence[Sequence[int]] | Array
) -> None:
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError("the student answers prompts of at least one token", hint="give some")
    if len(numbers) != len(prompts):
        raise InputError(f"{len(prompts)} prompts and {len(numbers)} draw numbers do not match")


@contextlib.contextmanager
def _evaluation(module: "PreTrainedModel") -> Iterator[None]:
    """Switch dropout off inside the block, and the cache on: gradient checkpointing forbids it."""
    training = module.training
    module.train(False)
    try:
        yield
    finally:
        module.train(training)


def _inputs(module: "PreTrainedModel", ids: Tensor, mask: Tensor, cache: Any) -> dict[str, Any]:
    """Return what the body reads next: (B, n) new tokens after what the cache holds."""
    inputs = {"input_ids": ids, "attention_mask": mask, cache_name(module): cache}
    # Models without positions (ALiBi, recurrent) take no such argument.
    if "position_ids" in inspect.signature(module.base_model.forward).parameters:
        inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return {**inputs, "use_cache": True}


def _rollouts(prompts: Sequence[Sequence[int]], drawn: Drawn, ends: frozenset[int]) -> Rollouts:
    completions, finished = [], []
    for row in drawn.tokens.tolist():
        stop = next((place for place, token in enumerate(row) if token in ends), None)
        completions.append(tuple(row if stop is None else row[: stop + 1]))
        finished.append(stop is not None)
    rows = [[*prompt, *reply] for prompt, reply in zip(prompts, completions, strict=True)]
    store = Sequences(
        tokens=np.concatenate([np.array(row, dtype=np.int32) for row in rows]),
        offsets=np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64),
        first=np.array([len(prompt) for prompt in prompts], dtype=np.int32),
        generated=np.zeros(len(rows), dtype=bool),  # the teacher wrote nothing here
    )
    batch = padded_batch(store, range(len(rows)))
    for name, values in ((OLD, drawn.old), (BEHAVIOUR, drawn.behaviour)):
        kept = [values[row, : len(reply)] for row, reply in enumerate(completions)]
        batch[name] = torch.cat(kept)
    return Rollouts(batch=batch, completions=tuple(completions), finished=tuple(finished))
