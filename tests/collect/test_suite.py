"""Loading suites: names, paths, digests, and what is said about bad input."""

import json
from pathlib import Path

import pytest
from suite_world import ITEMS, MANIFEST, json_lines, problem, write_suite, write_sums

from auditor.canon import digest, tree_digest
from auditor.collect.suite import list_suites, load_suite
from auditor.errors import SuiteError
from auditor.types import Answer, Message


def test_a_suite_is_read_as_written(tmp_path: Path) -> None:
    write_suite(tmp_path)
    suite = load_suite("birds", tmp_path)
    assert (suite.id, suite.licence, suite.sealed) == ("birds@1", "CC0-1.0", None)
    owl, crow = suite.probes
    assert owl.messages == (Message(role="user", content="Can owls see?"),)
    assert (owl.kind, owl.language, owl.weight, owl.answer) == ("chat", "en", 0.5, None)
    assert crow.answer == Answer(kind="number", value="2")
    assert [m.role for m in crow.messages] == ["system", "user"]


def test_the_digest_covers_both_files_by_name(tmp_path: Path) -> None:
    folder = write_suite(tmp_path)
    expected = tree_digest(
        {name: digest((folder / name).read_bytes()) for name in ("suite.toml", "items.jsonl")}
    )
    assert load_suite("birds@1", tmp_path).digest == expected


def test_a_bare_name_is_the_newest_version(tmp_path: Path) -> None:
    write_suite(tmp_path)
    for number in (10, 2, 7, 12, 3):  # 10 is newer than 2, though "v10" sorts before "v2"
        write_suite(tmp_path, MANIFEST.replace("version = 1", f"version = {number}"))
    assert load_suite("birds", tmp_path).version == 12
    assert load_suite("birds@2", tmp_path).version == 2
    assert [s.version for s in list_suites(tmp_path)] == [1, 2, 3, 7, 10, 12]


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    write_suite(tmp_path)
    with pytest.raises(SuiteError, match="'brids'") as caught:
        load_suite("brids", tmp_path)
    assert "birds" in str(caught.value.hint)


def test_an_unknown_version_lists_the_known_ones(tmp_path: Path) -> None:
    write_suite(tmp_path)
    with pytest.raises(SuiteError, match="no version 7") as caught:
        load_suite("birds@7", tmp_path)
    assert "birds@1" in str(caught.value.hint)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "gone") in problem(lambda: load_suite(tmp_path / "gone"))


def test_folders_without_a_suite_are_not_listed(tmp_path: Path) -> None:
    write_suite(tmp_path)
    (tmp_path / "packs" / "tiny").mkdir(parents=True)
    (tmp_path / "birds" / "v2-draft").mkdir()
    assert [s.id for s in list_suites(tmp_path)] == ["birds@1"]


def test_a_bare_file_is_a_suite_without_licence(tmp_path: Path) -> None:
    path = tmp_path / "My Probes.jsonl"
    path.write_text(json_lines(ITEMS))
    suite = load_suite(path)
    assert (suite.id, suite.licence) == ("my-probes@0", "unstated")
    assert suite.digest == digest(path.read_bytes())
    assert [p.weight for p in suite.probes] == [1.0, 1.0]


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    text = "\ufeff" + json_lines(ITEMS).replace("\n", "\r\n\r\n")
    path.write_bytes(text.encode())
    assert [p.id for p in load_suite(path).probes] == ["bird-1", "bird-2"]


