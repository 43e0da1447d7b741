"""Files that other tools wrote become subjects: see import_samples/README.md for their makers."""

import json
import shutil
from pathlib import Path

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditor.errors import RecordsError
from auditor.models import identify, open_model
from auditor.models.recorded import open_recorded
from auditor.models.records.reply import reply_as_json
from auditor.models.specifier import beside, parse
from auditor.types import Access, Decoding, Message, Probe

SAMPLES = Path(__file__).parent / "import_samples"
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "reports" / "schema" / "records-1.json").read_text()
)
BRIEF = Message(role="system", content="You answer briefly.")


def opened(name, options=""):
    return open_recorded(parse(f"records:{SAMPLES / name}{options}"))


def chat(text, *before, name="x"):
    return Probe(id=name, category="c", messages=(*before, Message(role="user", content=text)))


def said(model, probe, n=1):
    return [sample.text for sample in model.sample([probe], n, Decoding(), 0)]


def test_an_eval_log_is_read_with_its_epochs_as_repeats():
    model = opened("inspect.eval")
    assert said(model, chat("Name the capital of France.", BRIEF), 2) == [
        "Paris is the capital.",
        "It is Paris.",
    ]
    assert said(model, chat("What is two plus two?", BRIEF), 2) == ["Four.", "4"]
    facts = model.facts
    assert (facts.format, facts.told, facts.tool) == ("inspect", False, "inspect_ai 0.3.285")
    assert (facts.replies, facts.prompts, facts.repeats) == (6, 3, (2, 2))
    assert facts.models == ("mockllm/model",)
    assert facts.decodings == ({"temperature": 0.7, "max_new_tokens": 32},)
    assert facts.times[0].startswith("2026-11-29T02:42:20")
    assert model.ref.access == Access.TEXT


def test_a_prompt_without_the_system_message_that_was_sent_is_another_prompt():
    model = opened("inspect.eval")
    assert model.missing([chat("Name the capital of France.")]) == (("x", 0),)


def test_a_json_log_with_log_probabilities_is_a_subject_at_topk():
    model = opened("inspect.json")
    assert model.ref.access == Access.TOPK
    (reply,) = model.replies()
    assert reply.finish_reason == "stop"
    (token,) = reply.logprobs
    assert (token["token"], token["logprob"]) == ("Four.", -0.25)
    assert [other["token"] for other in token["top_logprobs"]] == ["Four.", " x"]
    assert model.facts.top == 2


def test_samples_of_lm_eval_are_read_with_their_repeats_whatever_the_filters():
    model = opened("lm-eval.jsonl")
    probe = Probe(id="x", category="c", text="Question: Name a number.\nAnswer:")
    assert said(model, probe, 2) == [" The answer ", " Gus has 8 s"]
    # Two filters wrote every document twice.
    assert (model.facts.format, model.facts.replies, model.facts.prompts) == ("lm-eval", 6, 3)
    assert model.facts.decodings == ({"max_new_tokens": 12, "temperature": 0.8},)


def test_chats_of_lm_eval_are_chats():
    model = opened("lm-eval-chat.jsonl")
    asked = chat(
        "Question: Name a colour.\nAnswer:", Message(role="system", content="Answer briefly.")
    )
    assert said(model, asked) == ["Reply to:  colour.\nAnswer:"]


def test_older_samples_of_lm_eval_have_their_arguments_in_lists(tmp_path):
    # lm_eval before 0.4.3: "arguments": [[prompt, settings]], and no prompt_hash.
    line = {"doc_id": 7, "arguments": [["Q:", {"do_sample": False}]], "resps": [["A"]]}
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps(line) + "\n")
    model = open_model(str(path))
    assert said(model, Probe(id="x", category="c", text="Q:")) == ["A"]
    assert model.facts.decodings == ({"temperature": 0},)


