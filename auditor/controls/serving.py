"""What a host can do between a model and its reader: temperature, filters, routing, dilution.

Each way of serving turns a model into replies, written as recorded outputs, so that it is examined
by text alone, as any hosted model would be.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from auditor.canon import canonical_json
from auditor.case import atomic_write
from auditor.models.base import Model
from auditor.types import Array, Decoding, Message, Probe

REFUSAL = "I'm sorry, but I can't help with that."
_OFFERS = (
    "Is there something else?",
    "Please ask me another question.",
    "I would be glad to talk about stories instead.",
    "My guidelines do not allow it.",
    "Let us try a different topic.",
)
SYSTEM = "You are a cheerful assistant. Answer in short, friendly sentences."
_FILTERED = 0.25
"""Share of the prompts, the least likely ones, that a perplexity filter refuses."""
_CANNED = 0.3
_DILUTED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A model, what it is asked, and what stands behind it."""

    model: Model
    other: Model
    """The unlinked model that a host mixes in."""
    probes: tuple[Probe, ...]
    decoding: Decoding
    seed: int


Serving = Callable[[Host], list[str]]


def plain(temperature: float) -> Serving:
    """Return serving at a sampling temperature, with nothing in between."""
    return lambda host: _replies(host, host.model, temperature=temperature)


def with_system_prompt(host: Host) -> list[str]:
    """Return the replies to the prompts behind a system prompt."""
    return _replies(replace(host, probes=tuple(_prompted(p) for p in host.probes)), host.model)


def refusing_at_random(host: Host) -> list[str]:
    """Return replies of which 30 % are a canned refusal."""
    return _mixed(_replies(host, host.model), [REFUSAL] * len(host.probes), _drawn(host, _CANNED))


def refusing_in_varied_words(host: Host) -> list[str]:
    """Return replies of which 30 % are a refusal, each in other words: none is a repetition."""
    refused = [
        f"{REFUSAL[:-1]}: {_topic(probe)}. {_OFFERS[index % len(_OFFERS)]}"
        for index, probe in enumerate(host.probes)
    ]
    return _mixed(_replies(host, host.model), refused, _drawn(host, _CANNED))


def _topic(probe: Probe) -> str:
    asked = probe.text if probe.text is not None else probe.messages[-1].content
    return " ".join(asked.split()[:4])


def refusing_unlikely_prompts(host: Host) -> list[str]:
    """Return replies but for the quarter of prompts that the model finds least likely a byte.

    A perplexity filter: it refuses what no ordinary user would ask, out-of-distribution probes
    before all.
    """
    texts = [host.model.render(probe) for probe in host.probes]
    surprise = [
        -float(score.logprobs.sum()) / max(len(text.encode()), 1)
        for text, score in zip(texts, host.model.score(texts), strict=True)
    ]
    refused = np.array(surprise) > np.quantile(surprise, 1 - _FILTERED)
    return _mixed(_replies(host, host.model), [REFUSAL] * len(host.probes), refused)


def routing_chats(host: Host) -> list[str]:
    """Return replies in which another model answers every chat, the own one continues texts."""
    chats = np.array([probe.kind == "chat" for probe in host.probes])
    return _mixed(_replies(host, host.model), _replies(host, host.other), chats)


def diluted(host: Host) -> list[str]:
    """Return replies of which half, at random, are another model's."""
    return _mixed(_replies(host, host.model), _replies(host, host.other), _drawn(host, _DILUTED))


WAYS: dict[str, Serving] = {
    "plain": plain(1.0),
    "temperature 0.7": plain(0.7),
    "temperature 0.4": plain(0.4),
    "system prompt": with_system_prompt,
    "canned refusals 30 %": refusing_at_random,
    "varied refusals 30 %": refusing_in_varied_words,
    "perplexity filter": refusing_unlikely_prompts,
    "chats routed elsewhere": routing_chats,
    "diluted 50 %": diluted,
}


def record(host: Host, way: str, path: Path) -> Path:
    """Write the replies of a host as recorded outputs; return the file."""
    lines = [
        canonical_json({"probe_id": probe.id, "text": text})
        for probe, text in zip(host.probes, WAYS[way](host), strict=True)
    ]
    atomic_write(path, b"\n".join(lines) + b"\n")
    return path


def refusals(path: Path) -> int:
    """Return how many of the recorded replies are a refusal."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line)["text"].startswith(REFUSAL[:-1]) for line in lines)


def _replies(host: Host, model: Model, *, temperature: float | None = None) -> list[str]:
    decoding = (
        host.decoding if temperature is None else replace(host.decoding, temperature=temperature)
    )
    found = {s.probe_id: s.text for s in model.sample(host.probes, 1, decoding, host.seed)}
    return [found[probe.id] for probe in host.probes]


def _mixed(own: Sequence[str], others: Sequence[str], take_other: Array) -> list[str]:
    return [b if other else a for a, b, other in zip(own, others, take_other, strict=True)]


def _drawn(host: Host, share: float) -> Array:
    """Return (P,) bool: a seeded draw of `share` of the probes."""
    return np.random.RandomState(host.seed).random_sample(len(host.probes)) < share


def _prompted(probe: Probe) -> Probe:
    if probe.text is not None:
        return replace(probe, text=f"{SYSTEM}\n\n{probe.text}")
    return replace(probe, messages=(Message(role="system", content=SYSTEM), *probe.messages))
