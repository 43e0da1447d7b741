import subprocess
import sys
from pathlib import Path

import pytest

from auditor.errors import SubjectError
from auditor.models import parse
from auditor.models.specifier import beside


@pytest.mark.parametrize(
    ("text", "scheme", "rest", "revision"),
    [
        ("smollm2", "smollm2", "", None),
        ("tiny:teacher", "tiny", "teacher", None),
        ("hf:org/name", "hf", "org/name", None),
        ("hf:org/name@v1.0", "hf", "org/name", "v1.0"),
        ("org/name@abc", "hf", "org/name", "abc"),
        ("org/some.name-2", "hf", "org/some.name-2", None),
    ],
)
def test_named_subjects_are_split_into_their_parts(text, scheme, rest, revision):
    found = parse(text)
    assert (found.scheme, found.rest, found.revision) == (scheme, rest, revision)


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse("local:a/b").canonical == f"local:{tmp_path.resolve()}/a/b"
    assert parse("gguf:x.gguf").canonical == f"gguf:{tmp_path.resolve()}/x.gguf"
    assert parse("records:r.jsonl").path == tmp_path.resolve() / "r.jsonl"


def test_a_bare_path_means_what_lies_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "m.GGUF").touch()
    (tmp_path / "r.jsonl").touch()
    assert parse("model").scheme == "local"
    assert parse("m.GGUF").scheme == "gguf"
    assert parse("r.jsonl").scheme == "records"


def test_an_existing_folder_wins_over_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert parse("org/name").scheme == "local"


def test_a_path_with_an_at_sign_has_no_revision(tmp_path):
    (tmp_path / "step@100").mkdir()
    found = parse(f"local:{tmp_path}/step@100")
    assert found.revision is None
    assert found.path.name == "step@100"


def test_the_home_folder_is_expanded():
    assert parse("local:~/m").path == Path.home() / "m"


@pytest.mark.parametrize(
    "text", ["smollm2", "tiny:a", "hf:o/n@r", "hf:o/n", "local:/a/b@c", "gguf:/x.gguf"]
)
def test_the_canonical_form_parses_to_the_same(text):
    assert parse(parse(text).canonical) == parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("local:", "nothing after"),
        ("tiny:", "nothing after"),
        ("smollm2:x", "takes nothing"),
        ("ftp:somewhere", "unknown scheme 'ftp'"),
        ("hf:name", "not a hub id"),
        ("hf:a/b/c", "not a hub id"),
        ("hf:a/b?x=1", "'x' is no option here"),
        ("./org/name", "does not exist"),
        ("a/b/c", "does not exist"),
        ("missing.gguf", "does not exist"),
        ("no-such-model", "does not exist"),
        ("nul\0byte", "does not exist"),
        ("x" * 5000, "does not exist"),
        ("local:" + "x" * 300, "no path that can be used"),
        ("records:" + "x" * 300, "no path that can be used"),
    ],
)
def test_what_names_no_model_is_refused(text, said):
    with pytest.raises(SubjectError, match=said):
        parse(text)


def test_how_a_folder_is_spread_stands_in_the_plan_and_is_no_part_of_its_name(tmp_path):
    for text in ("tiny:a", "hf:o/n@r", f"local:{tmp_path}", str(tmp_path)):
        options = "device_map=auto&max_memory=0:1GB,cpu:2GB"
        parsed = parse(f"{text}?{options}")
        assert parsed.options == {"device_map": "auto", "max_memory": "0:1GB,cpu:2GB"}
        assert parsed.canonical == parse(text).canonical
        assert parsed.planned == f"{parsed.canonical}?{options}"
        assert parse(parsed.planned) == parsed


def test_a_map_beside_a_plan_is_found_from_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = parse("tiny:a?device_map=map.json&offload_folder=off").options
    assert options == {
        "device_map": str(tmp_path / "map.json"),
        "offload_folder": str(tmp_path / "off"),
    }
    found = parse(beside("local:model?device_map=map.json", tmp_path / "plans"))
    assert found.rest == str(tmp_path / "plans" / "model")
    assert found.options == {"device_map": str(tmp_path / "plans" / "map.json")}
    found = parse(beside("tiny:a?device_map=map.json", tmp_path / "plans"))
    assert found.options == {"device_map": str(tmp_path / "plans" / "map.json")}


def test_a_folder_whose_name_holds_a_question_mark(tmp_path):
    (tmp_path / "a?device_map=auto").mkdir()
    parsed = parse(f"local:{tmp_path}/a?device_map=auto")
    assert parsed.path.is_dir()
    assert not parsed.options


@pytest.mark.parametrize("text", ["case:dir#name"])
def test_access_that_is_not_there_yet_says_so(text):
    with pytest.raises(SubjectError, match="not available yet"):
        parse(text)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "weights.bin").touch()
    with pytest.raises(SubjectError, match=r"neither \.gguf nor one of \.jsonl"):
        parse(str(tmp_path / "weights.bin"))


def test_parsing_and_recorded_outputs_import_no_torch(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"probe_id": "a", "text": "b"}\n')
    code = (
        "import sys; from auditor.models import open_model, identify;"
        f"open_model({str(tmp_path / 'r.jsonl')!r}); identify({str(tmp_path / 'r.jsonl')!r});"
        "print([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
