"""Parts published by digest and revealed later, and copies of suites in a case."""

import json
from pathlib import Path

import pytest
from suite_world import ITEMS, MANIFEST, json_lines, problem, write_suite

from auditor.canon import digest
from auditor.collect.suite import copy_suite, load_suite, suite_path
from auditor.collect.suite_sealed import sealed_digest

SALT = json.dumps({"salt": "0123456789abcdef" * 2}) + "\n"
SECRET = [{"id": "bird-s1", "category": "a", "messages": ITEMS[1]["messages"]}]


def write_sealed(root: Path, content: str, probes: int = 1) -> Path:
    sealed = root / "secret.jsonl"
    sealed.write_text(content)
    block = f'[sealed]\ndigest = "{digest(content.encode())}"\nprobes = {probes}\n'
    write_suite(root, MANIFEST + block)
    return sealed


def test_a_revealed_part_adds_its_probes_and_keeps_the_digest(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, SALT + json_lines(SECRET))
    public = load_suite("birds", tmp_path)
    whole = load_suite("birds", tmp_path, reveal=sealed)
    assert [p.id for p in public.probes] == ["bird-1", "bird-2"]
    assert [p.id for p in whole.probes] == ["bird-1", "bird-2", "bird-s1"]
    assert whole.digest == public.digest
    assert whole.sealed == public.sealed == sealed_digest(sealed)
    assert whole.probes[2].weight == 0.5


def test_another_file_than_the_sealed_one_is_refused(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, SALT + json_lines(SECRET))
    sealed.write_text(SALT + json_lines(SECRET).replace("crow", "hawk"))
    message = problem(lambda: load_suite("birds", tmp_path, reveal=sealed))
    assert "not the sealed part of birds@1" in message


def test_a_sealed_part_needs_a_salt(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, json_lines(SECRET))
    assert "salt" in problem(lambda: load_suite("birds", tmp_path, reveal=sealed))
    sealed.write_text('{"salt": "short"}\n')
    assert "salt" in problem(lambda: sealed_digest(sealed))


def test_the_sealed_part_holds_what_was_announced(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, SALT + json_lines(SECRET), probes=2)
    message = problem(lambda: load_suite("birds", tmp_path, reveal=sealed))
    assert "holds 1 probes, announced were 2" in message


def test_a_sealed_part_may_not_repeat_a_public_id(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, SALT + json_lines([{**SECRET[0], "id": "bird-2"}]))
    assert "'bird-2'" in problem(lambda: load_suite("birds", tmp_path, reveal=sealed))


def test_only_a_suite_with_a_sealed_part_can_be_revealed(tmp_path: Path) -> None:
    write_suite(tmp_path)
    other = tmp_path / "other.jsonl"
    other.write_text(json_lines(SECRET))
    assert "no sealed part" in problem(lambda: load_suite("birds", tmp_path, reveal=other))
    assert "no sealed part" in problem(lambda: load_suite(other, reveal=other))


def test_a_copied_suite_loads_from_the_case(tmp_path: Path) -> None:
    sealed = write_sealed(tmp_path, SALT + json_lines(SECRET))
    copy = tmp_path / "case" / "birds@1"
    copy_suite("birds", copy, tmp_path, reveal=sealed)
    original = suite_path("birds", tmp_path)
    for name in ("suite.toml", "items.jsonl", "SHA256SUMS"):
        assert (copy / name).read_bytes() == (original / name).read_bytes()
    whole = load_suite("birds", tmp_path, reveal=sealed)
    assert load_suite(copy, reveal=copy / "sealed.jsonl") == whole


@pytest.mark.parametrize("name", ["Mine.jsonl", "items.jsonl", "sealed.jsonl"])
def test_a_copied_bare_file_loads_from_the_case(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json_lines(ITEMS))
    copy_suite(path, tmp_path / "case" / "mine@0")
    (copied,) = (tmp_path / "case" / "mine@0").iterdir()
    assert copied.read_bytes() == path.read_bytes()
    loaded = load_suite(tmp_path / "case" / "mine@0")
    assert (loaded.digest, loaded.probes) == (load_suite(path).digest, load_suite(path).probes)
