import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.collect.suite import lint_suite, load_suite
from auditor.collect.suite_import import About, import_suite
from auditor.errors import RecordsError, SuiteError
from auditor.models.recorded import open_recorded
from auditor.models.specifier import parse
from auditor.types import Decoding

SAMPLES = Path(__file__).parents[1] / "models" / "import_samples"
ABOUT = About(name="own", title="Own prompts")


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("file", "kind", "probes"),
    [("inspect.eval", "chat", 3), ("lm-eval.jsonl", "text", 3), ("lm-eval-chat.jsonl", "chat", 3)],
)
def test_every_prompt_becomes_a_probe_that_the_file_answers(tmp_path, file, kind, probes):
    spec = f"records:{SAMPLES / file}"
    suite = import_suite(spec, tmp_path / "s", ABOUT).suite
    assert suite == load_suite(tmp_path / "s")
    assert [probe.kind for probe in suite.probes] == [kind] * probes
    assert lint_suite(tmp_path / "s") == []
    model = open_recorded(parse(spec))
    assert model.available(suite.probes, 2) == suite.probes


def test_ids_follow_from_the_prompt_alone(tmp_path):
    one = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"}, {"prompt": "y", "text": "2"})
    two = written(tmp_path / "b.jsonl", {"prompt": "y", "text": "3"})
    first, second = (
        import_suite(spec, tmp_path / name, ABOUT).suite for spec, name in ((one, "s"), (two, "t"))
    )
    assert [probe.text for probe in first.probes] == ["x", "y"]
    assert second.probes == first.probes[1:]


def test_a_file_with_ids_of_its_own_answers_the_suite_made_from_it(tmp_path):
    rows = [
        {"probe_id": name, "prompt": prompt, "text": f"{name}{repeat}", "repeat": repeat}
        for name, prompt in (("a", "x"), ("b", "y"), ("c", "x"))
        for repeat in range(2)
    ]
    spec = written(tmp_path / "a.jsonl", *rows)
    suite = import_suite(spec, tmp_path / "s", ABOUT).suite
    model = open_recorded(parse(spec))
    assert model.available(suite.probes, 2) == suite.probes
    said = [reply.text for reply in model.sample(suite.probes[:1], 4, Decoding(), 0)]
    assert said == ["a0", "a1", "c0", "c1"]


def test_replies_are_not_in_the_suite(tmp_path):
    spec = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "a secret reply"})
    import_suite(spec, tmp_path / "s", ABOUT)
    assert all("secret" not in path.read_text() for path in (tmp_path / "s").iterdir())


def test_a_file_with_chats_and_texts_is_imported_in_two_parts(tmp_path):
    chat = {"messages": [{"role": "user", "content": "hi"}], "text": "1"}
    spec = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"}, chat)
    with pytest.raises(SuiteError, match="holds chats and texts") as caught:
        import_suite(spec, tmp_path / "s", ABOUT)
    assert "--kind" in caught.value.hint
    done = import_suite(spec, tmp_path / "s", About(name="own", title="t", kind="chat"))
    assert [probe.messages[0].content for probe in done.suite.probes] == ["hi"]
    assert done.left_out == 1


def test_a_chat_that_ends_with_the_assistant_is_left_out(tmp_path):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = ({"messages": turns, "text": "c"}, {"messages": turns[:1], "text": "c"})
    done = import_suite(written(tmp_path / "a.jsonl", *rows), tmp_path / "s", ABOUT)
    assert (len(done.suite.probes), done.left_out) == (1, 1)


def test_titles_of_any_kind_are_written_as_toml(tmp_path):
    title = 'a "quoted" \\ title\n\x7f \u2028 é'
    spec = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"})
    assert import_suite(spec, tmp_path / "s", About(name="own", title=title)).suite.title == title


def test_prompts_that_are_known_by_id_only_make_no_suite(tmp_path):
    with pytest.raises(RecordsError, match="names its prompts by id only") as caught:
        import_suite(f"records:{SAMPLES / 'batch-output.jsonl'}", tmp_path / "s", ABOUT)
    assert "prompts=" in caught.value.hint


@pytest.mark.parametrize(
    "about", [About(name="Not a name", title="t"), About(name="a", title="t", licence="?")]
)
def test_names_that_a_suite_refuses_are_refused_before_anything_is_written(tmp_path, about):
    spec = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"})
    with pytest.raises(SuiteError, match="cannot be called so"):
        import_suite(spec, tmp_path / "s", about)
    assert not (tmp_path / "s").exists()


def test_a_folder_in_use_is_not_written_to(tmp_path):
    spec = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"})
    with pytest.raises(SuiteError, match="is not empty"):
        import_suite(spec, tmp_path, ABOUT)


KILLED = """
import os, signal, sys
from pathlib import Path
from auditor.collect import suite_import
real, left = suite_import.atomic_write, int(sys.argv[3])
def write(*words):
    global left
    real(*words)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
suite_import.atomic_write = write
suite_import.import_suite(sys.argv[1], Path(sys.argv[2]),
                          suite_import.About(name="own", title="Own prompts"))
"""


@pytest.mark.parametrize("files", [1, 3])
def test_an_import_that_was_killed_is_repeated(tmp_path, files):
    spec, folder = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"}), tmp_path / "s"
    done = subprocess.run([sys.executable, "-c", KILLED, spec, folder, str(files)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not folder.exists()
    assert [probe.text for probe in import_suite(spec, folder, ABOUT).suite.probes] == ["x"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "s"}


def test_an_empty_folder_is_filled(tmp_path, monkeypatch):
    spec, folder = written(tmp_path / "a.jsonl", {"prompt": "x", "text": "1"}), tmp_path / "s"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert len(import_suite(spec, Path(), ABOUT).suite.probes) == 1
    assert lint_suite(folder) == []


def test_a_model_is_no_file_of_recorded_outputs(tmp_path):
    with pytest.raises(RecordsError, match="is a model"):
        import_suite("tiny:teacher", tmp_path / "s", ABOUT)
