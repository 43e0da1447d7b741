"""The table that calibration is fitted on: group scores of controls whose class is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from auditor.canon import finite, json_digest
from auditor.errors import UndefinedError
from auditor.types import Role

Proposition = Literal["independent", "imitation", "replication"]
Pair = Literal["imitation:independent", "replication:independent", "replication:imitation"]

PROPOSITIONS: tuple[Proposition, ...] = ("independent", "imitation", "replication")
PAIRS: tuple[Pair, ...] = (
    "imitation:independent",
    "replication:independent",
    "replication:imitation",
)


def proposition_of(role: Role) -> Proposition:
    """Return the proposition that holds for a control of this role.

    A sibling's student and the suspect's base have no link to the reference: independent.

    Raises:
        UndefinedError: the role is not a control's.
    """
    if role in ("independent", "sibling", "base"):
        return "independent"
    if role == "imitation":
        return "imitation"
    if role == "replication":
        return "replication"
    raise UndefinedError(f"no proposition is known to hold for a {role}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One control: what is known of it and what it scored."""

    subject: str
    family: str
    """Models that share an ancestor or a training run; the unit of every error rate."""
    proposition: Proposition
    scores: Mapping[str, float | None]
    """By group; None, or no entry, where the group's lines are undefined."""

    def has(self, features: Sequence[str]) -> bool:
        """Return whether every one of these scores is defined."""
        return all(self.scores.get(name) is not None for name in features)

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values; undefined scores are left out.

        Raises:
            ValueError: a score is NaN or infinite.
        """
        defined = {name: finite(v) for name, v in self.scores.items() if v is not None}
        return {
            "subject": self.subject,
            "family": self.family,
            "class": self.proposition,
            "scores": defined,
        }


def score_row(content: dict[str, Any]) -> ScoreRow:
    """Return the row that `ScoreRow.as_json` wrote.

    Raises:
        KeyError, TypeError, ValueError: something is missing or of the wrong kind.
    """
    if content["class"] not in PROPOSITIONS:
        raise ValueError(f"unknown class {content['class']!r}")
    return ScoreRow(
        subject=str(content["subject"]),
        family=str(content["family"]),
        proposition=content["class"],
        scores={
            str(name): float(finite(float(value)) or 0.0)
            for name, value in content["scores"].items()
        },
    )


def table_digest(rows: Sequence[ScoreRow]) -> str:
    """Return the digest of a score table; the order of its rows does not matter."""
    return json_digest(sorted((row.as_json() for row in rows), key=lambda row: row["subject"]))


def families_by_class(rows: Sequence[ScoreRow]) -> dict[Proposition, int]:
    """Return the number of families of each proposition.

    Raises:
        UndefinedError: a family is in two classes, or a subject is listed twice.
    """
    owners: dict[str, Proposition] = {}
    seen: set[str] = set()
    for row in rows:
        if row.subject in seen:
            raise UndefinedError(f"control {row.subject!r} is in the table twice")
        seen.add(row.subject)
        if owners.setdefault(row.family, row.proposition) != row.proposition:
            raise UndefinedError(
                f"family {row.family!r} is in the classes {owners[row.family]} and "
                f"{row.proposition}",
                hint="a family that is linked and unlinked tells nothing apart: leave it out",
            )
    counts = [list(owners.values()).count(proposition) for proposition in PROPOSITIONS]
    return dict(zip(PROPOSITIONS, counts, strict=True))
