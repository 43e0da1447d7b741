"""A subject whose weights are at hand, run by transformers."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from auditor.errors import AccessError, SubjectError
from auditor.models.base import Encoded, Head
from auditor.models.batching import plan_batches, roomy_budget
from auditor.models.digest import reference
from auditor.models.forward import embedding_rows, final_states, learned_positions
from auditor.models.generation import Job, generate_batch
from auditor.models.loading import Loaded, load_transformers
from auditor.models.offloaded import real_parameters
from auditor.models.shared_prefix import ending_states, shares_prefixes
from auditor.models.specifier import Specifier
from auditor.models.text_encoding import TextEncoder
from auditor.models.unembedding import head_of, logits_of
from auditor.models.vocabulary import Vocabulary, vocabulary_of
from auditor.types import Array, Decoding, ModelRef, Probe, Sample, Score

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_LOGIT_CHUNK = 1 << 22  # logits held at a time: 32 MiB in float64
_COLLECTED = 1 << 22  # parameters of a model whose memory is worth collecting at once


class TransformersModel:
    """Implements `auditor.models.base.Model` at access WEIGHTS."""

    def __init__(self, loaded: Loaded, ref: ModelRef, *, batch_tokens: int = 2048) -> None:
        self._ref = ref
        self._loaded: Loaded | None = loaded
        self._batch_tokens = batch_tokens
        self._roomy_tokens = roomy_budget(batch_tokens, ref.parameters)
        self._vocabulary = vocabulary_of(loaded.tokenizer, embedding_rows(loaded.module))
        self.processors: tuple[Any, ...] = ()
        """Further logits processors of `sample`, run before temperature."""
        self._encoder = TextEncoder(loaded.tokenizer, self._vocabulary)
        self._head: Head | None = None
        self._shares_prefixes: bool | None = None
        self._longest = learned_positions(loaded.module)

    @property
    def ref(self) -> ModelRef:
        """Identity; the type is the one the forward passes run in."""
        return self._ref

    @property
    def placement(self) -> dict[str, str] | None:
        """The device of each module, where the specifier or ``--device auto`` spread them."""
        placement = self._open().placement
        return None if placement is None else dict(placement)

    @property
    def module(self) -> "PreTrainedModel":
        """The module, in evaluation mode."""
        return self._open().module

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer."""
        return self._open().tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """The id -> bytes map."""
        return self._vocabulary

    def render(self, probe: Probe) -> str:
        """Return the prompt of `probe`: a text as it is, a chat after the model's template.

        Without a chat template the contents are joined by newlines.

        Raises:
            SubjectError: the template refuses the chat (some know no system role).
        """
        if probe.text is not None:
            return probe.text
        turns = [{"role": m.role, "content": m.content} for m in probe.messages]
        if not self.tokenizer.chat_template:
            return "\n".join(turn["content"] for turn in turns)
        from jinja2 import TemplateError

        try:
            return str(
                self.tokenizer.apply_chat_template(
                    turns, add_generation_prompt=True, tokenize=False
                )
            )
        except TemplateError as error:
            raise SubjectError(
                f"the chat template of {self._ref.spec} refuses probe {probe.id}: {error}",
                hint="leave out the suite with such probes (--suite)",
            ) from error

    def encode(self, text: str) -> Encoded:
        """Return the ids of `text` after the start token, where the model uses one."""
        return self._encoder.encode(text)

    def prompt(self, probe: Probe) -> Encoded:
        """Return the ids that the model is given for `probe`, never empty.

        A chat template writes the start token itself, or leaves it out on purpose; a raw text
        gets it from the tokenizer. A model without one is started with its end token where the
        prompt is empty.

        Raises:
            SubjectError: nothing can start the model on an empty prompt.
        """
        templated = probe.text is None and bool(self.tokenizer.chat_template)
        encoded = self._encoder.encode(self.render(probe), start=not templated)
        if encoded.token_ids:
            return encoded
        starts = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        start = next((token for token in starts if token is not None), None)
        if start is None:
            raise SubjectError(f"{self._ref.spec} has no start token for the empty {probe.id}")
        return Encoded(token_ids=(start,), byte_ends=(0,))

    def sample(
        self, probes: Sequence[Probe], n: int, decoding: Decoding, seed: int
    ) -> Iterator[Sample]:
        """Yield n samples for each probe, in order of (probe, repeat).

        The draw depends on (seed, probe id, repeat); rounding of the logits still varies with
        the batch, so equal bytes need equal `probes`, n and budget too.
        """
        prompts = [(probe, self.render(probe), self.prompt(probe).token_ids) for probe in probes]
        jobs = [Job(probe.id, r, text, ids, seed) for probe, text, ids in prompts for r in range(n)]
        lengths = [len(job.prompt_ids) + decoding.max_new_tokens for job in jobs]
        waiting: dict[int, Sample] = {}
        done = 0
        for batch in plan_batches(lengths, self._roomy_tokens):
            drawn = generate_batch(
                self.module,
                self.tokenizer,
                [jobs[index] for index in batch],
                decoding,
                self._vocabulary.size,
                self.processors,
            )
            waiting.update(zip(batch, drawn, strict=True))
            while done in waiting:
                yield waiting.pop(done)
                done += 1

    def score(self, texts: Sequence[str]) -> Iterator[Score]:
        """Yield the float64 log-probabilities of the tokens of each text, in order.

        Without a start token the first token is predicted by nothing and left out. A text of
        no scorable token gives arrays of length 0.
        """
        encoded = [self._encoder.encode(text) for text in texts]
        states = self.hidden([item.token_ids for item in encoded])
        for item, hidden in zip(encoded, states, strict=True):
            yield self._score(item, hidden)

    def _score(self, item: Encoded, hidden: "torch.Tensor") -> Score:
        ids = np.asarray(item.token_ids, dtype=np.int64)
        ends = np.asarray(item.byte_ends, dtype=np.int64)
        return Score(
            token_ids=ids[1:],
            logprobs=self._logprobs(hidden[:-1], ids[1:]),
            byte_ends=ends[1:],
            first_byte=int(ends[0]) if len(ends) else 0,
        )

    def _logprobs(self, hidden: "torch.Tensor", targets: Array) -> Array:
        """Return (T,) log-probabilities of `targets` (T,), predicted from `hidden` (T, D)."""
        import torch

        head = self.head()
        rows = max(1, _LOGIT_CHUNK // head.vocabulary)
        found = np.zeros(len(targets))
        with torch.inference_mode():
            for start in range(0, len(targets), rows):
                part = hidden[start : start + rows].to(head.weight.device)
                logits = logits_of(head, part).double()  # (rows, V)
                wanted = torch.from_numpy(targets[start : start + rows]).to(logits.device)
                chosen = logits.gather(1, wanted[:, None])[:, 0]
                found[start : start + rows] = (chosen - logits.logsumexp(dim=1)).cpu().numpy()
        return np.minimum(found, 0.0)  # one ulp above zero is rounding

    def hidden(self, sequences: Sequence[Sequence[int]]) -> Iterator["torch.Tensor"]:
        """Yield (T, D) final hidden states, after the last norm, one per sequence, in order."""
        waiting: dict[int, torch.Tensor] = {}
        done = 0
        for batch in plan_batches([len(s) for s in sequences], self._batch_tokens):
            states = self.hidden_batch([sequences[index] for index in batch])
            waiting.update(zip(batch, states, strict=True))
            while done in waiting:
                yield waiting.pop(done)
                done += 1

    def hidden_batch(
        self, sequences: Sequence[Sequence[int]], *, padding_side: str = "right"
    ) -> list["torch.Tensor"]:
        """Return (T, D) final hidden states of each sequence, from one forward pass of them all.

        The same sequences in the same order give the same bits.

        Raises:
            SubjectError: a sequence is longer than the positions that the model learned, or
                holds an id beyond its vocabulary.
        """
        return final_states(self.module, sequences, padding_side=padding_side)

    @property
    def longest(self) -> int | None:
        """Number of positions that the model learned; None for computed ones."""
        return self._longest

    @property
    def shares_prefixes(self) -> bool:
        """Whether `hidden_after` reads a prefix once; recurrent architectures do not."""
        if self._shares_prefixes is None:
            self._shares_prefixes = shares_prefixes(self.module, self._vocabulary.size)
        return self._shares_prefixes

    def hidden_after(
        self, prefix: Sequence[int], endings: Sequence[Sequence[int]]
    ) -> "list[torch.Tensor]":
        """Return the (T, D) final hidden states of each ending, at least a token, after `prefix`.

        Raises:
            SubjectError: as `hidden_batch`.
        """
        if not prefix or not self.shares_prefixes:
            whole = self.hidden([[*prefix, *ending] for ending in endings])
            return [states[len(prefix) :] for states in whole]
        lengths = [len(prefix) + len(ending) for ending in endings]
        batches = plan_batches(lengths, self._roomy_tokens)
        grouped = [[endings[index] for index in batch] for batch in batches]
        found: dict[int, torch.Tensor] = {}
        for batch, states in zip(batches, ending_states(self.module, prefix, grouped), strict=True):
            found.update(zip(batch, states, strict=True))
        return [found[index] for index in range(len(endings))]

    def head(self) -> Head:
        """Return the unembedding, cut to the real vocabulary; no copy of the weights.

        Raises:
            AccessError: the architecture has a head of another kind.
        """
        if self._head is None:
            self._head = head_of(self.module, self._vocabulary.size)
        return self._head

    def tensors(self) -> Iterable[tuple[str, Array]]:
        """Yield (name, array) of every weight in float32, sorted by name; tied ones once."""
        for name, weight in real_parameters(self.module):
            yield name, weight.float().cpu().numpy().copy()

    def close(self) -> None:
        """Free the memory of the weights."""
        import gc

        import torch

        self._loaded = self._head = None
        if (self._ref.parameters or 0) > _COLLECTED:
            gc.collect()  # which takes a fraction of a second
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _open(self) -> Loaded:
        if self._loaded is None:
            raise AccessError(f"{self._ref.spec} was closed")
        return self._loaded


def open_transformers(
    specifier: Specifier, *, device: str | None, dtype: str | None, batch_tokens: int
) -> TransformersModel:
    """Return the model of a specifier whose weights are at hand; see `open_model`."""
    loaded = load_transformers(specifier, device=device, dtype=dtype, spread=True)
    ref = reference(specifier, source=loaded.source, tokenizer=loaded.tokenizer)
    ran_in = str(loaded.module.dtype).removeprefix("torch.")
    return TransformersModel(loaded, replace(ref, dtype=ran_in), batch_tokens=batch_tokens)
