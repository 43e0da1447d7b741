"""Files of recorded outputs that cannot be used: the error names the place and the remedy."""

import gzip
import json
import os
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.errors import (
    MissingExtraError,
    RecordsError,
    StorageError,
    SubjectError,
)
from auditor.models import open_model
from auditor.models.recorded import open_recorded
from auditor.models.records import lines
from auditor.models.records.index import ReplyIndex
from auditor.models.records.reply import RecordedReply
from auditor.models.specifier import Specifier, parse

SAMPLES = Path(__file__).parent / "import_samples"
LM_EVAL = {"doc_id": 0, "arguments": [["Q", {}]], "resps": [["A"]]}
BATCH = {"custom_id": "a", "response": None, "error": {"code": "x"}}


def assert_refused(path, said, *, options=""):
    with pytest.raises(RecordsError, match=said) as caught:
        open_model(f"records:{path}{options}")
    assert caught.value.hint


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_that_ends_within_a_line_is_told_so(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "a", "text": "x"}\n{"probe_id": "b", "te')
    assert_refused(path, r"line 2: not JSON .*; the file ends in this line")


def test_a_last_line_without_a_line_break_is_read(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "a", "text": "x"}')
    open_model(str(path)).close()
    assert path.read_bytes()[-1:] == b"}"


def test_a_line_too_long_is_refused_before_it_is_in_memory(tmp_path):
    path = tmp_path / "r.jsonl"
    with path.open("wb") as file:
        file.write(b'{"probe_id": "a", "text": "x"}\n')
        file.truncate(4 * lines.MOST_LINE)
    tracemalloc.start()
    assert_refused(path, r"line 2: longer than 64 MiB", options="?format=records")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * lines.MOST_LINE


def test_half_a_surrogate_pair_is_read_as_the_replacement_sign(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "a", "text": "\\ud83d"}\n')
    (reply,) = open_model(str(path)).replies()
    assert reply.text == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"custom_id": "a", "body": {}}], "line 1: a batch's input file"),
        ([{"results": {}, "configs": {}}], "line 1: a results file of lm_eval"),
        ([{"a": 1}], "line 1: neither probe_id nor prompt nor messages"),
        ([{**LM_EVAL, "resps": None}], "line 1: resps is no list"),
        ([{**LM_EVAL, "resps": [[7]]}], "line 1: a reply in resps is no text"),
        ([{**LM_EVAL, "arguments": {}}], "line 1: arguments hold no request"),
        ([{**LM_EVAL, "arguments": [[7, {}]]}], "line 1: arguments hold no prompt"),
        ([LM_EVAL, {"doc_id": 1, "arguments": []}], "line 2: no resps"),
        ([LM_EVAL, LM_EVAL], "line 2: doc_id 0 is there twice"),
        ([BATCH], r"holds no reply \(1 requests failed\)"),
        ([BATCH, BATCH], "line 2: custom_id 'a' is there twice"),
        ([BATCH, {"custom_id": "b"}], "line 2: neither response nor error"),
        ([BATCH, {"response": {}}], "line 2: no custom_id"),
        (
            [{**BATCH, "error": None, "response": {"status_code": 200, "body": {"output": []}}}],
            "line 1: the body has no choices",
        ),
    ],
)
def test_lines_that_lack_something_are_named(tmp_path, rows, said):
    assert_refused(written(tmp_path / "r.jsonl", *rows), said)


def test_log_likelihoods_are_no_replies():
    assert_refused(
        SAMPLES / "lm-eval-choices.jsonl",
        r"holds no reply \(3 entries: log-likelihoods of given texts",
    )


def test_a_results_file_of_lm_eval_is_told_from_its_samples(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": {"task": {}}}, indent=2))
    assert_refused(path, "one JSON document over many lines, and no log of inspect_ai")


def test_a_request_that_the_input_file_lacks_is_named(tmp_path):
    inputs = written(tmp_path / "in.jsonl", {"custom_id": "b", "body": {"prompt": "x"}})
    output = written(tmp_path / "out.jsonl", BATCH)
    assert_refused(output, "custom_id 'a' is not in the input file", options=f"?prompts={inputs}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": "x"}, "neither messages nor a prompt"),
        ({"prompt": ["a", "b"]}, "neither messages nor a prompt"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "is no text"),
    ],
)
def test_requests_of_other_apis_are_refused(tmp_path, body, said):
    inputs = written(tmp_path / "in.jsonl", {"custom_id": "a", "body": body})
    output = written(tmp_path / "out.jsonl", BATCH)
    assert_refused(output, f"in.jsonl, line 1: .*{said}", options=f"?prompts={inputs}")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": "x", "b": "y"}], "no column of prompts or probe ids: a, b"),
        ([{"prompt": "x"}], "no column of replies: prompt"),
        ([{"prompt": "x", "response": {"text": "y"}}], "the column 'response' is nested"),
        ([{"prompt": ["x"], "response": "y"}], "the column 'prompt' is nested"),
        ([{"prompt": 7, "response": "y"}], "the column 'prompt' is nested or of another type"),
        ([{"messages": ["x"]}], "the column 'messages' is nested"),
        ([{"prompt": "x", "response": None}, {"prompt": "x", "response": "y"}], "row 1: no reply"),
        ([{"prompt": "x", "text": "y", "logprobs": "{"}], "row 1: logprobs is not JSON"),
        ([{"prompt": "x", "text": "y", "repeat": 0}] * 2, "row 2: 2 replies for 'x', repeat 0"),
    ],
)
def test_parquet_files_of_another_form_are_refused(tmp_path, rows, said):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert_refused(path, said)


