"""Linting: every kind of fault is reported, and a good suite is silent."""

import hashlib
import json
from pathlib import Path

import pytest

from auditor.canon import canonical_json
from auditor.collect.suite import lint_root, lint_suite, load_suite
from auditor.collect.suite_rules import generate
from auditor.errors import SuiteError

MANIFEST = """\
name = "{name}"
version = 1
title = "T"
licence = "CC0-1.0"
authors = ["somebody"]
languages = ["en"]
kind = "text"
weight = 1.0
description = "D"
"""


def write_suite(root: Path, name: str, texts: dict[str, str], extra: str = "") -> Path:
    items = [{"id": i, "category": "c", "text": text} for i, text in texts.items()]
    content = b"".join(canonical_json(item) + b"\n" for item in items)
    return write_files(root, name, content, extra)


def write_files(root: Path, name: str, items: bytes, extra: str = "") -> Path:
    folder = root / name / "v1"
    folder.mkdir(parents=True)
    (folder / "suite.toml").write_text(MANIFEST.format(name=name) + extra)
    (folder / "items.jsonl").write_bytes(items)
    write_sums(folder)
    return folder


def write_sums(folder: Path) -> None:
    lines = (
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()} *{name}\n"
        for name in ("suite.toml", "items.jsonl")
    )
    (folder / "SHA256SUMS").write_text("".join(lines))


def assert_one(problems: list[str], part: str) -> None:
    assert len(problems) == 1, problems
    assert part in problems[0]


def test_a_good_suite_is_silent(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "good", {"g-1": "one", "g-2": "two"})
    assert lint_suite(folder) == []
    assert lint_root(tmp_path) == []


def test_all_problems_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{}\n{"id": "a", "category": "c", "text": "t"}\nno\n')
    problems = lint_suite(path)
    assert [("line 1:" in p, "line 3:" in p) for p in problems] == [(True, False), (False, True)]


def test_near_duplicates_are_reported(tmp_path: Path) -> None:
    texts = {"d-1": "The Hat.", "d-2": "the  hat!", "d-3": "the hats", "d-4": "?!", "d-5": "!?"}
    assert_one(lint_suite(write_suite(tmp_path, "dup", texts)), "near duplicates: d-1, d-2")


def test_texts_out_of_normal_form_are_reported(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "form", {"f-1": "cafe\u0301"})
    assert_one(lint_suite(folder), "'f-1' is not in Unicode form NFC")


def test_lines_that_are_not_canonical_are_reported(tmp_path: Path) -> None:
    line = json.dumps({"text": "t", "id": "n-1", "category": "c"}).encode() + b"\n"
    assert_one(lint_suite(write_files(tmp_path, "plain", line)), "line 1 is not canonical JSON")


def test_a_missing_last_line_break_is_reported(tmp_path: Path) -> None:
    line = canonical_json({"id": "n-1", "category": "c", "text": "t"})
    assert_one(lint_suite(write_files(tmp_path, "open", line)), "does not end with a line break")


def test_files_that_do_not_belong_are_reported(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "extra", {"e-1": "t"})
    (folder / "make.py").write_text("")
    assert_one(lint_suite(folder), "make.py does not belong")


def test_a_suite_in_the_wrong_folder_is_reported(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "here", {"h-1": "t"})
    moved = tmp_path / "there" / "v1"
    moved.parent.mkdir()
    folder.rename(moved)
    assert_one(lint_suite(moved), "its place is here/v1")


@pytest.mark.parametrize("name", ["mine", "here@1"])
def test_an_own_suite_or_a_copy_may_lie_anywhere(name: str, tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "here", {"h-1": "t"})
    moved = tmp_path / name
    folder.rename(moved)
    assert lint_suite(moved) == []


def test_checksums_are_checked(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "sums", {"s-1": "t"})
    write_sums(folder)
    good = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(good.splitlines()[0] + "\n")
    assert_one(lint_suite(folder), "does not list items.jsonl")
    (folder / "SHA256SUMS").write_text(good + good.splitlines()[0].replace("suite", "other") + "\n")
    assert_one(lint_suite(folder), "lists other.toml as well")
    (folder / "SHA256SUMS").write_text(good.replace(good[:4], "0000", 1))
    assert_one(lint_suite(folder), "differs from SHA256SUMS")


def test_a_missing_licence_is_reported(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "free", {"f-1": "t"})
    text = (folder / "suite.toml").read_text().replace('licence = "CC0-1.0"\n', "")
    (folder / "suite.toml").write_text(text)
    assert_one(lint_suite(folder), "licence")


def test_an_edited_release_is_reported_even_with_new_checksums(tmp_path: Path) -> None:
    folder = write_suite(tmp_path, "old", {"o-1": "t"})
    (tmp_path / "RELEASED").write_text(f"old@1 {load_suite(folder).digest}\n")
    assert lint_root(tmp_path) == []
    (folder / "items.jsonl").write_bytes(
        canonical_json({"id": "o-1", "category": "c", "text": "T"}) + b"\n"
    )
    write_sums(folder)
    assert_one(lint_suite(folder), "old@1 was edited after its release")


def test_a_released_suite_that_is_gone_is_reported(tmp_path: Path) -> None:
    write_suite(tmp_path, "kept", {"k-1": "t"})
    (tmp_path / "RELEASED").write_text(f"lost@1 sha256:{'0' * 64}\n")
    assert_one(lint_root(tmp_path), "lost@1 was released and is missing")


def test_a_damaged_release_list_is_reported(tmp_path: Path) -> None:
    (tmp_path / "RELEASED").write_text("something else\n")
    assert_one(lint_root(tmp_path), "RELEASED, line 1")


def test_ids_shared_by_two_suites_are_reported(tmp_path: Path) -> None:
    write_suite(tmp_path, "one", {"same": "t"})
    write_suite(tmp_path, "two", {"same": "u"})
    assert_one(lint_root(tmp_path), "'same' is used by one and two")


def test_a_generated_suite_must_be_what_its_rule_writes(tmp_path: Path) -> None:
    source = '\n[generated_by]\nrule = "ood"\nversion = 1\nseed = 5\n'
    items = generate("ood", 1, 5)
    good = write_files(tmp_path / "a", "noise", items, source)
    bad = write_files(tmp_path / "b", "noise", items.split(b"\n", 1)[1], source)
    assert lint_suite(good) == []
    assert_one(lint_suite(bad), "is not what")


def test_an_unknown_rule_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    source = '\n[generated_by]\nrule = "magic"\nversion = 1\nseed = 5\n'
    assert_one(lint_suite(write_suite(tmp_path, "m", {"m-1": "t"}, source)), "no rule magic 1")
    with pytest.raises(SuiteError) as caught:
        generate("ood", 99, 0)
    assert "ood 1" in str(caught.value.hint)
