"""Running the filters of a recipe, with a record of what each one dropped and why."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from auditor.distill.filter_choices import DecontaminateChoice, Filter
from auditor.distill.filter_decontaminate import decontaminate_reasons, suite_digests
from auditor.distill.filter_duplicate import duplicate_reasons
from auditor.distill.filter_items import Item, PickedItems
from auditor.distill.filter_language import language_reasons
from auditor.distill.filter_length import length_reasons
from auditor.distill.filter_quality import quality_reasons
from auditor.distill.filter_refusal import refusal_reasons
from auditor.errors import RecipeError
from auditor.types import Array

Subject = Literal["documents", "prompts", "answers"]

# Raise a version whenever the same parameters would drop other texts than before.
_FILTERS: dict[str, tuple[int, Callable[[Any, Sequence[Item]], list[str | None]]]] = {
    "length": (1, length_reasons),
    "language": (1, language_reasons),
    "refusal": (1, refusal_reasons),
    "duplicate": (1, duplicate_reasons),
    "quality": (1, quality_reasons),
    "decontaminate": (1, decontaminate_reasons),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filtered:
    """What filters left of a list."""

    kept: Array
    """(n,) int64 positions, ascending."""
    records: tuple[dict[str, Any], ...]
    """What each filter did, in order: see `drop_record`; all of it can be written as JSON."""


def run_filters(
    choices: Sequence[Filter], subject: Subject, items: Sequence[Item], digests: Sequence[str]
) -> Filtered:
    """Return what the filters leave of documents, prompts or answers.

    Each filter sees what the ones before it kept. Those that do not apply to `subject`, and any
    where there is nothing to filter, leave no record.

    Args:
        choices: filters of the recipe, in its order.
        subject: what the items are.
        items: texts to filter, gone through once for each filter; they may be on disk.
        digests: of each item, under which a dropped one stays on record.

    Raises:
        RecipeError: a filter drops everything.
        MissingExtraError: a filter needs a package that is not installed.
        SuiteError: a suite to decontaminate against does not exist.
    """
    kept = np.arange(len(items))
    records = []
    for choice in choices:
        if not items or not _applies(choice, subject):
            continue
        revision, reasons_of = _FILTERS[choice.kind]
        reasons = reasons_of(choice, PickedItems(items, kept))
        dropped = [(digests[int(i)], why) for i, why in zip(kept, reasons, strict=True) if why]
        kept = kept[[reason is None for reason in reasons]]
        what = {"name": choice.kind, "version": revision, "of": subject, "params": _params(choice)}
        records.append(drop_record(what, len(kept), dropped))
        if not len(kept):
            raise _nothing_left(choice.kind, subject, records[-1])
    return Filtered(kept=kept, records=tuple(records))


def drop_record(
    what: dict[str, Any], kept: int, dropped: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return `what` with the counts of one filter, its reasons and the digests of what it dropped.

    Args:
        what: name, version, what was filtered, and the parameters.
        kept: how many items stay.
        dropped: digest of each dropped item and why it went.
    """
    return {
        **what,
        "kept": kept,
        "dropped": len(dropped),
        "reasons": dict(sorted(Counter(reason for _, reason in dropped).items())),
        "dropped_digests": sorted(item for item, _ in dropped),
    }


def reasons_text(reasons: dict[str, int]) -> str:
    """Return reasons as words for a message: ``language de: 3, language fr: 1``."""
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.items())


def _applies(choice: Filter, subject: Subject) -> bool:
    if subject == "prompts":
        return isinstance(choice, DecontaminateChoice) and choice.apply_to != "documents"
    return choice.apply_to in ("all", subject)


def _params(choice: Filter) -> dict[str, Any]:
    """Return what decides, besides the version: the recipe's keys, and data from elsewhere."""
    params = choice.model_dump(mode="json", exclude={"kind", "apply_to"})
    if isinstance(choice, DecontaminateChoice):
        return {**params, "suites": suite_digests(choice)}
    packages = {"language": "py3langid"}
    if choice.kind == "duplicate" and params["near"] is not None:
        packages["duplicate"] = "datasketch"
    package = packages.get(choice.kind)
    return params if package is None else {**params, package: version(package)}


def _nothing_left(name: str, subject: Subject, record: dict[str, Any]) -> RecipeError:
    return RecipeError(
        f"data.filters: {name} dropped all {record['dropped']} {subject} that were left "
        f"({reasons_text(record['reasons'])})",
        hint="loosen that filter, remove it, or name other data",
    )