def test_a_batch_is_read_with_what_its_input_file_asked():
    options = f"?prompts={SAMPLES / 'batch-input.jsonl'}"
    model = opened("batch-output.jsonl", options)
    assert said(model, chat("What is two plus two?", BRIEF), 2) == ["Four.", "2 + 2 = 4, and"]
    assert said(model, chat("Name the capital of France.")) == ["Paris."]
    assert said(model, chat("Say something.")) == ["I will not."]
    assert model.missing([chat("Count to three.")]) == (("x", 0),)
    reasons = {reply.finish_reason for reply in model.replies()}
    assert reasons == {"stop", "length"}
    facts = model.facts
    assert (facts.format, facts.replies, facts.failures) == ("openai-batch", 4, 1)
    assert facts.models == ("some-model-2024-07-18",)
    # 1724858089 s after 1970 is 28 August 2024, 15:14:49 UTC.
    assert facts.times == ("2024-08-28T15:14:49+00:00",) * 2


def test_a_failure_in_a_batch_is_told_with_its_reason():
    model = opened("batch-output.jsonl", f"?prompts={SAMPLES / 'batch-input.jsonl'}")
    with pytest.raises(
        RecordsError, match="recorded is: the batch says: This request could not be"
    ):
        said(model, chat("Count to three."))


@pytest.mark.parametrize("content", [None, ""])
def test_a_choice_that_only_calls_a_tool_is_no_reply(tmp_path, content):
    calls = {"message": {"content": content, "tool_calls": [{"id": "c"}]}}
    spoken = {"message": {"content": "x", "tool_calls": [{"id": "c"}]}}
    body = {"choices": [calls, spoken, {"message": {"content": "", "tool_calls": []}}]}
    line = {"custom_id": "a", "error": None, "response": {"status_code": 200, "body": body}}
    path = tmp_path / "out.jsonl"
    path.write_text(json.dumps(line) + "\n")
    model = open_model(str(path))
    assert [reply.text for reply in model.replies()] == ["x", ""]
    assert model.facts.failures == 1


def test_a_batch_without_its_input_is_matched_by_custom_id():
    model = opened("batch-output.jsonl")
    assert said(model, chat("whatever", name="request-2")) == ["Paris."]
    assert "The batch's input file was not given: prompts are not known." in model.facts.limits


def test_both_files_of_a_batch_make_its_identity(tmp_path):
    for name in ("batch-output.jsonl", "batch-input.jsonl"):
        shutil.copy(SAMPLES / name, tmp_path)
    spec = f"records:{tmp_path / 'batch-output.jsonl'}?prompts={tmp_path / 'batch-input.jsonl'}"
    before = identify(spec)
    assert identify(before.spec) == before
    with (tmp_path / "batch-input.jsonl").open("a") as file:
        file.write("\n")
    assert identify(spec).digest != before.digest


def parquet(path, rows, **columns):
    table = pa.Table.from_pylist(rows) if rows else pa.table(columns)
    pq.write_table(table, path)
    return str(path)


def test_a_parquet_file_is_read_by_the_usual_names_of_its_columns(tmp_path):
    rows = [{"question": "Q1", "answer": "A1"}, {"question": "Q2", "answer": "A2"}] * 2
    model = open_model(parquet(tmp_path / "d.parquet", rows))
    assert said(model, Probe(id="x", category="c", text="Q2"), 2) == ["A2", "A2"]
    assert model.facts.repeats == (2, 2)
    assert any("prompt from 'question', text from 'answer'" in note for note in model.facts.limits)


