"""Probe suites: finding, checking and loading the inputs that are given to every model.

A suite is named ``name`` (its newest version), ``name@1``, or by the path of a suite folder or of
a bare `.jsonl` file of items. Shipped suites lie in ``probes/<name>/v<N>/``; the list
``probes/RELEASED`` pins their digests, because a released suite is never edited.
"""

import re
import shutil
from pathlib import Path

from auditor.canon import digest
from auditor.case import storage_errors
from auditor.collect.suite_format import (
    ITEMS,
    MANIFEST,
    SUITE_FILES,
    SUMS,
    Manifest,
    folder_digest,
    kind_problems,
    read_bytes,
    read_manifest,
    sums_problems,
    with_defaults,
)
from auditor.collect.suite_items import Items, read_items
from auditor.collect.suite_lint import lint_root, lint_suite
from auditor.collect.suite_release import released, version_folders
from auditor.collect.suite_sealed import read_sealed
from auditor.collect.suite_selection import Selection, select_probes
from auditor.data import data_dir
from auditor.errors import SuiteError
from auditor.types import ProbeSuite

__all__ = [
    "DEFAULT_SUITES",
    "Selection",
    "copy_suite",
    "lint_root",
    "lint_suite",
    "list_suites",
    "load_suite",
    "read_manifest",
    "select_probes",
    "suite_path",
]

DEFAULT_SUITES = (
    "instructions",
    "continuations",
    "confabulation",
    "reasoning",
    "formatting",
    "borderline",
    "multilingual",
    "ood",
    "choices",
)
"""What `compare` asks unless suites are named: all kinds of behaviour, no identity questions,
which a system prompt decides and which carry weight 0."""

UNSTATED = "unstated"
_BARE_COPY = "bare.jsonl"
_NAME = re.compile(r"^([a-z][a-z0-9-]*)(?:@([0-9]+))?$")


def load_suite(
    spec: str | Path, root: Path | None = None, reveal: Path | None = None
) -> ProbeSuite:
    """Return a suite, checked against its digests.

    Args:
        spec: a shipped name with or without ``@version``, or a path. A bare `.jsonl` file is
            version 0 with the licence "unstated" and the digest of the file.
        root: folder of the shipped suites; the installed one by default.
        reveal: file of the suite's sealed part, whose probes are added after the public ones.

    Raises:
        SuiteError: unknown name, missing or malformed file, duplicate ids, no probe, text that is
            not UTF-8, no licence, a digest that does not match.
    """
    path = suite_path(spec, root)
    if path.is_file():
        if reveal is not None:
            raise SuiteError(f"{path} has no sealed part", hint="leave out the revealed file")
        return _bare_suite(path)
    return _folder_suite(path, reveal)


def list_suites(root: Path | None = None) -> tuple[ProbeSuite, ...]:
    """Return every version of every shipped suite, by name and version."""
    base = data_dir("probes") if root is None else root
    return tuple(_folder_suite(folder, None) for folder in version_folders(base).values())


def suite_path(spec: str | Path, root: Path | None = None) -> Path:
    """Return the folder, or the bare items file, that `spec` names.

    A shipped name wins over a file of the same name in the current folder: write ``./name``.

    Raises:
        SuiteError: there is none; the message lists the known names.
    """
    named = _NAME.match(spec) if isinstance(spec, str) else None
    if named:
        folders = version_folders(data_dir("probes") if root is None else root)
        found = _shipped(folders, named[1], named[2])
        if found:
            return found
        if not Path(spec).exists():
            raise _unknown(str(spec), folders)
    path = Path(spec)
    if not path.exists():
        raise SuiteError(
            f"there is no probe suite at {path}", hint="see the names: auditor probes list"
        )
    return _only_items_file(path) if path.is_dir() else path


