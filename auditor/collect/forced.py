"""The teacher-forced pass of one subject: what is kept of it, and why something is missing."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from auditor.collect.activations import NeuronActivations
from auditor.collect.agreement import (
    KeptStates,
    PositionAgreement,
    has_head,
    kept_vocabulary,
    save_head,
    states_path,
)
from auditor.collect.collection import Collection
from auditor.collect.forcing import Product, force
from auditor.collect.means import MeanStates, means_path, place_means
from auditor.collect.neurons import open_activations
from auditor.collect.scoring import text_scores
from auditor.collect.sequences import ForcedText, own_sequences, reference_sequences
from auditor.collect.spaces import needs_logits
from auditor.collect.store import part_path
from auditor.collect.topk import AnswerTokens, TopTokens
from auditor.errors import AccessError, CaseError, InputError, UndefinedError
from auditor.models.base import Model
from auditor.stored import planned_probes, read_refs
from auditor.types import Access

_NEEDED = {
    "topk": Access.TOPK,
    "answers": Access.TOPK,
    "positions": Access.LOGITS,
    "hidden": Access.WEIGHTS,
}


@dataclass(frozen=True, slots=True)
class Forced:
    """How the pass of a subject ended."""

    missing: dict[str, str] = field(default_factory=dict)
    """{what: reason}."""
    implementation: str | None = None
    """What computed the positions."""


def force_subject(run: Collection, model: Model, name: str) -> Forced:
    """Write what the case lacks of a subject's top tokens, mean states and agreement.

    Raises:
        StorageError: the disk is full; the batches written before are kept.
    """
    missing = _missing(run, model, name)
    wanted = [what for what in _NEEDED if what not in missing]
    if wanted:
        texts = _texts(run, model, name)
        tap = _tap(run, model, name, texts, missing)
        try:
            _force(run, model, _Wanted(name, wanted, texts, tap))
        except CaseError:
            raise
        except InputError as error:
            # The model cannot take these sequences; what it said itself still counts.
            missing.update(dict.fromkeys(wanted, error.message))
    if name == run.reference:
        return Forced(missing)
    return Forced(missing, None if "positions" in missing else _implementation(model))


def _implementation(model: Model) -> str:
    """Return what computes agreement with a model, without computing any."""
    import torch

    from auditor.kernels.pairs import LogitPair
    from auditor.kernels.pairwise import chosen_implementation

    head = model.head()
    none = torch.empty((0, head.vocabulary), device=head.weight.device)
    return chosen_implementation("auto", LogitPair(a=none, b=none))


def _missing(run: Collection, model: Model, name: str) -> dict[str, str]:
    """Return what cannot be had of a subject, with the reasons."""
    reasons = {what: run.access_reason(model.ref, needed) for what, needed in _NEEDED.items()}
    missing = {what: reason for what, reason in reasons.items() if reason}
    if len(missing) < len(_NEEDED):
        try:
            model.head()
        except AccessError as error:
            return dict.fromkeys(_NEEDED, error.message) | missing
    if name != run.reference and "positions" not in missing:
        reason = _incomparable(run, model)
        if reason:
            missing["positions"] = reason
    if "answers" not in missing and not _same_vocabulary(run, model):
        missing["answers"] = _other_tokens(run, model)
    return missing


def _incomparable(run: Collection, model: Model) -> str | None:
    """Return why a subject cannot be compared with the reference position by position."""
    reference = read_refs(run.case)[run.reference]
    reason = run.access_reason(reference, Access.LOGITS)
    if reason:
        return f"of the reference: {reason}"
    if not _same_vocabulary(run, model):
        return _other_tokens(run, model)
    if not states_path(run.case, run.reference).is_file():
        return "the reference could not be run on its own texts"
    kept, own = kept_vocabulary(run.case, run.reference), model.head().vocabulary
    return None if kept == own else f"heads of different height: {kept} and {own} token ids"


def _other_tokens(run: Collection, model: Model) -> str:
    reference = read_refs(run.case)[run.reference]
    return (
        f"different vocabularies: {reference.vocabulary} token ids of the reference, "
        f"{model.ref.vocabulary} of {model.ref.spec}"
    )


def _same_vocabulary(run: Collection, model: Model) -> bool:
    own = model.ref.tokenizer_digest
    return own is not None and own == read_refs(run.case)[run.reference].tokenizer_digest


def _texts(run: Collection, model: Model, name: str) -> Sequence[ForcedText]:
    if name == run.reference or _same_vocabulary(run, model):
        return reference_sequences(run.case, run.reference, run.longest_text)
    return own_sequences(model, run.case, run.reference, run.longest_text)


def _tap(
    run: Collection, model: Model, name: str, texts: Sequence[ForcedText], missing: dict[str, str]
) -> NeuronActivations | None:
    """Return what catches the activations of the neurons; None, with the reason, where nothing."""
    if "positions" in missing or run.access_reason(model.ref, Access.WEIGHTS):
        return None
    try:
        return open_activations(run, model, name, texts)
    except UndefinedError as error:
        missing["neurons"] = error.message
        return None


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    what: list[str]
    texts: Sequence[ForcedText]
    tap: NeuronActivations | None


def _force(run: Collection, model: Model, wanted: _Wanted) -> None:
    name, texts = wanted.name, wanted.texts
    with ExitStack() as stack:
        products = _opened(stack, run, model, wanted)
        if products:
            steps = force(run, model, texts, products, wanted.tap)
            try:
                run.show(f"read {name}", len(texts), steps)
            except InputError:
                for product in products:
                    part_path(product.writer.path).unlink(missing_ok=True)
                raise
        for product in products:
            product.writer.finish()
    if "hidden" in wanted.what and not run.case.array("hidden", name).is_file():
        place_means(run, name, texts, len(planned_probes(run.case)))


def _opened(stack: ExitStack, run: Collection, model: Model, wanted: _Wanted) -> list[Product]:
    """Return the products, each to be closed by `stack`."""
    products: list[Product] = []
    if wanted.tap is not None:
        stack.enter_context(wanted.tap.writer)
    # One by one: where the disk is full on a later one, those before it are closed.
    for product in _products(run, model, wanted):
        if product is not wanted.tap:
            stack.enter_context(product.writer)
        products.append(product)
    return products


def _products(run: Collection, model: Model, wanted: _Wanted) -> Iterator[Product]:
    """Yield the arrays of the pass that are not complete yet, each opened when it is asked for."""
    case, name, texts = run.case, wanted.name, wanted.texts
    head = model.head()
    if "positions" in wanted.what:
        yield from _comparisons(run, model, wanted)
    if "topk" in wanted.what and not case.array("topk", name).is_file():
        yield TopTokens(case, name, texts, head)
    if "answers" in wanted.what and not case.array("answers", name).is_file():
        yield AnswerTokens(case, name, texts, head)
    if "hidden" in wanted.what and not _has_means(run, name):
        yield MeanStates(case, name, texts, int(head.weight.shape[1]))
    if wanted.tap is not None:
        yield wanted.tap
    scores = text_scores(run, model, name, texts)
    if scores is not None:
        yield scores


def _comparisons(run: Collection, model: Model, wanted: _Wanted) -> Iterator[Product]:
    """Yield what the pass of the reference keeps for the others, or what it is compared in."""
    case, name, texts, head = run.case, wanted.name, wanted.texts, model.head()
    is_reference = name == run.reference
    if is_reference and not has_head(case, name):
        save_head(case, name, head)
    if not is_reference and not case.array("agreement", name).is_file():
        yield PositionAgreement(case, (run.reference, name), texts, head)
    by_logits = needs_logits(run, model) and not case.array("span", name).is_file()
    if (is_reference or by_logits) and not states_path(case, name).is_file():
        yield KeptStates(case, name, texts, head)


def _has_means(run: Collection, name: str) -> bool:
    return means_path(run.case, name).is_file() or run.case.array("hidden", name).is_file()