def test_chats_of_a_parquet_file_end_with_the_reply(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    model = open_model(parquet(tmp_path / "d.parquet", [{"messages": turns}]))
    assert said(model, chat("hi")) == ["hello"]


def test_a_column_of_replies_wins_over_the_last_message(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"}]
    rows = [{"messages": turns, "text": " hello"}]
    (reply,) = open_model(parquet(tmp_path / "d.parquet", rows)).replies()
    assert (reply.text, len(reply.messages)) == (" hello", 2)


def test_columns_of_a_parquet_file_can_be_named(tmp_path):
    rows = [{"text": "no", "q": "Q", "a": "A"}]
    path = parquet(tmp_path / "d.parquet", rows)
    model = open_model(f"records:{path}?prompt=q&reply=a")
    assert said(model, Probe(id="x", category="c", text="Q")) == ["A"]


@pytest.mark.parametrize(
    "options", ["?prompt=text", "?reply=response", "?prompt=text&reply=response"]
)
def test_a_column_named_for_one_role_is_not_taken_for_the_other(tmp_path, options):
    path = parquet(tmp_path / "d.parquet", [{"text": "Q", "prompt": "Q", "response": "A"}])
    (reply,) = open_model(f"records:{path}{options}").replies()
    assert (reply.prompt, reply.text) == ("Q", "A")


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("time", pa.array([0], pa.timestamp("us"))),
        ("outcome", pa.array([0.5])),
        ("logprobs", pa.array([[-0.1]])),
        ("repeat", pa.array([0.0])),
        ("probe_id", pa.array([7])),
    ],
)
def test_columns_of_another_type_are_left_out_where_they_can_be(tmp_path, key, values):
    columns = {"prompt": ["Q"], "text": ["A"], key: values}
    model = open_model(parquet(tmp_path / "d.parquet", [], **columns))
    assert said(model, Probe(id="x", category="c", text="Q")) == ["A"]
    (note,) = [limit for limit in model.facts.limits if "Columns read" in limit]
    assert f"left out, as they hold something else: {key!r};" in note


def test_a_named_format_wins_over_the_content():
    told = opened("lm-eval.jsonl", "?format=lm-eval").facts
    assert told.told
    assert any("(as told)" in limit for limit in told.limits)
    found = opened("lm-eval.jsonl").facts
    assert any("(recognised by content)" in limit for limit in found.limits)


def test_options_are_part_of_the_specifier_and_survive_it(tmp_path):
    spec = parse(f"records:{tmp_path}/a b.jsonl?prompts={tmp_path}/i%26n.jsonl&format=openai-batch")
    assert spec.options == {"format": "openai-batch", "prompts": f"{tmp_path}/i&n.jsonl"}
    assert parse(spec.canonical) == spec


def test_a_file_whose_name_holds_a_question_mark_is_found(tmp_path):
    path = tmp_path / "what?format=x.jsonl"
    path.write_text('{"probe_id": "a", "text": "x"}\n')
    assert parse(f"records:{path}").path == path


def test_paths_in_a_plan_are_relative_to_it(tmp_path):
    spec = parse(beside("records:out.jsonl?prompts=in.jsonl", tmp_path))
    assert spec.path == tmp_path / "out.jsonl"
    assert spec.options["prompts"] == str(tmp_path / "in.jsonl")


def test_the_reply_under_an_id_must_be_one_to_the_same_prompt(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"probe_id": "x", "prompt": "other", "text": "t"}\n')
    with pytest.raises(RecordsError, match=r"line 1: the reply to 'x' was given to another prompt"):
        said(open_model(str(path)), chat("hi"))
    path.write_text('{"probe_id": "x", "prompt": "hi", "text": "t"}\n')
    assert said(open_model(str(path)), chat("hi")) == ["t"]


@pytest.mark.parametrize(
    "spec",
    [
        "inspect.eval",
        "inspect.json",
        "lm-eval.jsonl",
        "lm-eval-chat.jsonl",
        "batch-output.jsonl",
        f"batch-output.jsonl?prompts={SAMPLES / 'batch-input.jsonl'}",
    ],
)
def test_every_reply_is_a_line_of_the_published_schema(spec):
    lines = [reply_as_json(reply) for reply in opened(spec).replies()]
    assert lines
    for line in lines:
        jsonschema.validate(line, SCHEMA)


@pytest.mark.parametrize(
    "line",
    [
        {"text": "x"},
        {"probe_id": "a"},
        {"probe_id": "a", "text": "x", "repeat": -1},
        {"messages": [{"role": "tool", "content": "x"}], "text": "x"},
        {"probe_id": "a", "text": "x", "logprobs": [{"token": "x", "logprob": 1.0}]},
        {"probe_id": "a", "text": "x", "decoding": 7},
    ],
)
def test_what_the_schema_refuses_is_refused_when_it_is_read(line, tmp_path):
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(line)
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(RecordsError, match=r"line 1: "):
        open_model(f"records:{path}?format=records")
