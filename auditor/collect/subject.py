"""Everything that is asked of one model while it is loaded."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from auditor.canon import pretty_json
from auditor.case import Case, atomic_write
from auditor.collect.collection import Collection
from auditor.collect.conditions import conditioned, system_of
from auditor.collect.forced import force_subject
from auditor.collect.own_replies import score_own
from auditor.collect.sampling import Sampling, sample_suites
from auditor.collect.scoring import score_texts
from auditor.collect.sequences import kept_texts
from auditor.collect.served_topk import read_answers, read_served_topk
from auditor.collect.store import part_path
from auditor.collect.tensors import compare_tensors
from auditor.collect.transcript import score_transcript
from auditor.collect.weights import read_weights
from auditor.errors import InputError
from auditor.models.base import Model
from auditor.models.openai_server import OpenAIServer
from auditor.models.recorded import RecordedModel
from auditor.models.specifier import parse
from auditor.models.transformers_model import TransformersModel
from auditor.outputs import OF_THE_PAIR
from auditor.stored import planned_probes, planned_suites
from auditor.types import Access, Probe


def collect_subject(run: Collection, model: Model, subject: dict[str, Any]) -> None:
    """Write what the case still lacks of a subject, as far as its model is needed for it.

    Raises:
        StorageError: the disk is full; what was written before is kept.
    """
    name = subject["name"]
    _write_ref(run, name, model)
    _sample(run, model, name)
    forced = force_subject(run, model, name)
    weighed = read_weights(run, model, name, forced.missing)
    missing = {**forced.missing, **weighed, **_score(run, model, name)}
    found: dict[str, str | None] = {"own": score_own(run, model, name)}
    if isinstance(model, OpenAIServer):
        found["topk"] = read_served_topk(run, model, name)
    if isinstance(model, OpenAIServer | RecordedModel):
        found["answers"] = read_answers(run, model, name)
    missing = {what: why for what, why in missing.items() if what not in found}
    missing |= {what: why for what, why in found.items() if why}
    missing.update(score_transcript(run, model, name))
    missing.update(compare_tensors(run, model, name))
    if name == run.reference:
        # Its half of each comparison; the reasons stand at every subject that is compared.
        missing = {what: why for what, why in missing.items() if what not in OF_THE_PAIR}
    result = {"implementation": forced.implementation, "missing": missing}
    atomic_write(stage_path(run.case, name), pretty_json(result))


def stage_path(case: Case, name: str) -> Path:
    """Return the file that says that a subject's model has done its part, and what is missing."""
    return case.work / "stage" / f"{name}.json"


def read_stage(case: Case, name: str) -> dict[str, Any] | None:
    """Return what `collect_subject` left, or None where it has not ended yet."""
    path = stage_path(case, name)
    return json.loads(path.read_bytes()) if path.is_file() else None


def _write_ref(run: Collection, name: str, model: Model) -> None:
    """Put the identity of a subject into subjects.json."""
    ref = model.ref
    fields = asdict(replace(ref, access=min(ref.access, run.allowed)))
    fields["access"] = fields["access"].name
    subject = next(one for one in run.plan["subjects"] if one["name"] == name)
    about = {key: subject[key] for key in ("name", "role", "family")}
    if parse(subject["spec"]).canonical == ref.spec:
        fields["spec"] = subject["spec"]  # with where the key of a server is
    insert_rows(
        run.case, run.plan, [{**about, "ref": fields, **_recorded(run, model), **_placed(model)}]
    )


def insert_rows(case: Case, plan: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    """Put rows of subjects into subjects.json, in plan order, over older ones."""
    path = case.data / "subjects.json"
    known = case.read_json("subjects.json")["subjects"] if path.is_file() else []
    found = {row["name"]: row for row in (*known, *rows)}
    ordered = [found[s["name"]] for s in plan["subjects"] if s["name"] in found]
    case.write_json("subjects.json", {"schema": "auditor/subjects/1", "subjects": ordered})


def remove_rows(case: Case, names: Sequence[str]) -> None:
    """Take the rows of some subjects out of subjects.json."""
    path = case.data / "subjects.json"
    known = case.read_json("subjects.json")["subjects"] if path.is_file() else []
    kept = [row for row in known if row["name"] not in names]
    if kept != known:
        case.write_json("subjects.json", {"schema": "auditor/subjects/1", "subjects": kept})


def _recorded(run: Collection, model: Model) -> dict[str, Any]:
    """Return what a file of recorded outputs holds, and which planned probes it answers."""
    if not isinstance(model, RecordedModel):
        return {}
    planned, repeats = planned_probes(run.case), run.plan["repeats"]
    system = system_of(run.plan)
    answered = len(model.available([conditioned(probe, system) for probe in planned], repeats))
    limit = (
        f"It gives all {repeats} planned replies to {answered} of the {len(planned)} planned "
        "probes; what is lacking counts as a failed request."
    )
    facts = model.facts.as_json()
    return {"recorded": {**facts, "answered": answered, "limits": [*facts["limits"], limit]}}


def _placed(model: Model) -> dict[str, Any]:
    """Return on which devices the modules of a model that was spread lay."""
    placement = model.placement if isinstance(model, TransformersModel) else None
    return {} if placement is None else {"placement": placement}


def _sample(run: Collection, model: Model, name: str) -> None:
    wanted = Sampling.planned(run.plan, name, model.ref.parameters)
    suites = planned_suites(run.case)
    if isinstance(model, OpenAIServer):
        _ask(run, model, wanted, [probe for suite in suites for probe in suite.probes])
    steps = sample_suites(run, model, suites, wanted)
    run.show(f"sample {name}", sum(len(suite.probes) for suite in suites), steps)


def _ask(run: Collection, model: OpenAIServer, wanted: Sampling, probes: Sequence[Probe]) -> None:
    """Have a server answer what its log lacks, as many requests at once as are allowed."""
    run.custody.log("server", name=wanted.subject, offered=model.offered.as_json())
    probes = [conditioned(probe, wanted.system) for probe in probes]
    how = (probes, wanted.repeats, wanted.decoding, wanted.seed)
    waiting = model.waiting(*how)
    if waiting:
        run.show(f"ask {wanted.subject}", waiting, model.fetch(*how))


def _score(run: Collection, model: Model, name: str) -> dict[str, str]:
    """Write the scores of the reference's texts; return why they are missing, where they are."""
    reason = run.access_reason(model.ref, Access.LOGITS)
    if reason:
        return {"scores": reason}
    texts = kept_texts(model, run.case, run.reference)
    try:
        run.show(f"score {name}", len(texts), score_texts(run, model, name, texts))
    except InputError as error:
        # The model cannot take these texts; what it said itself still counts.
        part_path(run.case.array("scores", name)).unlink(missing_ok=True)
        return {"scores": error.message}
    return {}
