"""Continuations of one batch of prompts, each drawn from its own stream of noise."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from auditor.models.forward import check_fit, padded
from auditor.models.offloaded import input_device
from auditor.models.quiet import quiet
from auditor.models.sampling import processors, sample_stream
from auditor.types import Decoding, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Job:
    """One sample to draw."""

    probe_id: str
    repeat: int
    prompt: str
    prompt_ids: tuple[int, ...]
    seed: int


def generate_batch(
    module: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    jobs: Sequence[Job],
    decoding: Decoding,
    vocabulary: int,
    extra: Sequence[Any] = (),
) -> list[Sample]:
    """Return the sample of each job, from one padded batch.

    `extra` are further logits processors, which run before temperature.

    Raises:
        SubjectError: a prompt and its reply do not fit the positions that the model learned.
    """
    import torch
    from transformers import LogitsProcessorList

    prompts = [job.prompt_ids for job in jobs]
    check_fit(module, prompts, decoding.max_new_tokens)
    longest = max(map(len, prompts))
    ids, mask = padded(prompts, longest, left=True)
    ends = end_tokens(module, tokenizer)
    streams = [sample_stream(job.seed, job.probe_id, job.repeat) for job in jobs]
    steps = processors(decoding, vocabulary=vocabulary, streams=streams, ends=ends, extra=extra)
    with torch.inference_mode(), quiet(), _plain_generation(module, ends, decoding):
        generator: Any = module
        output = generator.generate(
            input_ids=ids.to(input_device(module)),
            attention_mask=mask.to(input_device(module)),
            logits_processor=LogitsProcessorList(steps),
        )
    replies = output[:, longest:].tolist()
    return [_sample(job, reply, tokenizer, ends) for job, reply in zip(jobs, replies, strict=True)]


def end_tokens(module: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> frozenset[int]:
    """Return every id that ends a reply: of the generation config, the config and the tokenizer."""
    ends: set[int] = set()
    for holder in (module.generation_config, module.config.get_text_config(), tokenizer):
        value = getattr(holder, "eos_token_id", None)
        ends.update([value] if isinstance(value, int) else value or [])
    return frozenset(ends)


@contextlib.contextmanager
def _plain_generation(
    module: "PreTrainedModel", ends: frozenset[int], decoding: Decoding
) -> Iterator[None]:
    """Replace the model's own decoding habits (penalties, top-k) by nothing, inside the block."""
    import transformers

    configuration: Any = transformers.GenerationConfig
    kept = module.generation_config
    module.generation_config = configuration(
        do_sample=False,
        max_new_tokens=decoding.max_new_tokens,
        eos_token_id=sorted(ends) or None,
        pad_token_id=min(ends, default=0),
        use_cache=True,
    )
    try:
        yield
    finally:
        module.generation_config = kept


def _sample(
    job: Job, reply: list[int], tokenizer: "PreTrainedTokenizerFast", ends: frozenset[int]
) -> Sample:
    stop = next((index for index, token in enumerate(reply) if token in ends), None)
    kept = reply if stop is None else reply[:stop]
    reason: Literal["stop", "length"] = "length" if stop is None else "stop"
    return Sample(
        probe_id=job.probe_id,
        repeat=job.repeat,
        prompt=job.prompt,
        prompt_ids=job.prompt_ids,
        token_ids=tuple(kept),
        text=str(
            tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        ),
        finish_reason=reason,
    )
