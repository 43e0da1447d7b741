"""Error rates of readings from fingerprints, counted on models of known relation.

`python -m auditor.fingerprint_rates RECIPE FOLDER --out FILE` makes the models of a recipe of
controls (`auditor controls build pack`) around the reference that ships with pack:zoo, makes a
fingerprint of each and of the shipped controls, and judges every one as `auditor fingerprint
compare` does beside these controls. A shipped control is judged beside the others. Nothing is
fitted: thresholds and rules are those of audits. Of some students it measures what the sketches
lose, too.
"""

import argparse
import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import pretty_json
from auditor.case import atomic_write
from auditor.controls.pack_folder import PackFolder
from auditor.controls.pack_training import build_pack
from auditor.controls.recipe import load_pack_recipe
from auditor.fingerprint.comparing import measurements
from auditor.fingerprint.file import read_fingerprint, write_fingerprint
from auditor.fingerprint.judging import sketched_evidence, subjects_among
from auditor.fingerprint.making import make_fingerprint
from auditor.fingerprint.pairs import Comparison, Member
from auditor.fingerprint.plan import Agreed, terms_of
from auditor.fingerprint.precision import precision_rows
from auditor.judge.evidence import DECISIVE, REDERIVED
from auditor.judge.findings import Evidence, Thresholds
from auditor.judge.rates import rate
from auditor.judge.reading import conclude
from auditor.judge.validity import rate_json
from auditor.models.tiny import pack_controls, pack_folder
from auditor.progress import Silent
from auditor.types import Role

SCHEMA = "auditor/fingerprint-rates/1"
AGREED = Agreed(suites=("instructions", "continuations", "reasoning", "ood"), probes=64)
"""The suites of the shipped calibration; the other terms are those of the command."""
REFERENCE = "reference-00"
LOSSES_OF = 1
"""Students of each kind whose whole distributions are compared with the reference's, too."""
DRAWS = 2
"""Of the projections, of which the first is the fingerprints'."""
_LINKED = ("replication", "imitation")
_SHARE = "rederived-share@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How one model came out."""

    name: str
    kind: str
    """Group of the recipe, or ``shipped``."""
    role: Role
    family: str
    reading: str
    rederived: float | None
    idiosyncratic: float | None
    """Predictive p."""
    passed: dict[str, bool]
    """By test: whether it says that there is a link."""

    @property
    def linked(self) -> bool:
        """Whether it is linked to the reference."""
        return self.role in _LINKED


def main(words: Sequence[str] | None = None) -> int:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(words)
    folder = PackFolder(load_pack_recipe(given.recipe), given.folder)
    if not folder.has_model(REFERENCE):
        shutil.copytree(pack_folder("zoo") / "models" / REFERENCE, folder.model(REFERENCE))
    build_pack(folder.recipe, given.folder, processes=given.processes, progress=Silent())
    found = list(judged_models(folder))
    losses = list(losses_json(folder))
    atomic_write(given.out, pretty_json({**rates_json(found), "precision": losses}))
    return 0


def judged_models(folder: PackFolder) -> Iterator[Judged]:
    """Yield how every made model and every shipped control comes out."""
    controls = [
        _member(folder, one.spec, one.spec.rpartition("/")[2], (one.role, one.family))
        for one in pack_controls("zoo")
    ]
    reference = _member(folder, f"tiny:zoo/{REFERENCE}", REFERENCE, ("reference", REFERENCE))
    for control in controls:
        others = [one for one in controls if one.family != control.family]
        yield _judged(reference, control, others, ("shipped", control.role))
    for made in folder.members.values():
        if made.name != REFERENCE and folder.has_model(made.name):
            spec = f"local:{folder.model(made.name)}"
            suspect = _member(folder, spec, made.name, (made.role, made.family))
            yield _judged(reference, suspect, controls, (made.group.name, made.role))


def losses_json(folder: PackFolder) -> Iterator[dict[str, Any]]:
    """Yield what sketches lose beside whole distributions, by kind of students and measure."""
    students = [one for one in folder.members.values() if one.group.teaching is not None]
    for kind in dict.fromkeys(one.group.name for one in students):
        names = [one.name for one in students if one.group.name == kind][:LOSSES_OF]
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for name in names:
            pair = (f"local:{folder.model(name)}", f"tiny:zoo/{REFERENCE}")
            for row in precision_rows(pair, AGREED, [AGREED.projections], draws=DRAWS):
                rows[row["measure"]].append(row)
        yield from (_loss(kind, measured) for measured in rows.values())


