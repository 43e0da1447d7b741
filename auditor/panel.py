"""What places a suspect among others: its pool of controls, and who finds whose text likely.

Axes beside those of `auditor.types`: S scorers, A authors, G temperatures, L layers, H neurons.
"""

from dataclasses import dataclass, replace

import numpy as np

from auditor.mapped import mapped
from auditor.texts import Replies
from auditor.types import Array, Role, frozen_array

NULL_ROLES: tuple[Role, ...] = ("independent", "sibling", "base")
"""Roles of controls that have no link to the reference: only these form a null distribution."""

TEMPERATURES = (0.4, 0.55, 0.7, 0.85, 1.0, 1.2)
"""Each crossed text is scored at all of these, so that the author's own can be estimated."""

CROSSING = np.dtype(
    [
        ("author", "<i4"),  # index into the subjects of the plan
        ("probe", "<i4"),  # index into the probes of the case
        ("repeat", "<i4"),
        ("bytes", "<i4"),  # UTF-8 bytes of the author's reply that were scored
        ("tokens", "<i4"),  # in the scorer's vocabulary
        ("logprob", "<f8", (len(TEMPERATURES),)),  # of the whole reply, natural, at each
    ]
)
"""Row of ``arrays/crossing/<scorer>.npy``: the reply of another subject as the scorer finds it,
after the scorer's own rendering of the probe. ``log softmax(logits / temperature)``, summed."""

NEURON = np.dtype(
    [
        ("layer", "<i4"),
        ("neuron", "<i4"),  # of the suspect
        # Neuron of the reference that the optimal assignment of the layer gives it, by cosine.
        ("gate", "<i4"),  # activations of the gate (plain MLP: of the neuron)
        ("up", "<i4"),  # activations of the up projection (plain MLP: what it writes)
        ("weight", "<i4"),  # rows of the up projection (plain MLP: incoming weights)
        # Cosine to that partner.
        ("gate_cosine", "<f4"),
        ("up_cosine", "<f4"),
        ("weight_cosine", "<f4"),
    ]
)
"""Row of ``arrays/neurons/<suspect>.npy``: a neuron and its partners in the reference."""

OWN = np.dtype(
    [
        ("probe", "<i4"),  # index into the probes of the case
        ("repeat", "<i4"),
        ("bytes", "<i4"),  # UTF-8 bytes of the reply that were scored
        ("tokens", "<i4"),
        ("logprob", "<f8"),  # of the whole reply, natural, at temperature 1
    ]
)
"""Row of ``arrays/own/<subject>.npy``: a reply as its own author finds it."""

TRANSCRIPT = np.dtype(
    [
        ("step", "<i8"),  # training step of the reference at which it saw the text
        ("text", "<i4"),  # index of the text in the committed order
        ("bytes", "<i4"),
        ("logprob", "<f8"),  # of the whole text, natural
    ]
)
"""Row of ``arrays/transcript/<subject>.npy``."""

REDERIVATION = np.dtype(
    [
        ("transform", "<U24"),  # what was recomputed from the reference: "int4", "merged", ...
        ("partner", "<i4"),  # index into the subjects of the plan: the other parent; -1: none
        ("tensors_equal", "<i4"),  # bit for bit, every element
        ("tensors", "<i4"),  # of the suspect, without those that any two models share
        ("elements_equal", "<i8"),  # other than 0, bit for bit
        ("elements", "<i8"),  # other than 0 in the suspect or in what was recomputed
    ]
)
"""Row of ``arrays/rederivation/<suspect>.npy``: one deterministic transform of the reference."""

PARENTS = 8
"""Most candidates of a mixture, the reference among them."""
MIXTURE = np.dtype(
    [
        ("layer", "<i4"),  # -1: outside the layers
        ("group", "<i4"),  # index into TENSOR_GROUPS
        ("block", "<i4"),  # number of the part of the tensors of this layer and group
        ("elements", "<i8"),
        # Index into the subjects of the plan of each parent; the reference first; -1: none.
        ("parents", "<i4", (PARENTS,)),
        # Inner products over the block of: suspect - reference, reference, parent - reference
        # for each further parent. Zeros where there is none.
        ("gram", "<f8", (PARENTS + 1, PARENTS + 1)),
    ]
)
"""Row of ``arrays/merge/<suspect>.npy``: a block of weights as a mixture of aligned parents."""
TENSOR_GROUPS = ("embedding", "attention", "feed-forward", "other")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Control:
    """One control of a pool: what it did on the probes of the pair."""

    name: str
    role: Role
    family: str
    architecture: str | None = None
    positions: Array | None = None
    """(T,) POSITION rows, `a` = reference, `b` = this control; row i is the same position as row
    i of the pair."""
    topk: Array | None = None
    """(T,) rows of its likeliest tokens, see `auditor.outputs.OutputSet.topk`."""
    answers: Array | None = None
    """(n,) rows of its likeliest first tokens of a reply, see `OutputSet.answers`."""
    tokenizer: str | None = None
    """Digest of the tokenizer whose ids `topk` holds; None: not known."""
    texts: Replies | None = None
    """(P)(N) replies."""
    transcript: Array | None = None
    """(n,) TRANSCRIPT rows of the reference's committed order, as this control finds its texts."""

    def __post_init__(self) -> None:
        for name in ("positions", "topk", "answers", "transcript"):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, frozen_array(values))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crossing:
    """How likely each scorer finds each author's replies. NaN where a reply was not scored."""

    scorers: tuple[str, ...]
    """(S): the reference first, then the controls of the pool that can score."""
    authors: tuple[str, ...]
    """(A): the suspect first, then the reference, then the controls of the pool."""
    logprob: Array
    """(S, A, P, N, G) float64, natural logarithm of the whole reply."""
    bytes: Array
    """(A, P, N) float64, UTF-8 bytes of the reply; 0 where there is none."""

    def __post_init__(self) -> None:
        for name in ("logprob", "bytes"):
            object.__setattr__(self, name, frozen_array(getattr(self, name)))

    def take(self, rows: Array) -> "Crossing":
        """Return the crossing on a selection of probes."""
        if np.array_equal(rows, np.arange(self.bytes.shape[1])):
            return self  # then nothing is copied

        def fill(values: Array) -> None:
            for scorer, authors in enumerate(self.logprob):
                for author, logprob in enumerate(authors):
                    values[scorer, author] = logprob[rows]

        old = self.logprob.shape
        logprob = mapped((*old[:2], len(rows), *old[3:]), self.logprob.dtype, fill)
        return replace(self, logprob=logprob, bytes=self.bytes[:, rows])