def test_a_column_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist([{"q": "x", "a": "y"}]), path)
    assert_refused(path, "has no column 'question'", options="?prompt=question&reply=a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?prompt=text", "no column of replies: text, prompt"),
        ("?reply=prompt", "no column of prompts or probe ids: text, prompt"),
        ("?prompt=text&reply=text", "cannot both be the column 'text'"),
    ],
)
def test_one_column_is_not_both_prompt_and_reply(tmp_path, options, said):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist([{"text": "x", "prompt": "y"}]), path)
    # The other column is not used for the other role where its name is of this one.
    assert_refused(path, said, options=options)


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = tmp_path / "d.parquet"
    columns = [pa.array(["x"]), pa.array(["y"]), pa.array(["z"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["prompt", "prompt", "text"]), path)
    assert_refused(path, "has 2 columns 'prompt'")


def test_a_torn_parquet_file_is_refused(tmp_path):
    path = tmp_path / "d.parquet"
    pq.write_table(pa.Table.from_pylist([{"prompt": "x", "text": "y"}]), path)
    path.write_bytes(path.read_bytes()[:-9])
    assert_refused(path, "cannot be read as parquet")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?format=csv", "unknown format 'csv'"),
        ("?reply=a", "read as records, which has no option 'reply'"),
        ("?prompts=a", "read as records, which has no option 'prompts'"),
    ],
)
def test_options_of_another_format_are_refused(tmp_path, options, said):
    assert_refused(
        written(tmp_path / "r.jsonl", {"probe_id": "a", "text": "x"}), said, options=options
    )


def test_unknown_options_are_refused():
    with pytest.raises(SubjectError, match="records: has no option 'modell'") as caught:
        parse("records:x.jsonl?modell=y")
    assert "format" in caught.value.hint


def test_files_whose_name_is_not_utf8_are_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    written(path, {"custom_id": "a", "body": {"prompt": "x"}})
    output = written(tmp_path / "out.jsonl", BATCH)
    for rest, options in ((path, {}), (output, {"prompts": str(path)})):
        with pytest.raises(RecordsError, match="is not UTF-8") as caught:
            open_recorded(Specifier(scheme="records", rest=str(rest), options=options))
        assert "rename" in caught.value.hint
        str(caught.value).encode()


@pytest.mark.parametrize(
    "spec",
    ["records:a\0b", "records:a?prompts=%00", "local:a\0", "gguf:\0", "records:~no-such-user/x"],
)
def test_what_is_no_path_is_refused(spec):
    with pytest.raises(SubjectError, match="is no path") as caught:
        parse(spec)
    assert caught.value.hint


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p")
    output = written(tmp_path / "out.jsonl", BATCH)
    assert_refused(tmp_path / "p", "is no regular file")
    assert_refused(output, "is no regular file", options=f"?prompts={tmp_path / 'p'}")
    assert_refused("/dev/null", "is no regular file")


def test_a_packed_file_is_to_be_unpacked(tmp_path):
    path = tmp_path / "r.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"probe_id": "a", "text": "x"}\n'))
    with pytest.raises(RecordsError, match="packed with gzip") as caught:
        open_model(f"records:{path}")
    assert "gunzip" in caught.value.hint


def test_a_full_disk_is_told(tmp_path):
    index = ReplyIndex()
    index._base.execute("PRAGMA max_page_count = 8")
    reply = RecordedReply(prompt="p", text="x" * 100_000)
    with pytest.raises(StorageError, match="database or disk is full") as caught:
        index.add(reply)
    assert "SQLITE_TMPDIR" in caught.value.hint
    index.close()


@pytest.mark.parametrize("name", ["inspect.eval", "d.parquet"])
def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, name):
    path = SAMPLES / name
    if name.endswith(".parquet"):
        path = tmp_path / name
        pq.write_table(pa.Table.from_pylist([{"prompt": "x", "text": "y"}]), path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match="pyarrow") as caught:
        open_model(str(path))
    assert "auditor[records]" in caught.value.hint


def test_what_a_reply_is_called_is_short():
    assert len(RecordedReply(prompt="x" * 1000).name) < 100
