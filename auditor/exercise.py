"""Blinded exercises: suspects of known truth, for the error rate of whoever audits them.

PCAST 2016 asks for black-box studies: how often is an examiner wrong where the truth is known to
somebody else? The suspects are trained here, from one shape and by one trainer, and saved by one
path, so that nothing but their weights tells them apart. The truth goes into a key file, and its
digest into the exercise: neither can be changed afterwards without notice.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import canonical_json, digest, file_digest, pretty_json
from auditor.case import atomic_write
from auditor.errors import CaseError, InputError
from auditor.models.tiny import pack_folder
from auditor.progress import Progress

SCHEMA, KEY_SCHEMA, RESULT_SCHEMA = (
    f"auditor/exercise{part}/1" for part in ("", "-key", "-result")
)
PACK = "zoo"
REFERENCE = f"tiny:{PACK}/reference-00"
SIBLINGS = tuple(f"tiny:{PACK}/sibling-teacher-{number:02d}" for number in range(2))
TRUTHS = ("independent", "imitation", "replication")
READING_OF = {"independent": "no-link", "imitation": "imitation", "replication": "replication"}
"""The right reading of each truth."""
READINGS = (*READING_OF.values(), "inconclusive")
_STEPS = 420
_SHAPE = {"architecture": "llama", "hidden": 48, "layers": 2, "heads": 4, "ffn": 128,
          "max_length": 320, "tie": False}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """A new exercise."""

    folder: Path
    suspects: tuple[Path, ...]
    key: Path
    """Holds the truth; not to be given to the examiner."""


def new_exercise(
    folder: Path,
    key: Path,
    *,
    cases: int,
    seed: int | None,
    progress: Progress,
    steps: int = _STEPS,
) -> Exercise:
    """Make `cases` suspects, each independent, an imitation or a replica with chance 1/3.

    Half of the independent ones are students of a sibling of the reference. Interrupted work is
    continued by the same call.

    Args:
        folder: new; what the examiner gets.
        key: new file outside of it.
        cases: at least 1.
        seed: of the truth and of all training; None draws one, kept in the key.
        progress: shows the suspects as they are done.
        steps: of training; fewer make imitations that are harder to see.

    Raises:
        InputError: no case is asked for, or the key lies in the folder.
        CaseError: the folder or the key exists.
    """
    if cases < 1:
        raise InputError(f"cases must be at least 1, found {cases}")
    if key.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{key} lies in the exercise", hint="keep the key where no examiner looks")
    for path in (folder, key):
        if path.exists():
            raise CaseError(f"{path} exists", hint="give another; nothing is replaced")
    part = folder.with_name(folder.name + ".part")
    seed = _begun(part, seed, {"cases": cases, "steps": steps})
    draw = np.random.RandomState(seed)
    truths = [TRUTHS[draw.randint(len(TRUTHS))] for _ in range(cases)]
    with progress.task("suspects", cases) as task:
        for number, truth in enumerate(truths, 1):
            _make(part, f"suspect-{number:02d}", truth, int(draw.randint(1 << 30)), steps)
            task.advance()
    return _close(part, folder, key, truths, seed)


def _begun(part: Path, seed: int | None, asked: dict[str, int]) -> int:
    """Return the seed: the given one, a drawn one, or that of the work that was interrupted."""
    path = part / "work" / "begun.json"
    if path.is_file():
        found = json.loads(path.read_bytes())
        if {**asked, "seed": found["seed"] if seed is None else seed} != found:
            raise CaseError(
                f"{part} holds another unfinished exercise",
                hint="repeat the command that began it, or remove the folder",
            )
        return int(found["seed"])
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    atomic_write(path, pretty_json({**asked, "seed": seed}))
    return seed


def _make(part: Path, name: str, truth: str, seed: int, steps: int) -> None:
    """Train one suspect and save it by the path that all take."""
    from auditor.controls.transforms import permute
    from auditor.distill.recipe import load_recipe
    from auditor.distill.run import distill

    made = part / "suspects" / name
    if (made / "model.safetensors").is_file():
        return
    work = part / "work" / name
    work.mkdir(parents=True, exist_ok=True)
    recipe = _recipe(truth, seed, steps)
    if "teacher" in recipe:
        permission = json.loads((pack_folder(PACK) / "permission.json").read_bytes())
        permission["teacher"]["spec"] = recipe["teacher"]
        atomic_write(work / "permission.json", pretty_json(permission))
        atomic_write(work / "LICENSE", (pack_folder(PACK) / "LICENSE").read_bytes())
    atomic_write(work / "recipe.yaml", pretty_json(recipe))  # JSON is YAML
    distill(load_recipe(work / "recipe.yaml"), work / "run")
    shutil.rmtree(made, ignore_errors=True)  # of a call that was cut off while it saved
    permute(f"local:{work / 'run' / 'student'}", made, seed=seed)


def _recipe(truth: str, seed: int, steps: int) -> dict[str, Any]:
    teacher = {
        "imitation": REFERENCE,
        "replication": None,
        "independent": SIBLINGS[seed // 2 % 2] if seed % 2 else None,
    }[truth]
    own = {"init": {**_SHAPE, "tokenizer": REFERENCE}}
    copied = truth == "replication"
    recipe: dict[str, Any] = {
        "student": {"from": REFERENCE} if copied else own,
        "data": {
            "corpus": {"name": "stories", "seed": seed % 100_000, "documents": 3000},
            "holdout": 0.0,
            "max_length": 160,
        },
        "method": {"kind": "baseline"},
        "train": {
            "steps": max(1, steps // 10) if copied else steps,
            "batch_tokens": 800,
            "lr": 2e-3 if copied else 8e-3,
            "seed": seed,
        },
    }
    if teacher is None:
        return recipe
    recipe |= {"teacher": teacher, "permission": "permission.json"}
    return recipe | {"method": {"kind": "logits", "divergence": "forward-kl"}}


def _close(part: Path, folder: Path, key: Path, truths: list[str], seed: int) -> Exercise:
    """Write key and exercise, and give the folder its name."""
    shutil.rmtree(part / "work", ignore_errors=True)
    names = sorted(path.name for path in (part / "suspects").iterdir())
    sealed = {
        "schema": KEY_SCHEMA,
        "salt": secrets.token_hex(32),
        "seed": seed,
        "truths": dict(zip(names, truths, strict=True)),
    }
    weights = {name: file_digest(part / "suspects" / name / "model.safetensors") for name in names}
    exercise = {
        "schema": SCHEMA,
        "reference": REFERENCE,
        "suspects": weights,
        "truths": list(TRUTHS),
        "commitment": digest(canonical_json(sealed)),
    }
    atomic_write(part / "exercise.json", pretty_json(exercise))
    atomic_write(key, pretty_json(sealed))
    part.rename(folder)
    suspects = tuple(folder / "suspects" / name for name in names)
    return Exercise(folder=folder, suspects=suspects, key=key)


def open_exercise(folder: Path, key: Path, answers: Mapping[str, str]) -> dict[str, Any]:
    """Return the examiner's errors as ``auditor/exercise-result/1``.

    Args:
        folder: of the exercise.
        key: its key file.
        answers: {suspect: reading}; an unanswered suspect counts as inconclusive.

    Raises:
        CaseError: the folder is no exercise, a suspect was changed, or the key is another one.
        InputError: an answer is no reading, or about nobody.
    """
    exercise = _read(folder / "exercise.json", SCHEMA)
    sealed = _read(key, KEY_SCHEMA)
    if digest(canonical_json(sealed)) != exercise["commitment"]:
        raise CaseError(f"{key} is not the key of {folder}", hint="one of both was changed")
    for name, weights in exercise["suspects"].items():
        if file_digest(folder / "suspects" / name / "model.safetensors") != weights:
            raise CaseError(f"{name} is not the suspect of the exercise", hint="it was changed")
    unknown = sorted(set(answers) - set(sealed["truths"]))
    if unknown:
        raise InputError(f"no suspect is called {unknown[0]!r}", hint="see exercise.json")
    wrong = sorted({one for one in answers.values() if one not in READINGS})
    if wrong:
        raise InputError(f"{wrong[0]!r} is no reading", hint="one of " + ", ".join(READINGS))
    found = {name: answers.get(name, "inconclusive") for name in sealed["truths"]}
    return _scored(sealed["truths"], found)


def _scored(truths: Mapping[str, str], answers: Mapping[str, str]) -> dict[str, Any]:
    linked = [name for name, truth in truths.items() if truth != "independent"]
    clean = [name for name, truth in truths.items() if truth == "independent"]
    accused = [name for name in clean if answers[name] in TRUTHS]
    cleared = [name for name in linked if answers[name] == "no-link"]
    mistaken = [n for n in linked if answers[n] in TRUTHS and answers[n] != READING_OF[truths[n]]]
    return {
        "schema": RESULT_SCHEMA,
        "cases": [
            {"suspect": name, "truth": truth, "answer": answers[name]}
            for name, truth in truths.items()
        ],
        "false_accusations": _rate(len(accused), len(clean)),
        "missed_links": _rate(len(cleared), len(linked)),
        "mistaken_kinds": _rate(len(mistaken), len(linked)),
        "undecided": _rate(sum(a == "inconclusive" for a in answers.values()), len(answers)),
    }


def _rate(count: int, of: int) -> dict[str, Any]:
    """Return a share with its exact 95 % limits; none of nothing is no share."""
    from auditor.judge.rates import clopper_pearson

    interval = list(clopper_pearson(count, of)) if of else None
    return {"count": count, "of": of, "interval": interval}


def _read(path: Path, schema: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CaseError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("schema") != schema:
        raise CaseError(f"{path} is not {schema}", hint="`auditor exercise new` makes one")
    return content
