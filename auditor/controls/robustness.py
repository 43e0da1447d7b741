"""Detection by text alone, when a host does what it can against it.

Members of the locked half of a pack are served in each way of `auditor.controls.serving`, recorded,
and audited as suspects beside the controls that ship. Refusals are counted and stay in.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from auditor.case import Case, locked, open_case
from auditor.controls.members import Member, shipped_members
from auditor.controls.pack_folder import PackFolder
from auditor.controls.pack_scores import NEW_TOKENS, PROBES, SUITES, scoring_request
from auditor.controls.pack_training import one_thread
from auditor.controls.recipe import PackRecipe
from auditor.controls.serving import WAYS, Host, record, refusals
from auditor.judge.findings import Thresholds
from auditor.judge.null import family_values, standing
from auditor.measures._run import measure_pair
from auditor.pairing import Pairs
from auditor.panel import NULL_ROLES
from auditor.progress import Silent
from auditor.types import Decoding

SERVED = {"text-100": 6, "logits-100": 6, "finetune": 6, "same-data": 6, "sibling-text": 6}
"""Groups whose locked members are served, and how many of each."""
NATURAL = ("instructions", "continuations", "reasoning")


def served_members(folder: PackFolder) -> list[Member]:
    """Return the locked members that are served."""
    shipped = {member.name for member in shipped_members(list(folder.members.values()))}
    found: list[Member] = []
    for group, count in SERVED.items():
        locked = [
            member
            for member in folder.members.values()
            if member.group.name == group
            and member.split == "locked"
            and member.name not in shipped
        ]
        found += locked[:count]
    return found


def robustness(folder: PackFolder, out: Path, *, processes: int) -> list[dict[str, Any]]:
    """Return a row for each served model, way and set of probes: was it over the threshold."""
    members = [member.name for member in served_members(folder)]
    parts = [members[start::processes] for start in range(processes)]
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool:
        jobs = [
            pool.submit(serve_and_score, folder.recipe, folder.root, out / f"part-{index}", part)
            for index, part in enumerate(parts)
        ]
        return [row for job in jobs for row in job.result()]


def serve_and_score(
    recipe: PackRecipe, root: Path, out: Path, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the rows of some members; in this process."""
    from auditor.collect.run import collect_case
    from auditor.plan import plan_audit

    folder = PackFolder(recipe, root)
    served = dict(_served(folder, out, names))
    request = scoring_request(folder, [str(path) for path in served.values()])
    case = open_case(out / "case", plan_audit(request))
    with locked(case):
        collect_case(case, Silent())
    measured = _Measured(case)
    rows = []
    for subject, ((name, way), path) in zip(measured.suspects, served.items(), strict=True):
        about = {"name": name, "group": folder.members[name].group.name, "way": way}
        for which in (None, NATURAL):
            probes = "all" if which is None else "natural"
            found = measured.standing(subject, which)
            rows.append({**about, "probes": probes, "refusals": refusals(path), **found})
    return rows


def _served(
    folder: PackFolder, out: Path, names: Sequence[str]
) -> Iterator[tuple[tuple[str, str], Path]]:
    from auditor.collect.suite import load_suite, select_probes
    from auditor.models import open_model

    chosen = select_probes([load_suite(name) for name in SUITES], PROBES, 0)
    probes = tuple(probe for _, some in chosen for probe in some)
    others = [m.name for m in folder.members.values() if m.group.name == "other-stories"]
    for index, name in enumerate(names):
        model = open_model(f"local:{folder.model(name)}")
        other = open_model(f"local:{folder.model(others[-1 - index % 4])}")
        host = Host(
            model=model,
            other=other,
            probes=probes,
            decoding=Decoding(max_new_tokens=NEW_TOKENS),
            seed=0,
        )
        for way in WAYS:
            path = out / "records" / f"{name}-{way.replace(' ', '-').replace('%', 'pc')}.jsonl"
            yield (name, way), path if path.is_file() else record(host, way, path)


class _Measured:
    """The sample LLR of the subjects of a case, on all probes or on those of some suites."""

    def __init__(self, case: Case) -> None:
        self._plan = case.read_json("plan.json")
        self._pairs = Pairs(case)
        self._null: dict[tuple[str, ...] | None, list[float]] = {}

    @property
    def suspects(self) -> list[str]:
        return [s["name"] for s in self._plan["subjects"] if s["role"] == "suspect"]

    def standing(self, suspect: str, suites: tuple[str, ...] | None) -> dict[str, Any]:
        """Return the place of a suspect, and whether it is over the threshold of `imitation`."""
        value = self._value(suspect, suites)
        if value is None:
            return {"z": None, "predictive_p": None, "rank_p": None, "detected": False}
        place = standing(value, self._controls(suites), "higher")
        p, beyond = place.predictive_p, (place.rank_p or 1.0) <= place.floor + 1e-12
        return {
            "z": place.z,
            "predictive_p": p,
            "rank_p": place.rank_p,
            "detected": beyond and p is not None and p < Thresholds().imitation_alpha,
        }

    def _controls(self, suites: tuple[str, ...] | None) -> list[float]:
        if suites not in self._null:
            controls = [s for s in self._plan["subjects"] if s["role"] in NULL_ROLES]
            values = [self._value(control["name"], suites) for control in controls]
            families = [control["family"] for control in controls]
            self._null[suites] = family_values(values, families, "higher")
        return self._null[suites]

    def _value(self, subject: str, suites: tuple[str, ...] | None) -> float | None:
        pair = self._pairs.load(self._plan["subjects"][0]["name"], subject)
        if suites is not None:
            kept = {p for s in self._plan["suites"] if s["name"] in suites for p in s["probes"]}
            pair = pair.take([i for i, probe in enumerate(pair.probes) if probe.id in kept])
        return measure_pair(pair, seed=0, resamples=0, names=["sample-llr"])[0].value