def _loss(kind: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the values of one measure over models, and the root mean square of their errors."""
    return {
        "kind": kind,
        "measure": rows[0]["measure"],
        "models": len(rows),
        "draws": DRAWS,
        "full": [row["full"] for row in rows],
        "sketched": [row["sketched"] for row in rows],
        "rms_error": float(np.sqrt(np.mean([row["rms_error"] ** 2 for row in rows]))),
    }


def _member(folder: PackFolder, spec: str, name: str, what: tuple[Role, str]) -> Member:
    """Return a model with its fingerprint, made once."""
    path = folder.root / "fingerprints" / f"{name}.json"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_fingerprint(path, make_fingerprint(spec, name, terms_of(AGREED), Silent(), "cpu"))
    return Member(label=name, role=what[0], file=read_fingerprint(path), kin=what[1])


def _judged(
    reference: Member, suspect: Member, controls: Sequence[Member], what: tuple[str, Role]
) -> Judged:
    examined = replace(suspect, role="suspect")
    case = Comparison(
        reference=reference, others=(examined, *controls), probes=terms_of(AGREED).probes
    )
    rows = measurements(case, names=(*DECISIVE, REDERIVED))
    evidence = sketched_evidence(rows, subjects_among(examined, controls))
    test = next(iter(evidence.imitation), None)
    return Judged(
        name=suspect.label,
        kind=what[0],
        role=what[1],
        family=suspect.family,
        reading=conclude(evidence).reading,
        rederived=None if evidence.rederived is None else evidence.rederived[1],
        idiosyncratic=None if test is None else test.place.predictive_p,
        passed=passed(evidence),
    )


def passed(evidence: Evidence) -> dict[str, bool]:
    """Return which of the defined tests say that there is a link, by the rules' thresholds."""
    limits, share = evidence.thresholds, evidence.rederived
    said = {} if share is None else {REDERIVED: share[1] >= limits.rederived_share}
    for test in evidence.imitation:
        said[test.name] = test.beyond_all and test.p is not None and test.p < limits.imitation_alpha
    return said


def rates_json(found: Sequence[Judged]) -> dict[str, Any]:
    """Return the rates, over families.

    One without a link counts where the test is defined and errs where any member does; one with a
    link is seen where all its members of a kind are.
    """
    tests = sorted({name for one in found for name in one.passed})
    unlinked = [one for one in found if not one.linked]
    return {
        "schema": SCHEMA,
        "population": f"{len(found)} tiny models of pack:zoo's kind (about 100,000 parameters; "
        f"{AGREED.probes} probes, {AGREED.projections} projections, one reference)",
        "rules": Thresholds().as_json(),
        "readings": {"replication": {**_bound(), "of": _BOUND}},
        "tests": [
            {
                "name": name,
                "false": _false(
                    [(one.family, one.passed[name]) for one in unlinked if name in one.passed]
                ),
                "seen": list(_seen(name, found)),
            }
            for name in tests
        ],
        "false_readings": _false([(m.family, m.reading != "inconclusive") for m in unlinked]),
        "models": [_row(one) for one in found],
    }


_BOUND = (
    "unlinked families of pack:zoo whose whole files share at least half of their weights with the "
    "reference's: the share that sketches give cannot exceed that of the files"
)


def _bound() -> dict[str, Any]:
    path = pack_folder("zoo") / "scores.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    least = Thresholds().rederived_share
    return _false(
        [
            (row["family"], row["scores"][_SHARE]["value"] >= least)
            for row in rows
            if row["role"] not in _LINKED and _SHARE in row["scores"]
        ]
    )


def _false(outcomes: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    wrong = {family for family, errs in outcomes if errs}
    return rate_json(rate(len(wrong), len({family for family, _ in outcomes})))


def _seen(test: str, found: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    for kind in dict.fromkeys(one.kind for one in found if one.linked):
        families: dict[str, bool] = {}
        for one in found:
            if one.kind == kind:
                seen = one.passed.get(test, False)
                families[one.family] = families.get(one.family, True) and seen
        share = rate(sum(families.values()), len(families))
        yield {"kind": kind, **rate_json(share)}


def _row(one: Judged) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "role": one.role,
        "family": one.family,
        "reading": one.reading,
        "rederived_share": one.rederived,
        "idiosyncratic_p": one.idiosyncratic,
    }


if __name__ == "__main__":
    sys.exit(main())
