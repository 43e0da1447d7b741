"""The core nouns. Stages meet only in these values.

Axes, everywhere: P probes, N samples (repeats) of a probe, T token positions, V vocabulary,
D hidden width, E embedding width. Arrays are copied on entry and read-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Role = Literal["reference", "suspect", "independent", "sibling", "base", "imitation", "replication"]
CONTROL_ROLES: tuple[Role, ...] = ("independent", "sibling", "base", "imitation", "replication")
WATCHED: tuple[Role, ...] = ("reference", "suspect")
"""Roles of which an audit makes a baseline for `auditor watch`."""


class Access(IntEnum):
    """What of a model can be observed; a larger value includes the smaller ones."""

    TEXT = 1
    TOPK = 2
    LOGITS = 3
    WEIGHTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which model was examined: enough to find it again and to see that it is the same one."""

    spec: str
    """The specifier, canonical: ``local:/abs/folder``, ``tiny:teacher``, ..."""
    access: Access
    digest: str | None = None
    """Over every tensor's canonical name, shape, type and bytes; None where weights are hidden."""
    tokenizer_digest: str | None = None
    """Over the id -> bytes map and the special tokens."""
    template_digest: str | None = None
    parameters: int | None = None
    architecture: str | None = None
    vocabulary: int | None = None
    """Number of real token ids (without padded rows)."""
    dtype: str | None = None
    """Storage type that the forward passes ran in, e.g. ``float32``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a checkable reply is checked: see `auditor.answers`."""

    kind: Literal["number", "exact", "choice"]
    value: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One input given to every model: a chat (`messages`) or a text to continue (`text`)."""

    id: str
    category: str
    messages: tuple[Message, ...] = ()
    text: str | None = None
    language: str | None = None
    answer: Answer | None = None
    weight: float = 1.0
    """0 for identity questions, which enter no conclusion."""

    @property
    def kind(self) -> Literal["chat", "text"]:
        """``text`` where the model continues a text, ``chat`` where it replies."""
        return "chat" if self.text is None else "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSuite:
    """A versioned, licensed, digested set of probes."""

    name: str
    version: int
    title: str
    licence: str
    digest: str
    probes: tuple[Probe, ...]
    sealed: str | None = None
    """Digest of a part that is published by digest only and revealed later."""

    @property
    def id(self) -> str:
        """``name@version``, as typed on the command line."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How continuations are drawn. `temperature` 0 means greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 48

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            "max_new_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "top_k": self.top_k,
            "top_p": self.top_p,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The call to a server that a reply came from; its raw bytes stand in the exchange log."""

    request_digest: str
    """Finds its lines in the log."""
    attempts: int
    """How often it was asked until it was answered."""
    model: str | None
    """As the server calls the model that answered."""
    fingerprint: str | None
    """Of the system behind it, where the server gives one."""
    prompt_tokens: int | None
    completion_tokens: int | None
    """As the server counted; None where it does not say."""
    outcome: Literal["ok", "refusal", "filtered"]
    """``refusal``: the server marks the reply as one. ``filtered``: it withheld or cut it."""

    def as_json(self) -> dict[str, Any]:
        """Return what a record says of the call beside its attempts, usage and outcome."""
        return {
            "fingerprint": self.fingerprint,
            "model": self.model,
            "request_digest": self.request_digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reply of a model to one probe."""

    probe_id: str
    repeat: int
    prompt: str
    """What the model was given, after its chat template."""
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """The reply, without end-of-sequence and padding; empty where only text is known."""
    text: str
    finish_reason: Literal["stop", "length", "unknown"]
    recorded: Mapping[str, Any] | None = None
    """Where somebody else recorded it: what the file says beside the reply (``logprobs``,
    ``model``, ``decoding``, ``time``)."""
    exchange: Exchange | None = None
    """Of a model behind a server."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """Teacher-forced log-probabilities of one text. T counts the tokens that could be scored."""

    token_ids: Array
    """(T,) int64."""
    logprobs: Array
    """(T,) float64, natural log, each <= 0."""
    byte_ends: Array
    """(T,) int64: UTF-8 byte offset in the text where each token ends."""
    first_byte: int
    """Bytes before this offset were not scored (a model without a start token skips its first)."""

    def __post_init__(self) -> None:
        for name in ("token_ids", "logprobs", "byte_ends"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The result of one measure on one suspect, or the reason why it is undefined."""

    measure: str
    """``name@version``."""
    group: str
    unit: str
    closer: Literal["higher", "lower"]
    value: float | None
    interval: tuple[float, float] | None
    probes: int
    undefined: str | None = None
    implementation: str | None = None
    control_values: tuple[float | None, ...] = ()
    z: float | None = None
    rank_p: float | None = None
    predictive_p: float | None = None
    inputs: tuple[str, ...] = ()
    """Files of the case the value was computed from, relative to its data folder."""

    def as_json(self) -> dict[str, Any]:
        """Return the element of ``measurements`` in the result (DESIGN, section 5)."""
        return {
            "measure": self.measure,
            "group": self.group,
            "unit": self.unit,
            "value": self.value,
            "interval": None if self.interval is None else list(self.interval),
            "closer": self.closer,
            "control_values": list(self.control_values),
            "z": self.z,
            "rank_p": self.rank_p,
            "predictive_p": self.predictive_p,
            "probes": self.probes,
            "undefined": self.undefined,
            "implementation": self.implementation,
            "inputs": list(self.inputs),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What the findings support, and what they do not. Words of DESIGN, sections 2 and 5."""

    reading: Literal["replication", "imitation", "no-link", "inconclusive"]
    basis: str
    via: Literal["logits", "text"] | None = None
    log10_lr: dict[str, float] | None = None
    cap: str | None = None
    interval: tuple[float, float] | None = None
    verbal: str | None = None
    limits: tuple[str, ...] = field(default_factory=tuple)

    def as_json(self) -> dict[str, Any]:
        """Return the ``conclusion`` object of the result."""
        return {
            "reading": self.reading,
            "via": self.via,
            "basis": self.basis,
            "log10_lr": self.log10_lr,
            "cap": self.cap,
            "interval": None if self.interval is None else list(self.interval),
            "verbal": self.verbal,
            "limits": list(self.limits),
        }


def frozen_array(values: npt.ArrayLike) -> Array:
    """Return a read-only copy of `values`, so that no statistic can change its evidence.

    Itself where nothing can write to it: such a copy already, or a file that is mapped read-only.
    """
    if (
        isinstance(values, np.ndarray)
        and not values.flags.writeable
        and (values.flags.owndata or isinstance(values, np.memmap))
    ):
        return values
    copy = np.array(values, copy=True)
    copy.setflags(write=False)
    return copy
