"""What is wrong with a suite, as a list: the check behind `auditor probes lint`."""

import json
import unicodedata
from collections import defaultdict
from pathlib import Path

from auditor.canon import canonical_json
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
    read_text,
    sums_problems,
)
from auditor.collect.suite_items import normalised_input, read_items
from auditor.collect.suite_release import VERSION, released, version_folders
from auditor.collect.suite_rules import generate
from auditor.errors import SuiteError
from auditor.types import Probe


def lint_suite(path: Path) -> list[str]:
    """Return every problem of a suite folder or of a bare items file; empty where there is none.

    For a folder: licence and all other keys, digests, the released digest, the folder's name, ids,
    near duplicates, and that a generated suite is what its rule generates. For a file: its items.
    """
    try:
        if path.is_file():
            items = read_items(path)
            return [*items.problems, *_text_problems(items.probes)]
        return _folder_problems(path)
    except SuiteError as error:
        return [error.message]


def lint_root(root: Path) -> list[str]:
    """Return the problems of all suites under `root`, and of the suites together."""
    folders = version_folders(root)
    problems = [problem for folder in folders.values() for problem in lint_suite(folder)]
    present = {f"{name}@{version}" for name, version in folders}
    try:
        pinned = released(root)
    except SuiteError as error:
        return [*problems, error.message]
    problems += [f"{name} was released and is missing" for name in pinned if name not in present]
    return problems + _shared_ids(folders)


def _folder_problems(folder: Path) -> list[str]:
    manifest = read_manifest(folder)
    items = read_items(folder / ITEMS)
    return [
        *sums_problems(folder),
        *_place_problems(folder, manifest),
        *items.problems,
        *kind_problems(manifest, items.probes),
        *_text_problems(items.probes),
        *_form_problems(folder),
        *_rule_problems(folder, manifest),
    ]


def _place_problems(folder: Path, manifest: Manifest) -> list[str]:
    """Return where the folder's name, its files or the released digest contradict the suite."""
    problems = []
    expected = f"{manifest.name}/v{manifest.version}"
    resolved = folder.resolve()
    copy_in_case = f"{manifest.name}@{manifest.version}"
    found = f"{resolved.parent.name}/{resolved.name}"
    # An own suite may lie anywhere; a folder that is named like a shipped one must be in place.
    if expected != found and VERSION.match(resolved.name):
        problems.append(f"{folder} holds {copy_in_case}: its place is {expected}")
    extra = {p.name for p in folder.iterdir()} - {*SUITE_FILES, SUMS, "LICENSE", "sealed.jsonl"}
    problems += [f"{folder / name} does not belong to a suite" for name in sorted(extra)]
    pinned = released(resolved.parent.parent).get(copy_in_case)
    if pinned and expected == found and pinned != folder_digest(folder):
        problems.append(
            f"{copy_in_case} was edited after its release ({pinned}): a change is a new version"
        )
    return problems


def _text_problems(probes: tuple[Probe, ...]) -> list[str]:
    """Return near duplicates and texts that are not in Unicode's composed form (NFC)."""
    problems = []
    same: dict[str, list[str]] = defaultdict(list)
    for probe in probes:
        same[normalised_input(probe)].append(probe.id)
        raw = (probe.text or "") + "".join(m.content for m in probe.messages)
        if not unicodedata.is_normalized("NFC", raw):
            problems.append(f"the text of the probe {probe.id!r} is not in Unicode form NFC")
    problems += [f"near duplicates: {', '.join(ids)}" for ids in same.values() if len(ids) > 1]
    return problems


def _form_problems(folder: Path) -> list[str]:
    """Return the lines that are not canonical JSON: one way to write an item, clean diffs."""
    path = folder / ITEMS
    text = read_text(path)
    problems = [] if text.endswith("\n") else [f"{path} does not end with a line break"]
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            canonical = canonical_json(json.loads(line)).decode()
        except ValueError:
            continue  # read_items has reported it
        if line != canonical:
            problems.append(f"{path}, line {number} is not canonical JSON (RFC 8785)")
    return problems


def _rule_problems(folder: Path, manifest: Manifest) -> list[str]:
    source = manifest.generated_by
    if source is None:
        return []
    items = generate(source.rule, source.version, source.seed)
    if items == read_bytes(folder / ITEMS):
        return []
    return [f"{folder / ITEMS} is not what {folder / MANIFEST} says it was generated by"]


def _shared_ids(folders: dict[tuple[str, int], Path]) -> list[str]:
    """Return the probe ids that two suites of different names share."""
    owners: dict[str, set[str]] = defaultdict(set)
    for (name, _), folder in folders.items():
        try:
            probes = read_items(folder / ITEMS).probes
        except SuiteError:
            continue  # lint_suite has reported it
        for probe in probes:
            owners[probe.id].add(name)
    return [
        f"the probe id {probe_id!r} is used by {' and '.join(sorted(names))}"
        for probe_id, names in owners.items()
        if len(names) > 1
    ]
