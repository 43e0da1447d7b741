"""Train the members of a pack: jobs that depend on each other, one process a core."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from auditor.controls.material import Windows
from auditor.controls.members import Member
from auditor.controls.pack_folder import PackFolder
from auditor.controls.recipe import PackRecipe
from auditor.progress import Progress

if TYPE_CHECKING:
    from auditor.controls.ensemble_lessons import Batch, Lessons

WRITTEN_DOCUMENTS = 5000
"""Documents that a teacher writes for its text students, all of them together."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work of one process: members trained together, a teacher that writes, or a transform."""

    kind: Literal["train", "write", "transform"]
    members: tuple[str, ...]
    needs: frozenset[Path]
    """Files that must be there before."""
    makes: tuple[Path, ...]


def build_pack(recipe: PackRecipe, root: Path, *, processes: int, progress: Progress) -> PackFolder:
    """Make every model of a pack that its folder lacks. Can be interrupted and repeated.

    Raises:
        CaseError: the folder holds another pack.
    """
    folder = PackFolder(recipe, root)
    folder.claim()
    jobs = [job for job in jobs_of(folder) if not all(path.exists() for path in job.makes)]
    with progress.task("control models", sum(len(job.members) for job in jobs)) as task:
        for job in _run(folder, jobs, processes):
            task.advance(len(job.members))
    return folder


def jobs_of(folder: PackFolder) -> tuple[Job, ...]:
    """Return the jobs of a pack, in the order of its groups."""
    jobs: list[Job] = []
    groups: dict[str, list[Member]] = {}
    for member in folder.members.values():
        groups.setdefault(member.group.name, []).append(member)
    written: set[Path] = set()
    for members in groups.values():
        for path, member in {folder.written(m): m for m in members if _reads(m)}.items():
            if path not in written:
                written.add(path)
                needs = frozenset({_ready(folder, str(member.teacher))})
                jobs.append(Job("write", (member.name,), needs, (path,)))
        jobs += _jobs_of_group(folder, members)
    return tuple(jobs)


def _jobs_of_group(folder: PackFolder, members: Sequence[Member]) -> list[Job]:
    size = folder.recipe.training.ensemble
    if members[0].group.transform is not None:
        size = len(members)
    # Members of one ensemble take the same number of steps.
    ordered = sorted(members, key=lambda member: (member.steps, member.number))
    chunks: list[list[Member]] = []
    for member in ordered:
        if not chunks or len(chunks[-1]) == size or chunks[-1][0].steps != member.steps:
            chunks.append([])
        chunks[-1].append(member)
    kind: Literal["train", "transform"] = (
        "train" if members[0].group.transform is None else "transform"
    )
    return [
        Job(
            kind,
            tuple(member.name for member in chunk),
            frozenset(path for member in chunk for path in _needs(folder, member)),
            tuple(_ready(folder, member.name) for member in chunk),
        )
        for chunk in chunks
    ]


def _reads(member: Member) -> bool:
    return member.group.teaching is not None and member.group.teaching.via == "text"


def _ready(folder: PackFolder, name: str) -> Path:
    return folder.model(name) / "config.json"


def _needs(folder: PackFolder, member: Member) -> Iterator[Path]:
    for name in (member.start, member.teacher, member.partner):
        if name is not None:
            yield _ready(folder, name)
    if _reads(member):
        yield folder.written(member)