def test_a_line_separator_inside_a_text_is_no_line_break(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    item = {"id": "x", "category": "c", "text": "one\u2028two\x85three"}
    path.write_text(json.dumps(item, ensure_ascii=False) + "\n")
    assert load_suite(path).probes[0].text == "one\u2028two\x85three"


BAD_LINES = {
    "not json": ('{"id": "x"', "line 2: not JSON"),
    "a list": ("[1, 2]", "line 2: not a JSON object"),
    "no category": ('{"id": "x", "text": "t"}', "line 2: category"),
    "no input": ('{"id": "x", "category": "c"}', 'line 2: give either "messages" or "text"'),
    "two inputs": (
        '{"id": "x", "category": "c", "text": "t", "messages": [{"role": "user", "content": "m"}]}',
        'line 2: give either "messages" or "text"',
    ),
    "unknown key": ('{"id": "x", "category": "c", "text": "t", "wieght": 2}', "line 2: wieght"),
    "unsafe id": ('{"id": "../x", "category": "c", "text": "t"}', "line 2: id"),
    "number as id": ('{"id": 7, "category": "c", "text": "t"}', "line 2: id"),
    "empty text": ('{"id": "x", "category": "c", "text": ""}', "line 2: text"),
    "no messages": ('{"id": "x", "category": "c", "messages": []}', "line 2: messages"),
    "unknown role": (
        '{"id": "x", "category": "c", "messages": [{"role": "bot", "content": "m"}]}',
        "line 2: messages.0.role",
    ),
    "assistant last": (
        '{"id": "x", "category": "c", "messages": [{"role": "assistant", "content": "m"}]}',
        "line 2: the last message must be the user's",
    ),
    "value not among choices": (
        '{"id": "x", "category": "c", "text": "t", "answer": '
        '{"kind": "choice", "value": "E", "choices": ["A", "B"]}}',
        "line 2: answer: the value of a choice must be one of its choices",
    ),
    "half a surrogate pair": (
        '{"id": "x", "category": "c", "text": "\\ud800"}',
        "line 2: an escape names half of a surrogate pair",
    ),
    "nested too deeply": ("[" * 200_000, "line 2: nested too deeply"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_malformed_line_is_named_by_its_number(case: str, tmp_path: Path) -> None:
    line, expected = BAD_LINES[case]
    path = tmp_path / "probes.jsonl"
    path.write_text(json.dumps(ITEMS[0]) + "\n" + line + "\n")
    assert expected in problem(lambda: load_suite(path))


def test_duplicate_ids_are_named_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text(json_lines([ITEMS[0], ITEMS[1], ITEMS[0]]))
    assert "'bird-1' is used in lines 1, 3" in problem(lambda: load_suite(path))


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_holds_no_probe(content: str, tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text(content)
    assert "holds no probe" in problem(lambda: load_suite(path))


def test_text_that_is_not_utf8_is_refused_with_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_bytes(b'{"id": "caf\xe9"}\n')
    assert "not UTF-8 (byte 11)" in problem(lambda: load_suite(path))


def test_an_edited_file_does_not_match_its_digest(tmp_path: Path) -> None:
    folder = write_suite(tmp_path)
    with (folder / "items.jsonl").open("a") as stream:
        stream.write("\n")
    assert "items.jsonl differs from SHA256SUMS" in problem(lambda: load_suite("birds", tmp_path))


def test_a_suite_without_checksums_is_refused(tmp_path: Path) -> None:
    folder = write_suite(tmp_path)
    (folder / "SHA256SUMS").unlink()
    assert "SHA256SUMS" in problem(lambda: load_suite("birds", tmp_path))
    (folder / "SHA256SUMS").write_text("what is this\n")
    assert "line 1" in problem(lambda: load_suite("birds", tmp_path))


def test_a_released_suite_cannot_be_edited_even_with_new_checksums(tmp_path: Path) -> None:
    folder = write_suite(tmp_path)
    released = load_suite("birds", tmp_path).digest
    (tmp_path / "RELEASED").write_text(f"# comment\nbirds@1 {released}\n")
    assert load_suite("birds", tmp_path).digest == released
    (folder / "items.jsonl").write_text(json_lines(ITEMS[:1]))
    write_sums(folder)
    assert "edited after its release" in problem(lambda: load_suite("birds", tmp_path))


BAD_MANIFESTS = {
    "no licence": (MANIFEST.replace('licence = "CC0-1.0"\n', ""), "licence: Field required"),
    "empty licence": (MANIFEST.replace("CC0-1.0", ""), "licence"),
    "no authors": (MANIFEST.replace('["somebody"]', "[]"), "authors"),
    "unknown key": (MANIFEST + 'author = "me"\n', "author: "),
    "no TOML": ("name = birds\n", "not TOML"),
    "negative weight": (MANIFEST.replace("0.5", "-1.0"), "weight"),
    "unknown kind": (MANIFEST.replace('"chat"', '"talk"'), "kind"),
    "wrong kind": (MANIFEST.replace('"chat"', '"text"'), "suite's kind is text"),
    "language of no probe": (MANIFEST.replace('["en"]', '["en", "de"]'), "states no language"),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_a_bad_manifest_is_refused_by_key(case: str, tmp_path: Path) -> None:
    manifest, expected = BAD_MANIFESTS[case]
    folder = write_suite(tmp_path, manifest)
    assert expected in problem(lambda: load_suite(folder))


def test_several_problems_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text("{}\n{}\n{}\n")
    assert "(and 2 more problems)" in problem(lambda: load_suite(path))
