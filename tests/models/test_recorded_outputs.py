import json

import pytest

from auditor.errors import AccessError, RecordsError
from auditor.models import identify, open_model
from auditor.models.recorded import read_records_file
from auditor.types import Access, Decoding, Message, Probe

A = Probe(id="a", category="x", text="Once upon")
B = Probe(id="b", category="x", messages=(Message(role="user", content="hi"),))
C = Probe(
    id="c",
    category="x",
    messages=(Message(role="system", content="s"), Message(role="user", content="u")),
)


@pytest.fixture
def write(tmp_path):
    def write(*lines):
        path = tmp_path / "r.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n")
        return path

    return write


def sampled(path, probes, n):
    drawn = open_model(str(path)).sample(probes, n, Decoding(), 0)
    return [(s.probe_id, s.repeat, s.text) for s in drawn]


def test_replies_come_back_by_id_and_repeat_in_the_order_asked(write):
    path = write(
        {"probe_id": "b", "text": "b1", "repeat": 1},
        {"probe_id": "a", "text": "a0"},
        {"probe_id": "b", "text": "b0", "repeat": 0},
        {"probe_id": "a", "text": "", "repeat": 1},
    )
    assert sampled(path, [A, B], 2) == [
        ("a", 0, "a0"),
        ("a", 1, ""),
        ("b", 0, "b0"),
        ("b", 1, "b1"),
    ]


def test_replies_are_matched_by_prompt_too(write):
    path = write(
        {"prompt": "Once upon", "text": "a"},
        {"prompt": "hi", "text": "b"},
        {"prompt": "s\nu", "text": "c"},
    )
    assert sampled(path, [C, B, A], 1) == [("c", 0, "c"), ("b", 0, "b"), ("a", 0, "a")]


def test_an_id_wins_over_a_prompt(write):
    path = write({"prompt": "hi", "text": "by prompt"}, {"probe_id": "b", "text": "by id"})
    assert sampled(path, [B], 1) == [("b", 0, "by id")]


def test_a_probe_of_another_id_is_found_by_what_was_asked_in_the_order_of_the_file(write):
    path = write(
        {"probe_id": "q1", "prompt": "hi", "text": "first", "repeat": 1},
        {"probe_id": "q2", "prompt": "other", "text": "no"},
        {"probe_id": "q3", "messages": [{"role": "user", "content": "s"}], "text": "no"},
        {"probe_id": "q1", "prompt": "hi", "text": "second", "repeat": 0},
        {"probe_id": "q4", "prompt": "hi", "text": "third"},
    )
    model = open_model(str(path))
    assert model.missing([B], 4) == (("b", 3),)
    assert sampled(path, [B], 3) == [("b", 0, "first"), ("b", 1, "second"), ("b", 2, "third")]
    # Under the id itself only what has it.
    own = Probe(id="q1", category="x", messages=B.messages)
    assert sampled(path, [own], 2) == [("q1", 0, "second"), ("q1", 1, "first")]
    assert model.missing([own], 3) == (("q1", 2),)


def test_a_reply_under_the_id_to_another_prompt_is_missing(write):
    model = open_model(str(write({"probe_id": "b", "prompt": "bye", "text": "x"})))
    assert model.missing([B]) == (("b", 0),)
    assert model.available([B]) == ()


def test_what_is_known_of_a_recorded_reply(write):
    (sample,) = open_model(str(write({"probe_id": "b", "text": "é"}))).sample([B], 1, Decoding(), 0)
    assert (sample.prompt, sample.prompt_ids, sample.token_ids) == ("hi", (), ())
    assert sample.finish_reason == "unknown"


def test_missing_replies_are_told_and_never_left_out_in_silence(write):
    model = open_model(str(write({"probe_id": "a", "text": "x"})))
    assert model.missing([A, B], 2) == (("a", 1), ("b", 0), ("b", 1))
    assert model.available([A, B], 1) == (A,)
    with pytest.raises(RecordsError, match="lacks 3 of 4 replies: a repeat 1, b repeat 0"):
        list(model.sample([A, B], 2, Decoding(), 0))


