"""A subword teacher's next-token distribution as targets over the next byte."""

from bisect import bisect_left
from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.errors import InputError, VocabularyError
from auditor.kernels.divergences import checked_temperature, divergence_loss, tempered_log_softmax

BYTES = 256


class TokenTable:
    """The text tokens of a vocabulary, sorted by their bytes: those of one prefix lie together."""

    def __init__(self, pieces: Sequence[bytes | None], special: frozenset[int]) -> None:
        """Take the id -> bytes map; special ids and those without bytes are left out.

        Args:
            pieces: (V,) bytes of each id; None where an id is not used.
            special: ids that are no text.

        Raises:
            VocabularyError: no text token is left.
        """
        rows = sorted((p, i) for i, p in enumerate(pieces) if p and i not in special)
        if not rows:
            raise VocabularyError("the vocabulary has no text token")
        self.size = len(pieces)
        self.ids = torch.tensor([i for _, i in rows], dtype=torch.int64)
        self._sorted = [piece for piece, _ in rows]
        # No more entries in all than the vocabulary has bytes.
        self._following: dict[bytes, Tensor] = {}

    def whole(self, prefix: bytes) -> slice:
        """Return the range of `ids` whose bytes are exactly `prefix`."""
        first = bisect_left(self._sorted, prefix)
        return slice(first, bisect_left(self._sorted, prefix + b"\0", first))

    def longer(self, prefix: bytes) -> slice:
        """Return the range of `ids` whose bytes go on after `prefix`."""
        first = self.whole(prefix).stop
        end = bytes_after(prefix)
        return slice(first, len(self._sorted) if end is None else bisect_left(self._sorted, end))

    def next_bytes(self, prefix: bytes) -> Tensor:
        """Return (n,) int64: the byte after `prefix` in each token of `longer(prefix)`."""
        if prefix not in self._following:
            found = self._sorted[self.longer(prefix)]
            following = torch.tensor([piece[len(prefix)] for piece in found], dtype=torch.int64)
            if not found:
                return following
            self._following[prefix] = following
        return self._following[prefix]


def bytes_after(prefix: bytes) -> bytes | None:
    """Return the smallest bytes that sort after all that start with `prefix`; None if none do."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def next_byte_targets(
    logits: Tensor,
    table: TokenTable,
    prefixes: Sequence[bytes],
    *,
    rows: Sequence[int] | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Return (A, 256) probabilities of the next byte; each row sums to 1, and carries no gradient.

    A position lies `prefix` bytes behind a token boundary. With an empty prefix, the target is the
    exact marginal of the next token's first byte. Else it is the next byte given that the token
    starts with the prefix and goes on. Tokens that end with the prefix are left out there: what
    follows them would take another forward pass of the teacher. Other ways to cut the text before
    the boundary are ignored, too; so these are not the byte probabilities of the model.
    Special tokens are left out: the end of a text is not a byte, and has to be taught by its label.

    Args:
        logits: (R, V) of the teacher at token boundaries, cut to the real token ids.
        table: of the teacher's vocabulary.
        prefixes: (A,) bytes since the boundary.
        rows: (A,) boundary of each position; A = R in order if None.
        temperature: divides the logits.

    Raises:
        InputError: shapes, rows or temperature are not usable, or no token goes on after a prefix.
        VocabularyError: logits and table differ in V.
    """
    logprobs = _text_logprobs(logits, table, temperature)
    places = _checked_rows(rows, len(prefixes), len(logprobs))
    masses = _log_masses(logprobs, table, prefixes, places)
    return masses.softmax(-1)


def text_byte_targets(
    logits: Tensor, table: TokenTable, tokens: Sequence[bytes], *, temperature: float = 1.0
) -> Tensor:
    """Return (A, 256) targets of all A bytes of a text of R tokens, in order, without a gradient.

    As `next_byte_targets`, but better where a token starts: the token before, of bytes p, might
    have gone on instead. With E = P(p), C_b the mass of longer tokens p b ..., and f the marginal
    of the new token's first byte, the target is (E f_b + C_b) / (E + sum C). Without it a
    student would never see, after " the", that " there" was likely, and would be told where tokens
    end, which it cannot know.

    Args:
        logits: (R, V): row r is the teacher's where token r follows.
        table: of the teacher's vocabulary.
        tokens: (R,) bytes of the tokens that the text holds, none empty.
        temperature: divides the logits.

    Raises:
        InputError: as `next_byte_targets`, or a token is not in the vocabulary.
        VocabularyError: as `next_byte_targets`.
    """
    logprobs = _text_logprobs(logits, table, temperature)
    if len(tokens) != len(logprobs) or not all(tokens):
        raise InputError(f"{len(tokens)} tokens, none empty, must meet {len(logprobs)} rows")
    places = [row for row, token in enumerate(tokens) for _ in token]
    prefixes = [token[:k] for token in tokens for k in range(len(token))]
    masses = _log_masses(logprobs, table, prefixes, places)
    targets = masses.log_softmax(-1)  # (A, 256)
    starts = torch.tensor([k for k, p in enumerate(prefixes) if not p], dtype=torch.int64)[1:]
    if len(starts):
        at = starts.to(targets.device)
        ended, going_on = _last_token(logprobs[:-1], table, tokens[:-1])
        both = torch.logaddexp(ended[:, None] + targets[at], going_on)
        targets = targets.index_copy(0, at, both.log_softmax(-1))
    return targets.exp()


