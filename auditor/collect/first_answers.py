"""The first token of a reply: how likely each is, or one draw. What `auditor watch` asks for.

One token is cheap, and a low temperature makes it telling: where two answers are nearly tied, the
difference of their logits is divided by the temperature, so a small change of the weights moves
many answers while a change of the number type moves few.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from auditor.errors import AccessError
from auditor.models import parse
from auditor.models.base import Model
from auditor.types import Decoding, Message, Probe, Sample

if TYPE_CHECKING:
    import torch

    from auditor.models.transformers_model import TransformersModel

DRAWN_TEMPERATURE = 0.25
"""Where no logits are at hand: an answer that is given now and then is seen among few draws."""
EXACT_TEMPERATURE = 0.01
"""Where they are: the gaps are known, and a change of 0.1 nats turns a near tie over."""
_LONGEST = 40
"""Characters of an answer that are kept: one token is shorter, a server may send more."""
_RARE = 1e-3
"""Tokens less likely than this are not spelled out, but for the first of them."""
_FIRST = 6
"""Tokens that are, so that the gaps between them are known however low the temperature is."""


def decoding(temperature: float) -> Decoding:
    """Return how the first token is drawn."""
    return Decoding(temperature=temperature, max_new_tokens=1)


def with_system(probe: Probe, system: str | None) -> Probe:
    """Return a chat with a system message before it; the same probe without one."""
    if system is None:
        return probe
    messages = (Message(role="system", content=system), *probe.messages)
    return dataclasses.replace(probe, messages=messages)


def answer_of(text: str) -> str:
    """Return what is compared of a reply: engines differ in the space before it."""
    return text.strip()[:_LONGEST]


def check_draws(spec: str) -> None:
    """Refuse a subject whose answers are no draws: a recording repeats its one reply.

    Raises:
        AccessError: it is one.
    """
    if parse(spec).scheme == "records":
        raise AccessError(
            f"{spec} repeats what was recorded: each repetition would count as a new answer",
            hint="watch the endpoint itself; auditor compare takes recorded replies",
        )


def drawn_samples(
    model: Model, probes: Sequence[Probe], n: int, temperature: float, seed: int
) -> Iterator[list[Sample]]:
    """Yield n drawn replies for each probe."""
    samples = model.sample(probes, n, decoding(temperature), seed)
    for _ in probes:
        yield [next(samples) for _ in range(n)]


def is_answer(sample: Sample) -> bool:
    """Say whether a reply is the model's answer: not where a server filtered or refused it."""
    return sample.exchange is None or sample.exchange.outcome == "ok"


def drawn_answers(
    model: Model, probes: Sequence[Probe], n: int, temperature: float, seed: int
) -> Iterator[list[str]]:
    """Yield the drawn answers for each probe: n, or fewer where some replies are no answers."""
    for samples in drawn_samples(model, probes, n, temperature, seed):
        yield [answer_of(sample.text) for sample in samples if is_answer(sample)]


def exact_answers(
    model: Model, probes: Sequence[Probe], temperature: float
) -> Iterator[dict[str, float]]:
    """Yield the probability of each answer of a probe: the likeliest, and all above 0.001.

    Raises:
        AccessError: the model shows no logits.
    """
    from auditor.models.transformers_model import TransformersModel
    from auditor.models.unembedding import logits_of

    if not isinstance(model, TransformersModel):
        raise AccessError(f"{model.ref.spec} shows no logits", hint="draw its answers")
    import torch

    head = model.head()
    prompts = [model.prompt(probe).token_ids for probe in probes]
    for states in model.hidden(prompts):
        with torch.inference_mode():
            logits = logits_of(head, states[-1:].to(head.weight.device))[0]
        yield answers_of_logits(model, logits, temperature)


def answers_of_logits(
    model: "TransformersModel", logits: "torch.Tensor", temperature: float
) -> dict[str, float]:
    """Return the probability of each answer from (V,) logits; tokens may spell the same."""
    import torch

    row = torch.softmax(logits.double() / temperature, 0).cpu()
    first = row.topk(min(_FIRST, len(row))).indices.tolist()
    likely = (row >= _RARE).nonzero()[:, 0].tolist()
    found: dict[str, float] = {}
    for token in sorted({*first, *likely}):
        # as `sample` decodes a reply: special tokens, an end among them, are no text
        text = model.tokenizer.decode(
            [token], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        answer = answer_of(str(text))
        found[answer] = found.get(answer, 0.0) + float(row[token])
    return found