def test_only_text_is_offered(write):
    model = open_model(str(write({"probe_id": "a", "text": "x"})))
    assert model.ref.access == Access.TEXT
    for refused in (
        lambda: model.encode("x"),
        lambda: model.score(["x"]),
        lambda: model.hidden([[1]]),
        model.head,
        model.tensors,
    ):
        with pytest.raises(AccessError, match="recorded outputs offer no"):
            refused()


def test_the_identity_is_that_of_the_file(write):
    path = write({"probe_id": "a", "text": "x"})
    ref = identify(str(path))
    assert ref == open_model(str(path)).ref
    assert ref.spec == f"records:{path.resolve()}"
    write({"probe_id": "a", "text": "y"})
    assert identify(str(path)).digest != ref.digest


def test_record_lines_of_a_case_can_be_used(write):
    path = write(
        {"probe_id": "a", "text": "", "outcome": "error", "error": "refused", "repeat": 0},
        {"suite": "s@1", "probe_id": "b", "text": "ok", "outcome": "ok", "attempt": 1, "repeat": 0},
    )
    (reply,) = read_records_file(path).replies
    assert (reply.suite, reply.probe_id, reply.text) == ("s@1", "b", "ok")


def test_line_separators_inside_a_text_do_not_end_the_line(write):
    path = write('{"probe_id": "a", "text": "one\u2028two\u0085three"}', "", "   ")
    assert read_records_file(path).replies[0].text == "one\u2028two\u0085three"


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"probe_id": "a", "text": "x"}\r\n')
    assert read_records_file(path).replies[0].text == "x"


@pytest.mark.parametrize(("mark", "at"), [(b"", 34), (b"\xef\xbb\xbf", 37)])
def test_bytes_that_are_not_utf8_are_named(tmp_path, mark, at):
    path = tmp_path / "r.jsonl"
    # The first line has 31 bytes with its newline; 0xE9 is the fourth byte of the second.
    path.write_bytes(mark + b'{"probe_id": "a", "text": "xy"}\n' + b'"a\xe9"\n')
    with pytest.raises(RecordsError, match=rf"byte {at} \(line 2\) is 0xe9"):
        read_records_file(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ({"text": "x"}, "line 2: neither probe_id nor prompt"),
        ({"probe_id": "b"}, "line 2: no text"),
        ({"probe_id": "b", "text": None}, "line 2: no text"),
        ({"probe_id": 7, "text": "x"}, "line 2: probe_id is 7"),
        ({"probe_id": "", "text": "x"}, "line 2: probe_id is ''"),
        ({"probe_id": "b", "text": "x", "repeat": -1}, "line 2: repeat is -1"),
        ({"probe_id": "b", "text": "x", "repeat": True}, "line 2: repeat is True"),
        ({"probe_id": "b", "text": "x", "repeat": "0"}, "line 2: repeat is '0'"),
    ],
)
def test_malformed_lines_are_named(write, line, said):
    path = write({"probe_id": "a", "text": "x"}, line)
    with pytest.raises(RecordsError, match=said) as caught:
        read_records_file(path)
    assert caught.value.hint


def test_two_replies_of_one_repeat_are_refused(write):
    path = write({"probe_id": "a", "text": "x"}, {"probe_id": "a", "text": "y", "repeat": 0})
    with pytest.raises(RecordsError, match="2 replies for 'a', repeat 0"):
        read_records_file(path)


@pytest.mark.parametrize("lines", [[], [""], [{"probe_id": "a", "text": "", "outcome": "error"}]])
def test_a_file_without_replies_is_refused(write, lines):
    with pytest.raises(RecordsError, match="holds no reply"):
        read_records_file(write(*lines))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(RecordsError, match="cannot be read: No such file"):
        open_model(f"records:{tmp_path}/nowhere.jsonl")