def next_byte_loss(
    student_logits: Tensor,
    targets: Tensor,
    byte_ids: Tensor,
    *,
    divergence: str = "forward-kl",
    beta: float = 0.5,
) -> Tensor:
    """Return (A,) divergence of a byte-level student from next-byte targets, in nats.

    The student's distribution is taken over its 256 byte tokens, special ones left out as in the
    targets. Never negative, 0 if and only if both are equal. Reverse KL is huge wherever the
    teacher has no token for a byte: prefer forward KL, "jsd" or "skew-kl".

    Args:
        student_logits: (A, Vs), gets a gradient; row i predicts the byte of target i.
        targets: (A, 256) probabilities.
        byte_ids: (256,) int64: the student's token id of each byte.
        divergence: as in `divergence_loss`.
        beta: as in `divergence_loss`.

    Raises:
        InputError: shapes, ids, name or beta are not usable.
    """
    if byte_ids.shape != (BYTES,) or len(set(byte_ids.tolist())) < BYTES:
        raise InputError("byte_ids must be 256 different token ids", hint="one for each byte")
    if targets.ndim != 2 or int(targets.shape[1]) != BYTES:
        raise InputError(f"targets must be (A, 256), found {tuple(targets.shape)}")
    if student_logits.ndim != 2 or not 0 <= int(byte_ids.min()) <= int(byte_ids.max()) < int(
        student_logits.shape[1]
    ):
        raise InputError(f"byte ids do not fit logits {tuple(student_logits.shape)}")
    own = student_logits[:, byte_ids.to(student_logits.device)]
    return divergence_loss(own, targets.log(), divergence=divergence, beta=beta)


def _text_logprobs(logits: Tensor, table: TokenTable, temperature: float) -> Tensor:
    """Return (R, n) log-probabilities of the text tokens in the table's order."""
    if logits.ndim != 2 or not logits.dtype.is_floating_point:
        raise InputError(f"logits must be floating point (R, V), found {tuple(logits.shape)}")
    if int(logits.shape[1]) != table.size:
        raise VocabularyError(
            f"logits of {logits.shape[1]} token ids meet a table of {table.size}",
            hint="cut the logits to the real token ids",
        )
    kept = logits.detach()[:, table.ids.to(logits.device)]
    return tempered_log_softmax(kept, checked_temperature(temperature))


def _checked_rows(rows: Sequence[int] | None, count: int, boundaries: int) -> list[int]:
    places = list(range(count)) if rows is None else [int(row) for row in rows]
    fits = len(places) == count and (rows is not None or count == boundaries)
    if not fits or not all(0 <= row < boundaries for row in places):
        raise InputError(f"{count} prefixes do not fit rows of {boundaries} boundaries")
    return places


def _log_masses(
    logprobs: Tensor, table: TokenTable, prefixes: Sequence[bytes], rows: Sequence[int]
) -> Tensor:
    """Return (A, 256) log-masses of the longer tokens by their next byte; -inf where none is."""
    masses = logprobs.new_full((len(prefixes), BYTES), -torch.inf)
    positions: dict[bytes, list[int]] = {}
    for position, prefix in enumerate(prefixes):
        positions.setdefault(prefix, []).append(position)
    for prefix, members in positions.items():
        following = table.next_bytes(prefix).to(logprobs.device)
        if not len(following):
            raise InputError(
                f"no token goes on after {prefix!r}",
                hint="give the bytes since the last token boundary",
            )
        at = torch.tensor(members, device=logprobs.device)
        taken = logprobs[torch.tensor([rows[k] for k in members], device=logprobs.device)]
        masses[at] = _by_byte(taken[:, table.longer(prefix)], following)
    return masses


def _last_token(
    logprobs: Tensor, table: TokenTable, tokens: Sequence[bytes]
) -> tuple[Tensor, Tensor]:
    """Return (R,) log-mass of each token, and (R, 256) of those that go on after it."""
    ended = logprobs.new_empty(len(tokens))
    going_on = logprobs.new_full((len(tokens), BYTES), -torch.inf)
    for row, token in enumerate(tokens):
        whole = logprobs[row, table.whole(token)]
        if not len(whole):
            raise InputError(f"{token!r} is not a token of the vocabulary")
        ended[row] = whole.logsumexp(0)
        following = table.next_bytes(token).to(logprobs.device)
        if len(following):
            going_on[row] = _by_byte(logprobs[row : row + 1, table.longer(token)], following)[0]
    return ended, going_on


def _by_byte(logprobs: Tensor, following: Tensor) -> Tensor:
    """Return (R, 256) logsumexp of (R, n) over the tokens of each next byte."""
    # Relative to the largest: inside a rare prefix all probabilities may be tiny. Added up in
    # float64, as one byte may begin a third of a vocabulary.
    top = logprobs.amax(1, keepdim=True)
    parts = (logprobs - top).exp().double()
    sums = parts.new_zeros((len(logprobs), BYTES)).index_add(1, following, parts)
    return sums.log().to(logprobs.dtype) + top