def copy_suite(
    spec: str | Path, folder: Path, root: Path | None = None, reveal: Path | None = None
) -> None:
    """Copy the files of a suite, byte for byte, into `folder`, for a case.

    `load_suite(folder)` reads the copy back. A revealed sealed part is copied as `sealed.jsonl`,
    a bare file that is called as the items of a suite folder are as `bare.jsonl`: alone in a
    folder, it would be a suite whose manifest is missing.

    Raises:
        SuiteError: as `load_suite`.
        StorageError: the copy cannot be written.
    """
    load_suite(spec, root, reveal)
    path = suite_path(spec, root)
    sources = {_BARE_COPY if path.name == ITEMS else path.name: path}
    if path.is_dir():
        sources = {name: path / name for name in (*SUITE_FILES, SUMS)}
    if reveal is not None:
        sources["sealed.jsonl"] = reveal
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in sources.items():
            shutil.copyfile(source, folder / name)


def _folder_suite(folder: Path, reveal: Path | None) -> ProbeSuite:
    manifest = read_manifest(folder)
    _refuse(sums_problems(folder), hint=f"restore the files, or rewrite {SUMS} for an own suite")
    own_digest = folder_digest(folder)
    _refuse_edited(folder, manifest, own_digest)
    items = read_items(folder / ITEMS)
    if reveal is not None:
        items = _joined(items, read_sealed(manifest, reveal))
    _refuse([*items.problems, *kind_problems(manifest, items.probes)], hint="correct the suite")
    return ProbeSuite(
        name=manifest.name,
        version=manifest.version,
        title=manifest.title,
        licence=manifest.licence,
        digest=own_digest,
        probes=with_defaults(manifest, items.probes),
        sealed=manifest.sealed.digest if manifest.sealed else None,
    )


def _bare_suite(path: Path) -> ProbeSuite:
    items = read_items(path)
    _refuse(list(items.problems), hint='a line is {"id", "category", "messages" or "text"}')
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    return ProbeSuite(
        name=slug or "probes",
        version=0,
        title=path.name,
        licence=UNSTATED,
        digest=digest(read_bytes(path)),
        probes=items.probes,
    )


def _joined(public: Items, sealed: Items) -> Items:
    known = {p.id for p in public.probes}
    clashes = [f"the sealed part repeats the id {p.id!r}" for p in sealed.probes if p.id in known]
    return Items(
        probes=public.probes + sealed.probes,
        problems=(*public.problems, *sealed.problems, *clashes),
    )


def _refuse(problems: list[str], hint: str) -> None:
    if problems:
        more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
        raise SuiteError(problems[0] + more, hint=hint)


def _refuse_edited(folder: Path, manifest: Manifest, own_digest: str) -> None:
    """Raise where the root of `folder` released this version with another digest."""
    name = f"{manifest.name}@{manifest.version}"
    pinned = released(folder.parent.parent).get(name, own_digest)
    if pinned != own_digest:
        raise SuiteError(
            f"{name} was edited after its release: digest {own_digest}, released {pinned}",
            hint="reinstall the package; a change needs a new version of the suite",
        )


def _shipped(folders: dict[tuple[str, int], Path], name: str, version: str | None) -> Path | None:
    versions = [v for known, v in folders if known == name]
    if not versions:
        return None
    wanted = int(version) if version is not None else max(versions)
    if wanted not in versions:
        listed = ", ".join(f"{name}@{v}" for v in sorted(versions))
        raise SuiteError(f"the suite {name} has no version {wanted}", hint=f"there is: {listed}")
    return folders[name, wanted]


def _unknown(spec: str, folders: dict[tuple[str, int], Path]) -> SuiteError:
    names = ", ".join(sorted({name for name, _ in folders})) or "none are installed"
    return SuiteError(
        f"there is no probe suite {spec!r}", hint=f"known suites: {names}; or give a path"
    )


def _only_items_file(folder: Path) -> Path:
    """Return `folder`, or its one .jsonl file where it is the copy of a bare file."""
    files = sorted(folder.glob("*.jsonl"))
    if not (folder / MANIFEST).exists() and len(files) == 1 and files[0].name != ITEMS:
        return files[0]
    return folder
