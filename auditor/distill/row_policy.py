"""Flags that rows of data carry (licence, consent, personal data), and a policy over them.

The flags are what whoever wrote the rows says; nothing here checks that they are true.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from auditor.distill.filters import Filtered, Subject, drop_record, reasons_text
from auditor.distill.recipe_part import Part
from auditor.errors import RecipeError

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFlags:
    """What a row says about itself; None where it says nothing."""

    licence: str | None = None
    """SPDX identifier, or any other name."""
    consent: bool | None = None
    """The people whose words these are agreed to this use."""
    personal_data: bool | None = None
    source: str | None = None


class RowPolicy(Part):
    """Which rows may be trained on. The texts of data.corpus come from nobody and are exempt."""

    licences: Annotated[list[str], Field(min_length=1)] | None = None
    """Licences to accept, case ignored; absent: any."""
    consent: Literal["required", "ignored"] = "ignored"
    personal_data: Literal["excluded", "ignored"] = "ignored"
    unknown: Literal["violation", "accepted"] = "violation"
    """What a missing flag is, where the policy asks for it."""
    on_violation: Literal["refuse", "drop"] = "refuse"
    """Refuse the whole run, or leave out the row."""


def row_flags(row: dict[str, Any], where: str) -> RowFlags:
    """Return the flags of a JSONL row; null is a missing flag.

    Raises:
        RecipeError: a licence or source that is not text, or another flag that is not true or
            false.
    """
    for key, kind, words in (
        ("licence", str, "text"),
        ("source", str, "text"),
        ("consent", bool, "true or false"),
        ("personal_data", bool, "true or false"),
    ):
        value = row.get(key)
        if value is not None and (not isinstance(value, kind) or value == ""):
            raise RecipeError(f"{where}: {key} is not {words}: {value!r}")
    return RowFlags(
        licence=row.get("licence"),
        consent=row.get("consent"),
        personal_data=row.get("personal_data"),
        source=row.get("source"),
    )


def apply_policy(
    policy: RowPolicy | None,
    subject: Subject,
    flags: Sequence[RowFlags | None],
    digests: Sequence[str],
) -> Filtered:
    """Return the rows that a policy leaves; all of them, without a record, where there is none.

    Args:
        policy: of the recipe.
        subject: what the rows are.
        flags: of each row; None for text that the policy does not concern.
        digests: of each row, under which a dropped one stays on record.

    Raises:
        RecipeError: a row breaks the policy and ``on_violation`` is refuse, or all rows do.
    """
    if policy is None or not len(flags):
        return Filtered(kept=np.arange(len(flags)), records=())
    reasons = [None if row is None else next(_broken(policy, row), None) for row in flags]
    kept = np.flatnonzero([reason is None for reason in reasons])
    dropped = [(item, reason) for item, reason in zip(digests, reasons, strict=True) if reason]
    params = policy.model_dump(mode="json")
    what = {"name": "policy", "version": 1, "of": subject, "params": params}
    record = drop_record(what, len(kept), dropped)
    if dropped and (policy.on_violation == "refuse" or not len(kept)):
        raise RecipeError(
            f"data.policy: {len(dropped)} of {len(flags)} {subject} break it "
            f"({reasons_text(record['reasons'])})",
            hint="remove or flag those rows, change the policy, or set data.policy.on_violation: "
            "drop, which must leave some",
        )
    return Filtered(kept=kept, records=(record,))


def flag_counts(flags: Iterable[RowFlags | None]) -> dict[str, Any]:
    """Return how many rows carry which flag, and how many different sources they name.

    Texts without flags of their own, None here, are not counted.
    """
    licences: Counter[str] = Counter()
    consent: Counter[str] = Counter()
    personal_data: Counter[str] = Counter()
    sources: set[bytes] = set()
    for row in flags:
        if row is None:
            continue
        licences[row.licence or UNKNOWN] += 1
        consent[_word(row.consent) or UNKNOWN] += 1
        personal_data[_word(row.personal_data) or UNKNOWN] += 1
        if row.source is not None:
            sources.add(sha256(row.source.encode()).digest())  # every row may name another one
    return {
        "licences": dict(sorted(licences.items())),
        "consent": dict(sorted(consent.items())),
        "personal_data": dict(sorted(personal_data.items())),
        "sources": len(sources),
    }


def _broken(policy: RowPolicy, row: RowFlags) -> Iterator[str]:
    """Yield what a row breaks, in the order of the policy's keys."""
    unknown = policy.unknown == "violation"
    if policy.licences is not None:
        accepted = {name.casefold() for name in policy.licences}
        if row.licence is None:
            yield from ["licence unknown"] if unknown else []
        elif row.licence.casefold() not in accepted:
            yield f"licence {row.licence}"
    for wanted, value, refused, name in (
        (policy.consent == "required", row.consent, False, "consent"),
        (policy.personal_data == "excluded", row.personal_data, True, "personal data"),
    ):
        if wanted and (value is refused or (value is None and unknown)):
            yield f"{name} {_word(value) or UNKNOWN}"


def _word(flag: bool | None) -> str | None:
    return None if flag is None else str(flag).lower()
