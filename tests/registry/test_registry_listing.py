import json
import os
import tempfile
from pathlib import Path

import pytest
from other_user import no_root
from registry_world import copied

from auditor.errors import InputError, SubjectError
from auditor.registry.listing import is_collection, listed, models_in
from auditor.registry.prefilter import Look, prefilter


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models, one of them two folders down, a GGUF file, and what is none."""
    root = tmp_path_factory.mktemp("registry")
    copied("teacher", root / "b-model")
    copied("sibling", root / "org" / "a-model")
    (root / "org" / "c.gguf").write_bytes(b"GGUF")
    (root / "b-model" / "inner.gguf").write_bytes(b"")  # part of a model, not one more
    (root / ".cache" / "x").mkdir(parents=True)
    (root / ".cache" / "x" / "config.json").write_text("{}")
    (root / "notes").mkdir()
    return root


def specs(found):
    return [entry.spec for entry in found.entries]


def test_a_folder_stands_for_the_models_in_it(folder):
    assert is_collection(str(folder))
    assert not is_collection(str(folder / "b-model"))
    assert models_in(folder) == (
        folder / "b-model",
        folder / "org" / "a-model",
        folder / "org" / "c.gguf",
    )
    found = listed((str(folder), "tiny:independent"))
    assert specs(found) == [
        f"local:{folder}/b-model",
        f"local:{folder}/org/a-model",
        f"gguf:{folder}/org/c.gguf",
        "tiny:independent",
    ]


def test_models_in_a_model_are_part_of_it_and_endings_may_be_capital(tmp_path):
    for place in ("whole", "whole/checkpoint-500"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "config.json").write_text("{}")
    (tmp_path / "B.GGUF").write_bytes(b"GGUF")
    assert models_in(tmp_path) == (tmp_path / "B.GGUF", tmp_path / "whole")


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "of an editor.txt"
    path.write_bytes(b"\xef\xbb\xbftiny:teacher\n")
    assert specs(listed((), (path,))) == ["tiny:teacher"]


def test_a_model_that_was_named_is_left_out_of_its_folder(folder):
    found = listed((str(folder / "b-model"), str(folder)))
    assert specs(found).count(f"local:{folder}/b-model") == 1
    (row,) = found.refused
    assert row.repeated
    assert (row.origin, row.entry) == ("argument 2", str(folder / "b-model"))


def test_a_list_has_comments_and_paths_from_its_own_folder(folder):
    path = folder / "suspects.txt"
    path.write_text("# all of them\n\nb-model  # the first\n  tiny:teacher\norg/a-model\n")
    found = listed((), (path,))
    assert specs(found) == [
        f"local:{folder}/b-model",
        "tiny:teacher",
        f"local:{folder}/org/a-model",
    ]
    assert [entry.origin for entry in found.entries] == [f"{path}:{n}" for n in (3, 4, 5)]


def test_bad_lines_are_returned_with_their_number_and_the_rest_goes_on(folder):
    path = folder / "some.txt"
    path.write_text("./missing\ntiny:teacher\nnope:thing\nnotes\n\x00\n")
    found = listed((), (path,))
    assert specs(found) == ["tiny:teacher"]
    assert [(row.origin, row.repeated) for row in found.refused] == [
        (f"{path}:{n}", False) for n in (1, 3, 4, 5)
    ]
    assert "does not exist" in found.refused[0].reason
    assert "unknown scheme 'nope'" in found.refused[1].reason
    assert "holds no model" in found.refused[2].reason


def test_a_repeated_model_is_examined_once(folder):
    path = folder / "twice.txt"
    path.write_text(f"b-model\n{folder}/b-model\ntiny:teacher\ntiny:teacher\n")
    found = listed(("tiny:teacher",), (path,))
    assert specs(found) == ["tiny:teacher", f"local:{folder}/b-model"]
    assert [(row.origin, row.repeated) for row in found.refused] == [
        (f"{path}:{n}", True) for n in (2, 3, 4)
    ]
    assert "by argument 1" in found.refused[1].reason


def test_arguments_are_kept_as_given_even_twice():
    assert specs(listed(("tiny:teacher", "tiny:teacher"))) == ["tiny:teacher"] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no model"),
        (b"# nothing\n\n", "names no model"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"x\n" * 9_000_000, "larger than"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        listed((), (path,))
    assert error.value.hint


def test_a_list_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        listed((), (tmp_path / "missing.txt",))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        listed((), (tmp_path,))


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(SubjectError, match="holds no model"):
        listed((str(tmp_path),))


@pytest.fixture
def models(tmp_path):
    """A folder to fill with models that are no more than a config.json."""

    def named(*names):
        for name in names:
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "config.json").write_text("{}")
        return tmp_path

    return named


def test_a_folder_named_by_a_dot_holds_folders_and_no_words(models, monkeypatch):
    root = models("a?device_map=auto", "smollm2", "tiny:sibling")
    (root / "gguf:x.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(root)
    assert specs(listed((".",))) == [
        f"local:{root}/a?device_map=auto",
        f"gguf:{root}/gguf:x.gguf",
        f"local:{root}/smollm2",
        f"local:{root}/tiny:sibling",
    ]


def test_a_name_that_no_specifier_keeps_is_refused_alone(models):
    root = models("a", "ends in a space ", os.fsdecode(b"not \xff text"), "z")
    found = listed((str(root),))
    assert specs(found) == [f"local:{root}/a", f"local:{root}/z"]
    assert [row.hint is None for row in found.refused] == [False, False]
    assert "ends with a space" in found.refused[0].reason
    rows = [row.as_json() for row in found.refused]
    assert rows[1]["entry"] == f"{root}/not \ufffd text"
    json.dumps(rows, ensure_ascii=False).encode()  # it enters prefilter.json


def test_a_broken_link_is_one_suspect_more_and_the_models_after_it_stay(models):
    root = models("a", "z")
    (root / "m.gguf").symlink_to("gone.gguf")
    (root / "n").symlink_to("gone")
    (root / "circle").symlink_to("circle")
    (root / ".hidden").symlink_to("gone")
    found = listed((str(root),))
    assert specs(found) == [
        f"local:{root}/a",
        f"gguf:{root}/gone.gguf",
        f"local:{root}/gone",
        f"local:{root}/z",
    ]
    (row,) = found.refused
    assert row.entry == f"{root}/circle"
    assert "no path that can be used" in row.reason


def test_a_folder_of_links_stands_for_the_models_they_lead_to(models, tmp_path):
    root = models("store/a", "store/deep/b", "links/z")
    for name, target in (("x", "a"), ("y", "a"), ("folder", "deep"), ("circle", "../links")):
        (root / "links" / name).symlink_to(root / "store" / target)
    found = listed((str(root / "links"),))
    assert specs(found) == [f"local:{root}/store/a", f"local:{root}/links/z"]
    (row,) = found.refused
    assert (row.entry, row.repeated) == (f"{root}/links/y", True)


@pytest.mark.parametrize(
    "line",
    [
        "~nosuchuser/models",
        "local:~nosuchuser/models",
        "x" * 300,
        f"{'x' * 300}?device_map=auto",
        "gguf:a\0b",
        "records:a\0b",
        "local:circle",
    ],
)
def test_one_odd_line_is_refused_alone(tmp_path, line):
    (tmp_path / "circle").symlink_to("circle")
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\ntiny:teacher\n")
    found = listed((), (path,))
    assert specs(found) == ["tiny:teacher"]
    (row,) = found.refused
    assert (row.origin, row.repeated) == (f"{path}:1", False)
    with pytest.raises(SubjectError) as error:
        listed((line if line != "local:circle" else f"local:{tmp_path}/circle",))
    assert error.value.hint


def test_a_folder_that_may_not_be_listed_is_named_and_the_models_beside_it_stay():
    # Root may list everything; the folder lies where others may look.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        model = copied("teacher", root / "model")
        closed = root / "org" / "closed"
        copied("sibling", closed / "hidden")
        root.chmod(0o755)
        closed.chmod(0o000)
        with no_root():
            found = listed((str(root),))
            refused = prefilter(Look(reference="tiny:teacher"), found).content["refused"]
        closed.chmod(0o755)
    assert specs(found) == [f"local:{model}", f"local:{closed}"]
    assert [row["entry"] for row in refused] == [f"local:{closed}"]
    assert "Permission denied" in refused[0]["reason"]
