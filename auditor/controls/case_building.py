"""Make a case's own controls: each is distilled, or transformed, and listed for `--control`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.canon import digest, pretty_json
from auditor.case import atomic_write
from auditor.collect.executors import Executor, Job, carry_out
from auditor.controls.case_members import (
    CaseMember,
    case_members,
    lesson,
    own_spec,
    permission_file,
)
from auditor.controls.case_recipe import CaseRecipe, load_case_recipe
from auditor.controls.pack_folder import claim
from auditor.controls.pack_transforms import Chosen, apply_transform, chosen_transform
from auditor.distill.documents import read_sources
from auditor.distill.permission import require_permission, template
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.distill.run_folder import recipe_yaml
from auditor.models.specifier import identify
from auditor.progress import Progress


def build_case_controls(
    path: Path, out: Path, *, progress: Progress, executor: Executor | None = None
) -> Path:
    """Make the controls of a recipe in the folder `out`; return it, for ``--control pack:OUT``.

    What is there is not made again, and a run that was cut goes on. Every recipe, its data and its
    permission are checked before the first training.

    Args:
        path: of the recipe.
        out: folder of the controls.
        progress: shows it.
        executor: whose workers make several at once, each after the one it learns from; None:
            this process makes one after another. The models are the same.

    Raises:
        ExecutorError: it cannot be reached, or loses its workers; repeat the call to continue.
        RecipeError: the recipe, or that of a member, cannot be used.
        PermissionRefusedError: the reference's outputs may not be learned from.
        SubjectError: the reference cannot be found.
        CaseError: `out` holds the controls of another recipe.
    """
    recipe, folder = load_case_recipe(path), path.resolve().parent
    identify(_subject(recipe, folder))
    members = case_members(recipe)
    trained = [member for member in members if member.group.kind != "transform"]
    lessons = {m.name: _lesson(recipe, m, out, folder) for m in trained}
    for member in members:
        if member not in trained:
            _chosen(member)
    _check(members, lessons)
    claim(out, recipe)
    _permit(recipe, members, out, path)
    if executor is None:
        for member in members:
            build_member(path, out, member.name, progress)
    else:
        _build_apart(executor, path, out, members, progress)
    atomic_write(out / "controls.json", pretty_json(_listed(recipe, members)))
    return out


def build_member(path: Path, out: Path, name: str, progress: Progress | None = None) -> None:
    """Make one control of a recipe that was checked; those that it comes after are there."""
    recipe, folder = load_case_recipe(path), path.resolve().parent
    members = {member.name: member for member in case_members(recipe)}
    member = members[name]
    if member.group.kind == "transform":
        source = _subject(recipe, folder)
        if member.source is not None:
            source = f"local:{out / members[member.source].place}"
        _transform(_chosen(member), member, out, source)
    else:
        plan = _lesson(recipe, member, out, folder)
        atomic_write(out / "recipes" / f"{name}.yaml", recipe_yaml(plan))
        distill(plan, out / "runs" / name, progress=progress)


def _build_apart(
    executor: Executor,
    path: Path,
    out: Path,
    members: Sequence[CaseMember],
    progress: Progress,
) -> None:
    import torch

    jobs = [
        Job(
            name=member.name,
            function="auditor.controls.case_building:build_apart",
            arguments={
                "path": path.resolve(),
                "out": out.resolve(),
                "name": member.name,
                "threads": torch.get_num_threads(),
            },
            after=frozenset() if member.source is None else frozenset({member.source}),
        )
        for member in members
    ]
    with executor, progress.task("control models", len(jobs)) as bar:
        carry_out(executor, jobs, lambda outcome: bar.advance(), lambda outcome: None)


def build_apart(path: Path, out: Path, name: str, threads: int) -> None:
    """Make one control in the process of a worker, with the threads that this process has."""
    import torch

    torch.set_num_threads(threads)
    build_member(path, out, name)


def _lesson(recipe: CaseRecipe, member: CaseMember, out: Path, folder: Path) -> Recipe:
    return recipe_from(lesson(recipe, member, out=out, folder=folder), folder)


def _subject(recipe: CaseRecipe, folder: Path) -> str:
    """Return the reference's specifier with its path resolved, as `distill` resolves it."""
    plain = {
        "student": {"from": recipe.reference},
        "data": {"text": "none"},
        "method": {"kind": "baseline"},
        "train": {"steps": 1},
    }
    return recipe_from(plain, folder).subject(recipe.reference)


def _check(members: Sequence[CaseMember], lessons: dict[str, Recipe]) -> None:
    for member in members:
        if member.name in lessons:
            read_sources(lessons[member.name])
            if member.group.kind == "imitation":
                require_permission(lessons[member.name])


def _permit(recipe: CaseRecipe, members: Sequence[CaseMember], out: Path, path: Path) -> None:
    """Write the permissions to learn from models made here: the recipe's approver gives them."""
    for teacher in sorted({str(m.source) for m in members if m.group.kind == "sibling-student"}):
        target = out / permission_file(teacher)
        content = template(own_spec(out, path.resolve().parent, teacher))
        digits = digest(path.read_bytes()).removeprefix("sha256:")
        content["licence"].update(id="LicenseRef-made-here", text_sha256=digits)
        quote = f"{teacher} is trained by the recipe {recipe.name} itself"
        content["clauses"][0]["quote"] = quote
        content.update(approver=recipe.approver, verdict="permit")
        atomic_write(target, pretty_json(content))


def _chosen(member: CaseMember) -> Chosen:
    choice = member.group.transform
    if choice is None:  # the recipe refuses such a group
        raise TypeError(f"{member.name} is not transformed")
    return chosen_transform(choice, member.group.name, seed=member.seed, partner=choice.partner)


def _transform(how: Chosen, member: CaseMember, out: Path, source: str) -> None:
    if not (out / member.place).is_dir():
        apply_transform(how, source, out / member.place, member.group.name)


def _listed(recipe: CaseRecipe, members: Sequence[CaseMember]) -> dict[str, Any]:
    return {
        "schema": "auditor/control-pack/1",
        "name": recipe.name,
        "reference": recipe.reference,
        "controls": [
            {"name": m.name, "role": m.role, "family": m.family, "path": m.place} for m in members
        ],
        "exhibits": [],
    }
