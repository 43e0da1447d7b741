"""What is read of a subject's weights while its model is loaded, and why something is missing.

The reference comes first and leaves in ``work/weights`` what the others are compared with, so that
two models are never in memory together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from auditor.collect.activations import activations_path
from auditor.collect.agreement import states_path
from auditor.collect.collection import Collection
from auditor.collect.kept import Kept
from auditor.collect.neurons import compare_neurons, keep_neurons
from auditor.collect.spaces import compare_space, keep_space
from auditor.collect.weight_cka import compare_attention, keep_attention
from auditor.errors import UndefinedError
from auditor.models.base import Model
from auditor.types import Access


@dataclass(frozen=True, slots=True)
class _Statistic:
    needed: Access
    keep: Callable[[Collection, Model], None]
    compare: Callable[[Collection, Model, str], None]
    positions: bool
    """Whether it needs the reference's sequences to be run, in the reference's vocabulary."""


_STATISTICS = {
    "neurons": _Statistic(Access.WEIGHTS, keep_neurons, compare_neurons, positions=True),
    "span": _Statistic(Access.LOGITS, keep_space, compare_space, positions=True),
    "weight_cka": _Statistic(Access.WEIGHTS, keep_attention, compare_attention, positions=False),
}


def read_weights(
    run: Collection, model: Model, name: str, missing: Mapping[str, str]
) -> dict[str, str]:
    """Keep the reference's weights, or write what the case lacks of a suspect's comparison.

    Args:
        run: the collection.
        model: the subject, loaded.
        name: its name.
        missing: what its pass over the texts did not give, ``positions`` and ``neurons`` among
            them, with the reasons.

    Returns:
        What this step does not give, with the reasons. The reference's own reasons are kept for
        the subjects that are compared with it.

    Raises:
        StorageError: the disk is full; finished arrays are kept.
    """
    found = {}
    for what, statistic in _STATISTICS.items():
        if name == run.reference and Kept(run.case, name).has_note(what):
            continue
        try:
            _read(run, model, name, statistic, _reason(run, model, what, missing))
        except UndefinedError as error:
            if name == run.reference:
                Kept(run.case, name).write_note(what, missing=error.message)
            else:
                found[what] = error.message
    activations_path(run.case, name).unlink(missing_ok=True)
    if name != run.reference:
        states_path(run.case, name).unlink(missing_ok=True)
    return found


def _read(
    run: Collection, model: Model, name: str, statistic: _Statistic, reason: str | None
) -> None:
    if reason:
        raise UndefinedError(reason)
    if name == run.reference:
        statistic.keep(run, model)
    else:
        statistic.compare(run, model, name)


def _reason(run: Collection, model: Model, what: str, missing: Mapping[str, str]) -> str | None:
    statistic = _STATISTICS[what]
    reason = run.access_reason(model.ref, statistic.needed)
    if reason is None and statistic.positions:
        reason = missing.get("positions")
    return reason or missing.get(what)
