"""V02: every JSON file and line of a case is checked against its published schema."""

import json
import random
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from schema_world import ERROR, mutated, real_values
from verify_world import copied, edit_json, rechained, rows_of

from auditor.bundle.check import Check, guarded
from auditor.bundle.check_index import canonical_line, check_schemas
from auditor.bundle.listing import list_folder
from auditor.bundle.predicate import Compiler
from auditor.bundle.scan import scan
from auditor.bundle.schemas import departures
from auditor.canon import canonical_json
from auditor.data import data_dir

FOLDER = data_dir("reports") / "schema"
SCHEMAS = {path.name: json.loads(path.read_bytes()) for path in FOLDER.glob("*.json")}
REGISTRY = Registry().with_resources(
    (name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items()
)
RECORDS = "data/records/independent/ood@1.jsonl"


def v02(root: Path) -> Check:
    """Return what V02 finds; the other checks take longer."""
    return check_schemas(root, scan(root, list_folder(root).sizes))


def oracle(schema: str) -> Draft202012Validator:
    return Draft202012Validator(SCHEMAS[f"{schema}-1.json"], registry=REGISTRY)


def compiled(schema: str):
    return Compiler(SCHEMAS.__getitem__).document(f"{schema}-1.json")


def test_every_schema_of_a_case_compiles_and_is_one(sealed):
    for schema in real_values(sealed.root):
        Draft202012Validator.check_schema(SCHEMAS[f"{schema}-1.json"])
        assert callable(compiled(schema))


def test_real_files_follow_by_both_validators(sealed):
    for schema, values in real_values(sealed.root).items():
        for value in values:
            assert list(oracle(schema).iter_errors(value)) == [], schema
            assert compiled(schema)(value), schema
            assert list(departures(value, schema)) == []


def test_the_fast_predicate_and_jsonschema_agree_on_mutations(sealed):
    # 60 mutations, and mutations of these, of the real files of each schema.
    for schema, values in real_values(sealed.root).items():
        fast, slow, draw = compiled(schema), oracle(schema), random.Random(schema)
        answers = set()
        for _ in range(60):
            value = mutated(draw.choice(values), draw)
            for one in (value, mutated(value, draw)):
                answers.add(fast(one))
                assert fast(one) == slow.is_valid(one), (schema, one)
        assert answers == {True, False}, schema


def test_a_pattern_ends_where_the_text_ends():
    # Python's $ lets a newline follow; that of JSON Schema (ECMA 262) does not.
    value = {**ERROR, "suite": "ood@1\n"}
    assert not compiled("errors")(value)
    assert list(departures(value, "errors")) == [
        '/suite: wanted text like "^[^/]+@(0|[1-9][0-9]*)$", found "ood@1\\n"'
    ]


def test_an_unknown_keyword_is_refused_and_not_passed_over():
    with pytest.raises(NotImplementedError, match="multipleOf"):
        Compiler(lambda _: {"multipleOf": 2}).document("x")


@pytest.mark.parametrize(
    "line",
    [b'{"a":1}', b'{"a":0.5}', b'{"a":1e-7}', '{"a":"é\u2028"}'.encode(), b'{"a":[1e+30,-3]}'],
)
def test_canonical_lines_are_read(line):
    assert canonical_line(line) == json.loads(line)
    assert canonical_json(json.loads(line)) == line


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1}',
        b'{"a":1.0}',
        b'{"a":1e-07}',
        b'{"a":-0}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":9007199254740993}',
        b'{"a":"\\u00e9"}',
        b'{"a":"\\ud800"}',
        '{"a":1}'.encode("utf-16"),
        b"",
        b"[" * 200_000,
    ],
)
def test_other_spellings_are_refused(line):
    with pytest.raises((ValueError, RecursionError)):
        canonical_line(line)


def _record(change):
    def apply(root):
        path = root / RECORDS
        first, *rest = rows_of(path)
        path.write_bytes(rechained([{**first, **change}, *rest]))

    return apply


def _json(name, change):
    return lambda root: edit_json(root, name, change)


