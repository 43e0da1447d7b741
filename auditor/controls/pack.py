"""A finished pack: the models that ship, the score table, the calibration, the results."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auditor.canon import file_digest, pretty_json
from auditor.case import atomic_write
from auditor.controls.members import Member, members_of, shipped_members
from auditor.controls.pack_calibration import SAMPLE, calibrate_pack
from auditor.controls.pack_evaluation import evaluate
from auditor.controls.pack_folder import PackFolder
from auditor.controls.pack_report import evaluation_markdown, robustness_markdown
from auditor.controls.pack_scores import SUITES, read_again, score_pack, write_scores
from auditor.controls.pack_training import build_pack
from auditor.controls.recipe import PackRecipe, load_pack_recipe
from auditor.controls.robustness import robustness
from auditor.errors import RecipeError
from auditor.judge.calibration import FILE
from auditor.judge.population import Population
from auditor.progress import Progress
from auditor.types import Access

_ROOM = 2
"""Families that a case's pool may lack of the pack's, or have more."""


def make_pack(recipe: Path, out: Path, *, processes: int, progress: Progress) -> Path:
    """Train, score, calibrate, serve and write the pack of a recipe; return its folder.

    That is ``out/pack``. What is already there is not made again.

    Raises:
        RecipeError: the recipe cannot be used.
        CaseError: `out` holds another pack.
    """
    content = load_pack_recipe(recipe)
    _check_exhibits(content)
    folder = build_pack(content, out, processes=processes, progress=progress)
    rows = score_pack(folder, out / "cases", processes=processes, progress=progress)
    pack = out / "pack"
    write_pack(folder, rows, out / "cases", pack)
    atomic_write(pack / "recipe.yaml", recipe.read_bytes())
    write_results(pack, robustness(folder, out / "serving", processes=processes))
    write_sums(pack)
    return pack


def _check_exhibits(recipe: PackRecipe) -> None:
    members = members_of(recipe)
    controls = {member.name for member in shipped_members(members)}
    locked = {member.name for member in members if member.split == "locked"} - controls
    for name in recipe.exhibits:
        if name not in locked:
            raise RecipeError(
                f"the exhibit {name} is a control, or no member of the locked half",
                hint=f"for example {min(locked, default='none')}",
            )


def write_results(pack: Path, served: Sequence[dict[str, Any]]) -> None:
    """Write the table of served models, and all results for readers: ``results.md``."""
    write_json(pack / "serving.json", {"schema": "auditor/serving/1", "rows": list(served)})
    title = "Three-way audit of the shipped population"
    tables = evaluation_markdown(read_pack_json(pack, "evaluation.json"), title)
    atomic_write(pack / "results.md", f"{tables}\n{robustness_markdown(served)}\n".encode())


def write_pack(folder: PackFolder, rows: Sequence[dict[str, Any]], cases: Path, pack: Path) -> None:
    """Write everything of a pack that follows from its models and their scores."""
    members = list(folder.members.values())
    reference, *controls = shipped_members(members)
    exhibits = [folder.members[name] for name in folder.recipe.exhibits]
    for member in (reference, *controls, *exhibits):
        _ship(folder, member, pack)
    write_json(pack / "controls.json", _listed(folder, reference, controls, exhibits))
    population = population_of(folder, rows, len({control.family for control in controls}))
    calibration = calibrate_pack(rows, population)
    write_json(pack / FILE, calibration.as_json())
    read = _without_places(folder, read_again(folder, cases, calibration))
    write_scores(pack / "scores.jsonl", read)
    write_json(pack / "evaluation.json", evaluate(read))


def _without_places(folder: PackFolder, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with models named by their names: where they lay says nothing to others."""
    place = f"local:{folder.model('x').parent.resolve()}/"
    found: list[dict[str, Any]] = json.loads(json.dumps(list(rows)).replace(place, ""))
    return found


def _ship(folder: PackFolder, member: Member, pack: Path) -> None:
    target = pack / "models" / member.name
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder.model(member.name), target)


def _listed(
    folder: PackFolder, reference: Member, controls: Sequence[Member], exhibits: Sequence[Member]
) -> dict[str, Any]:
    return {
        "schema": "auditor/control-pack/1",
        "name": folder.recipe.name,
        "reference": reference.name,
        "controls": [
            {
                "name": control.name,
                "role": "sibling" if control.role == "sibling" else "independent",
                "family": control.family,
            }
            for control in controls
        ],
        "exhibits": [{"name": shown.name, "truth": shown.role} for shown in exhibits],
    }


def population_of(folder: PackFolder, rows: Sequence[dict[str, Any]], families: int) -> Population:
    """Return what the pack's models are a sample of."""
    from auditor.collect.suite import load_suite
    from auditor.models.specifier import identify

    one_of = {row["shape"]: row["name"] for row in rows}
    refs = [identify(f"local:{folder.model(name)}") for name in one_of.values()]
    parameters = [ref.parameters for ref in refs if ref.parameters is not None]
    vocabulary = [ref.vocabulary for ref in refs if ref.vocabulary is not None]
    return Population(
        name=folder.recipe.name,
        parameters=(min(parameters), max(parameters)),
        vocabulary=(min(vocabulary), max(vocabulary)),
        architectures=tuple(sorted({str(ref.architecture) for ref in refs})),
        tokenizers=tuple(sorted({str(ref.tokenizer_digest) for ref in refs})),
        access=tuple(Access),
        null_families=(families - _ROOM, families + _ROOM),
        suites=tuple(load_suite(name).id for name in SUITES),
        measures=(SAMPLE,),
    )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file of a pack: readable, keys sorted."""
    atomic_write(path, pretty_json(value))


def write_sums(pack: Path) -> None:
    """Write SHA256SUMS over every other file of a pack."""
    files = sorted(path for path in pack.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [
        f"{file_digest(path).removeprefix('sha256:')}  {path.relative_to(pack).as_posix()}\n"
        for path in files
    ]
    atomic_write(pack / "SHA256SUMS", "".join(lines).encode())


def read_pack_json(pack: Path, name: str) -> dict[str, Any]:
    """Return the content of one of a pack's JSON files."""
    content: dict[str, Any] = json.loads((pack / name).read_bytes())
    return content
