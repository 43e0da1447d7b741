"""Documents and prompts that stay on disk: the same rows and digests as of the text read whole."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from distill_world import listed_rows, sequence_values, text_documents

from auditor.canon import digest, json_digest
from auditor.distill.digests import digests_of
from auditor.distill.documents import (
    document_digest,
    prompt_text,
    read_sources,
    split_holdout,
)
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.row_file import RowFile
from auditor.distill.rows import Row
from auditor.errors import RecipeError

INIT = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2, "tokenizer": "bytes"}


def recipe_of(folder: Path, **data: object) -> Recipe:
    values = {
        "student": {"init": INIT},
        "data": data,
        "method": {"kind": "baseline"},
        "train": {"steps": 1},
    }
    return recipe_from(values, folder)


def big_jsonl(path: Path, *, lines: int = 4000) -> list[str]:
    texts = text_documents(lines, seed=4)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return texts


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        (b"a\nb\n\nc\n", ["a\nb", "c"]),
        (b"\n\na\n\n\n\nb", ["a", "b"]),
        (b"a\r\nb\r\n\r\nc\r\n", ["a\nb", "c"]),
        (b"a\rb\r\rc\r", ["a\nb", "c"]),
        (b"a\r\r\nb", ["a", "b"]),
        (b" \n\na\n \nb\n\n\t\n", ["a\n \nb"]),
        (b"\n\r\n\xc3\xa9\x0b\xe2\x80\xa8x\n\n y \n", ["é\x0b\u2028x", " y "]),
    ],
)
def test_plain_text_is_cut_at_empty_lines_whatever_ends_them(tmp_path, content, documents):
    (tmp_path / "text.txt").write_bytes(content)
    found = read_sources(recipe_of(tmp_path, text="text.txt"))
    assert list(found.documents) == documents
    assert [found.documents[n] for n in reversed(range(len(documents)))] == documents[::-1]
    # As Python reads text: CR and CR LF become LF.
    text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert found.digests == {"text:text.txt": digest(text.encode())}
    assert list(found.documents.digests) == [digest(d.encode()) for d in documents]


def test_rows_of_several_files_are_read_in_any_order(tmp_path):
    texts = big_jsonl(tmp_path / "one.jsonl", lines=30)
    (tmp_path / "two.txt").write_text("x\n\ny\n")
    names = ["one.jsonl", "two.txt", "one.jsonl"]
    found = read_sources(recipe_of(tmp_path, text=names)).documents
    whole = [*texts, "x", "y", *texts]
    assert list(found) == whole
    positions = np.random.RandomState(0).permutation(len(whole))
    assert list(found.pick(positions)) == [whole[n] for n in positions]
    assert list(found[29:33]) == whole[29:33]


@pytest.mark.parametrize("name", ["text.jsonl", "text.txt"])
def test_line_that_is_not_utf8_is_named_by_its_number(tmp_path, name):
    big_jsonl(tmp_path / name)
    lines = (tmp_path / name).read_bytes().split(b"\n")
    lines[2345] = b'{"text": "wall \xff"}'
    (tmp_path / name).write_bytes(b"\n".join(lines))
    with pytest.raises(RecipeError, match="line 2346: not UTF-8 text"):
        read_sources(recipe_of(tmp_path, text=name))


def test_file_that_changes_after_it_was_read_is_refused(tmp_path):
    path = tmp_path / "text.jsonl"
    big_jsonl(path, lines=50)
    found = read_sources(recipe_of(tmp_path, text="text.jsonl")).documents
    before, content = path.stat(), path.read_bytes()
    path.write_bytes(content + b'{"text": "more"}\n')
    with pytest.raises(RecipeError, match=r"data.text text.jsonl was changed while"):
        list(found)
    # Of the same size and time, so that only the digest of the row tells.
    path.write_bytes(content.replace(b".", b"!"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(RecipeError, match=r"data.text text.jsonl was changed while"):
        found[7]
    path.unlink()
    with pytest.raises(RecipeError, match="cannot read"):
        found[7]


def test_file_that_grows_while_it_is_scanned_is_refused(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a\n\nb\n")
    rows = RowFile(path, "data.text text.txt", lambda text, _: Row(value=text), paragraphs=True)
    scan = rows.scan()
    assert next(scan).value == "a"
    with path.open("a") as stream:
        stream.write("\nc\n")
    with pytest.raises(RecipeError, match="was changed while"):
        list(scan)


def test_of_equal_prompts_the_first_stays_in_the_place_of_the_last(tmp_path):
    rows = [{"prompt": word, "source": str(n)} for n, word in enumerate("abacb")]
    recipe = recipe_from(sequence_values(tmp_path, tmp_path / "teacher"), tmp_path)
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_sources(recipe)
    # a: 0 and 2, b: 1 and 4, c: 3.
    assert [prompt_text(probe) for probe in found.prompts] == ["a", "c", "b"]
    assert [row.flags and row.flags.source for row in found.prompts.rows()] == ["0", "3", "1"]
    assert found.repeated == 2


def test_digests_in_32_bytes_sort_and_hash_as_their_texts():
    texts = [digest(bytes([n % 7])) for n in range(20)]
    found = digests_of(texts)
    assert list(found) == texts
    assert list(found.in_order()) == sorted(texts)
    assert list(found.unique()) == sorted(set(texts))
    assert found.in_order().json_digest() == json_digest(sorted(texts))
    assert digests_of([]).json_digest() == json_digest([])
    many = digests_of(digest(str(n).encode()) for n in range(5000))  # more than a chunk
    assert many.json_digest() == json_digest(list(many))
    first, last = digests_of(["sha256:" + c * 64 for c in "b1b01"]).first_and_last()
    assert (first.tolist(), last.tolist()) == ([3, 1, 0], [3, 4, 2])
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        digests_of(["sha256:00"])


def test_holdout_by_row_is_that_of_the_written_digests():
    texts = [str(n) for n in range(500)]
    written = ["sha256:" + hashlib.sha256(text.encode()).hexdigest() for text in texts]
    split = split_holdout(listed_rows(texts, document_digest).digests, 0.1)
    held = [n for n, item in enumerate(written) if int(item[7:23], 16) < 0.1 * 2**64]
    assert split.holdout.tolist() == held
    assert sorted([*split.train.tolist(), *held]) == list(range(500))
