"""Which sequences share a forward pass."""

from collections.abc import Sequence

from auditor.errors import InputError

_SMALL = 8_000_000
_ROOMIEST = 8


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Return the indices of `lengths` in batches of at most `batch_tokens` padded tokens.

    A batch costs its longest length times its size. Longest first, so that too large a budget
    fails at once and not after an hour; equal lengths keep their order. A sequence longer than
    the budget forms a batch alone. Every index occurs once; no lengths give no batches. The
    plan depends on the arguments only, never on the machine.

    Raises:
        InputError: `batch_tokens` is not positive, or a length is negative.
    """
    if batch_tokens < 1:
        raise InputError(f"a batch of {batch_tokens} tokens holds nothing", hint="give 1 or more")
    if any(length < 0 for length in lengths):
        raise InputError(f"a sequence of {min(lengths)} tokens does not exist")
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):  # equal ones stay
        # Sorted by falling length: the first of a batch is its longest.
        if batches and longest * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = max(lengths[index], 1)
    return batches


def is_small(parameters: int | None) -> bool:
    """Whether the overhead of a forward pass counts beside its arithmetic; unknown sizes do not."""
    return parameters is not None and parameters < _SMALL


def roomy_budget(batch_tokens: int, parameters: int | None) -> int:
    """Return the budget of passes whose tokens hold a cache but are mostly not computed.

    There a pass of a small model costs its overhead: up to 8 times `batch_tokens`, below 8
    million parameters. Depends on the arguments only, so that copies of a model share batches.
    """
    if parameters is None:
        return batch_tokens
    return batch_tokens * min(max(_SMALL // max(parameters, 1), 1), _ROOMIEST)