def _run(folder: PackFolder, jobs: list[Job], processes: int) -> Iterator[Job]:
    """Run jobs as soon as what they need is there; yield each when it is done."""
    waiting, running = list(jobs), dict[Future[None], Job]()
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=one_thread) as pool:
        while waiting or running:
            ready = [job for job in waiting if all(path.exists() for path in job.needs)]
            for job in ready[: max(0, processes - len(running))]:
                waiting.remove(job)
                running[pool.submit(run_job, folder.recipe, folder.root, job)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                yield running.pop(future)


def one_thread() -> None:
    """Keep a worker to one thread: there is a process for every core."""
    import torch

    torch.set_num_threads(1)


def run_job(recipe: PackRecipe, root: Path, job: Job) -> None:
    """Do one job in this process."""
    folder = PackFolder(recipe, root)
    members = [folder.members[name] for name in job.members]
    if job.kind == "train":
        train_members(folder, members)
    elif job.kind == "write":
        write_documents(folder, members[0])
    else:
        from auditor.controls.pack_transforms import transform_members

        transform_members(folder, members)


def train_members(folder: PackFolder, members: Sequence[Member]) -> None:
    """Train members of one shape together and save each."""
    from auditor.controls.ensemble import train
    from auditor.controls.ensemble_lessons import Recipe
    from auditor.controls.ensemble_weights import init_weights, member_weights, stack_weights

    shape, training = folder.shape(members[0]), folder.recipe.training
    if members[0].start is None:
        weights = init_weights(shape, [member.seed for member in members])
    else:
        weights = stack_weights(shape, [folder.load(str(member.start)) for member in members])
    teaching = members[0].group.teaching
    recipe = Recipe(
        steps=members[0].steps,
        learning_rate=training.learning_rate,
        warmup=training.warmup,
        weight_decay=training.weight_decay,
        temperature=teaching.temperature if teaching and teaching.via == "logits" else 1.0,
    )
    trained = train(shape, weights, _lessons(folder, members), recipe)
    for index, member in enumerate(members):
        folder.save(member, member_weights(shape, trained.weights, index))


def _lessons(folder: PackFolder, members: Sequence[Member]) -> "Lessons":
    from auditor.controls.ensemble_lessons import Lessons, Teacher
    from auditor.controls.ensemble_weights import stack_weights

    teaching = members[0].group.teaching
    by_logits = teaching is not None and teaching.via == "logits"
    drawn = [_windows(folder, member) for member in members]
    teacher = None
    if by_logits:
        names = sorted({str(member.teacher) for member in members})
        shape = folder.shape(folder.members[names[0]])
        teacher = Teacher(
            shape=shape,
            weights=stack_weights(shape, [folder.load(name) for name in names]),
            of_member=tuple(names.index(str(member.teacher)) for member in members),
        )
    training = folder.recipe.training

    def batches(step: int) -> "Batch":
        return _batch(drawn, (training.sequences, training.length), by_logits=by_logits)

    return Lessons(batches=batches, teacher=teacher)


def _windows(folder: PackFolder, member: Member) -> Windows:
    own, teaching = folder.own_stream(member), member.group.teaching
    if teaching is None:
        return Windows(own, None, 0.0, member.seed)
    # A student by logits reads its own text and learns what the teacher expects of it.
    other = own if teaching.via == "logits" else folder.imitated_stream(member)
    return Windows(own, other, teaching.dose, member.seed)


def _batch(drawn: Sequence[Windows], size: tuple[int, int], *, by_logits: bool) -> "Batch":
    import torch

    from auditor.controls.ensemble_lessons import Batch

    rows = [windows.draw(*size) for windows in drawn]
    tokens = torch.from_numpy(np.stack([tokens for tokens, _ in rows]))
    imitated = torch.from_numpy(np.stack([chosen for _, chosen in rows]))
    return Batch(tokens=tokens, imitated=imitated if by_logits else None)


def write_documents(folder: PackFolder, student: Member) -> None:
    """Let a teacher write the documents that its text students train on."""
    import json

    from auditor.case import atomic_write
    from auditor.controls.writing import sampled_documents

    teacher = folder.members[str(student.teacher)]
    teaching = student.group.teaching
    heat = 1.0 if teaching is None else teaching.temperature
    documents = sampled_documents(folder, teacher, WRITTEN_DOCUMENTS, heat)
    atomic_write(folder.written(student), json.dumps(documents).encode())
