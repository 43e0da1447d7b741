"""The audit plan as people write it: what is asked, of which models, and how it will be decided.

Everything that could be chosen after the outputs were seen is chosen here: the hypotheses, the
population of controls, probes, seeds, the primary measures, when collection stops and which rules
give the reading. `auditor.plan_lock` freezes it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from auditor.canon import LARGEST_INTEGER
from auditor.distill.recipe_errors import read_yaml, recipe_error
from auditor.distill.recipe_part import Count, Names, Part
from auditor.errors import InputError, PlanError, RecipeError
from auditor.models.specifier import beside
from auditor.plan import PACK, AuditRequest, ControlSpec, Watched
from auditor.plan_parts import Compute, Matter, Outputs, Sampling, Text, Watch
from auditor.types import Access, Decoding

SCHEMA = "auditor/audit-plan/1"
Profile = Literal["eu-gpai"]
ControlRole = Literal["independent", "sibling", "base", "imitation", "replication"]


class Hypothesis(Part):
    """One of the three propositions, in the words of the case."""

    name: Literal["independent", "imitation", "replication"]
    statement: Text


class Marks(Part):
    """The distillation run whose marks are looked for in a suspect."""

    run: Text
    """Folder of the finished run: its ledger holds the commitment."""
    reveal: Text | None = None
    """File with the key; that of the run folder if absent."""
    suite: Text = "instructions"
    """Prompts that the suspect answers, for a green list."""
    probes: Count = 64


class Suspect(Part):
    """A model under examination."""

    spec: Text
    marks: Marks | None = None


class Control(Part):
    """A model of known relation to the reference, or ``pack:NAME`` for those of a pack."""

    spec: Text
    role: ControlRole | None = None
    """``independent`` if absent; a pack states the role and family of each of its models."""
    family: Text | None = None
    """Models that share an ancestor or a training run; a family of its own if absent."""

    @model_validator(mode="after")
    def _pack_says_itself(self) -> Self:
        if self.spec.startswith(PACK) and (self.role, self.family) != (None, None):
            raise ValueError("a pack states the role and family of each of its models: remove them")
        return self


class Population(Part):
    """What the controls stand for."""

    description: Text
    """Which models could have made the suspect's outputs, were there no link."""
    families: dict[ControlRole, Count] = Field(default_factory=dict)
    """Fewest control families of a role; fewer are a deviation."""