WRONG = {
    "a type in a record": (
        _record({"usage": {"prompt_tokens": "many", "completion_tokens": 1}}),
        f'{RECORDS}, line 1, /usage/prompt_tokens: wanted "integer" or "null", found "many"',
    ),
    "a key too many in a record": (
        _record({"note": 1}),
        f'{RECORDS}, line 1, the whole: has "note", unknown there',
    ),
    "an error without an outcome": (
        _record({"error": "x"}),
        f'{RECORDS}, line 1, /outcome: wanted "error", found "ok"',
    ),
    "a key too few": (
        _json("subjects.json", lambda c: c["subjects"][0]["ref"].pop("dtype")),
        'data/subjects.json, /subjects/0/ref: lacks "dtype"',
    ),
    "an unknown word": (
        _json("subjects.json", lambda c: c["subjects"][0]["ref"].update(access="ALL")),
        "data/subjects.json, /subjects/0/ref/access: wanted one of "
        '["TEXT", "TOPK", "LOGITS", "WEIGHTS"], found "ALL"',
    ),
    "a number out of range": (
        _json("environment.json", lambda c: c.update(torch_threads=0)),
        "data/environment.json, /torch_threads: wanted minimum 1, found 0",
    ),
    "a reason that is none": (
        _json("collected/sibling.json", lambda c: c["missing"].update(span="")),
        'data/collected/sibling.json, /missing/span: wanted minLength 1, found ""',
    ),
    "a record that is not canonical": (
        lambda root: (root / RECORDS).write_bytes((root / RECORDS).read_bytes() + b"{ }\n"),
        f"{RECORDS}, line 7, not strict JSON: it is not spelled as RFC 8785 has it",
    ),
    "an event that no stage logs": (
        lambda root: (root / "data/custody.jsonl").write_bytes(
            rechained([*rows_of(root / "data/custody.jsonl"), {"event": "lost", "time": "now"}])
        ),
        "data/custody.jsonl, line 15, /event: ",
    ),
}


@pytest.mark.parametrize("way", WRONG)
def test_file_line_pointer_and_what_was_wanted_are_told(signed, tmp_path, way):
    change, text = WRONG[way]
    root = copied(signed.root, tmp_path / "case")
    change(root)
    check = v02(root)
    assert check.outcome == "fail"
    assert check.details[0].startswith(text)


HOSTILE = "\x1b[31m\u202e\x00" + "y" * 1_000_000


@pytest.mark.parametrize(
    "change",
    [
        _record({"outcome": HOSTILE}),
        _record({HOSTILE: 1}),
        _json("subjects.json", lambda c: c.update({HOSTILE: 1})),
        _json("subjects.json", lambda c: c.update(subjects=[HOSTILE] * 50)),
        _json("plan.json", lambda c: c.update(schema=HOSTILE)),
        _json("collected/sibling.json", lambda c: c["digests"].update({HOSTILE: HOSTILE})),
    ],
)
def test_what_is_told_of_hostile_content_is_short_and_escaped(signed, tmp_path, change):
    root = copied(signed.root, tmp_path / "case")
    change(root)
    check = v02(root)
    assert check.outcome == "fail"
    assert len(check.details) <= 21
    for detail in check.details:
        assert detail.isascii()
        assert detail.isprintable()
        assert len(detail) < 500


@pytest.mark.parametrize("name", ["environment.json", "errors.jsonl", "custody.jsonl"])
def test_depth_ends_no_verification(signed, tmp_path, name):
    root = copied(signed.root, tmp_path / "case")
    (root / "data" / name).write_bytes(b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n")
    assert guarded("V02", lambda: v02(root)).outcome == "fail"


def test_a_file_of_wrong_lines_is_not_read_to_its_end(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    (root / "data/errors.jsonl").write_bytes(b"{}\n" * 1000)
    check = v02(root)
    assert check.details[-1] == "and 1 more"  # that the rest was not read
    assert "errors.jsonl, line 20, " in check.details[-2]