class AuditPlan(Part):
    """One audit, declared before any output is seen."""

    schema_: Literal["auditor/audit-plan/1"] = Field(alias="schema")
    title: Text
    question: Text | None = None
    matter: Matter | None = None
    hypotheses: Annotated[list[Hypothesis], Field(max_length=3)] = Field(default_factory=list)
    reference: Text
    suspects: Annotated[list[Suspect], Field(min_length=1)]
    controls: list[Control] = Field(default_factory=list)
    base: Text | None = None
    """The suspects' declared base model: a control of role base."""
    population: Population | None = None
    suites: Names | None = None
    """The default mix if absent."""
    probes: Count = 96
    """In total, spread over the suites."""
    access: Literal["TEXT", "TOPK", "LOGITS", "WEIGHTS"] = "WEIGHTS"
    """The most that may be used of any model."""
    measures: list[Text] = Field(default_factory=list)
    """Primary measures: those that answer the hypotheses. All others are computed and shown too."""
    sampling: Sampling = Sampling()
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = 0
    """Of every random choice: probes, replies, resampling."""
    stopping: Literal["fixed"] = "fixed"
    """``fixed``: every probe and repeat is asked once and nobody looks before the end."""
    decision: Text | None = None
    """Version of the reading rules, for example ``reading/3``."""
    encoder: Text | None = "all-MiniLM-L6-v2"
    watch: Watch | None = None
    """The baseline for `auditor watch` that is made besides."""
    compute: Compute = Compute()
    outputs: Outputs = Outputs()
    profile: Profile | None = None
    """A further report that is written with the case."""
    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = _contradiction(self)
        if problem:
            raise ValueError(problem)
        return self

    def path(self, name: str) -> Path:
        """Return a file named in the plan; relative names start at the plan's folder."""
        return self._folder / Path(name).expanduser()

    def subject(self, spec: str) -> str:
        """Return a specifier of the plan, whose relative path starts at the plan's folder."""
        if spec.startswith(PACK):
            name = spec.removeprefix(PACK)
            # A shipped pack has no controls.json beside the plan.
            own = self.path(name)
            return f"{PACK}{own}" if (own / "controls.json").is_file() else spec
        return beside(spec, self._folder)

    def suite(self, name: str) -> str:
        """Return a suite of the plan; a path (with a / or .jsonl) starts at the plan's folder."""
        return str(self.path(name)) if "/" in name or name.endswith(".jsonl") else name

    def as_json(self) -> dict[str, Any]:
        """Return the plan with every default filled in; its digest is what a lock freezes.

        ``matter``, ``profile``, ``watch`` and ``sampling.system`` are left out where they are not
        stated, so that plans locked before there were such keys keep their digest.
        """
        content = self.model_dump(mode="json", by_alias=True)
        if content["sampling"]["system"] is None:
            del content["sampling"]["system"]
        return {
            key: value
            for key, value in content.items()
            if value is not None or key not in ("matter", "profile", "watch")
        }

    def request(self) -> AuditRequest:
        """Return the audit that the plan asks for."""
        controls = [
            ControlSpec(
                spec=self.subject(one.spec), role=one.role or "independent", family=one.family
            )
            for one in self.controls
        ]
        if self.base is not None:
            controls.append(ControlSpec(spec=self.subject(self.base), role="base"))
        return AuditRequest(
            command="audit",
            reference=self.subject(self.reference),
            suspects=tuple(self.subject(one.spec) for one in self.suspects),
            controls=tuple(controls),
            suites=tuple(self.suite(name) for name in self.suites or ()),
            access=Access[self.access],
            probes=self.probes,
            repeats=self.sampling.repeats,
            decoding=Decoding(**self.sampling.model_dump(exclude={"repeats", "system"})),
            system=self.sampling.system,
            seed=self.seed,
            device=self.compute.device,
            dtype=self.compute.dtype,
            batch_tokens=self.compute.batch_tokens,
            encoder=self.encoder,
            watch=None if self.watch is None else Watched(**self.watch.model_dump()),
        )


def _contradiction(plan: AuditPlan) -> str | None:
    """Return what does not go together, as a sentence; None where all does."""
    names = [one.name for one in plan.hypotheses]
    specs = [one.spec for one in plan.suspects]
    rules = {
        "a hypothesis stands twice": len(set(names)) < len(names),
        "a suspect stands twice": len(set(specs)) < len(specs),
        "a suspect is the reference itself: name another model": plan.reference in specs,
        "a measure stands twice": len(set(plan.measures)) < len(plan.measures),
        "stopping fixed without a suite: give the name of one": plan.suites == [],
    }
    return next((sentence for sentence, broken in rules.items() if broken), None)


def plan_from(values: Any, folder: Path = Path()) -> AuditPlan:
    """Return the plan that a mapping describes; relative paths start at `folder`.

    Raises:
        PlanError: an unknown key, a missing or wrong value, a contradiction.
    """
    from pydantic import ValidationError

    if not isinstance(values, dict):
        raise PlanError(
            f"a plan is a mapping, not {type(values).__name__}", hint="see: auditor plan init"
        )
    try:
        plan = AuditPlan.model_validate(values)
    except ValidationError as error:
        problem = recipe_error(error, AuditPlan, "plan")
        raise PlanError(problem.message, hint=problem.hint) from error
    _check_measures(plan)
    plan._folder = folder
    return plan


def _check_measures(plan: AuditPlan) -> None:
    from auditor.measures import get

    for name in plan.measures:
        try:
            get(name)
        except InputError as error:
            raise PlanError(f"measures: {error.message}", hint=error.hint) from error


def load_plan(path: Path) -> AuditPlan:
    """Return the plan of a YAML file.

    Raises:
        PlanError: the file cannot be read, is not YAML, or is not a plan.
    """
    try:
        values = read_yaml(path, "plan")
    except RecipeError as error:
        raise PlanError(error.message, hint=error.hint) from error
    return plan_from(values, path.resolve().parent)


def plan_schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan, for editors: reports/schema/audit-plan-1.json."""
    schema = AuditPlan.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": SCHEMA,
    }
