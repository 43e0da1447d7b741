"""Logs of inspect_ai that cannot be used, hostile archives among them."""

import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from auditor.errors import RecordsError
from auditor.models import open_model
from auditor.models.records import eval_archive

SAMPLES = Path(__file__).parent / "import_samples"
HEADER = {"version": 2, "status": "success", "eval": {"model": "m"}}
ASKED = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "x"}]
SAMPLE = {
    "id": 1,
    "epoch": 1,
    "messages": ASKED,
    "output": {"choices": [{"message": {"content": "x"}, "stop_reason": "stop"}]},
}


def assert_refused(path, said, *, options=""):
    with pytest.raises(RecordsError, match=said) as caught:
        open_model(f"records:{path}{options}")
    assert caught.value.hint


def archive(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content if isinstance(content, bytes) else json.dumps(content))
    return path


def log(path, *samples, **header):
    path.write_text(json.dumps({**HEADER, **header, "samples": samples}, indent=1))
    return path


@pytest.mark.parametrize("version", [1, 3, None, "2"])
def test_logs_of_another_version_are_refused(tmp_path, version):
    assert_refused(
        log(tmp_path / "l.json", SAMPLE, version=version), f"log of version {version!r}; read"
    )


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        ({"id": 1, "epoch": 1}, "sample 1: no messages"),
        ({**SAMPLE, "messages": [{"role": "x", "content": "a"}]}, "sample 1: a message with"),
        (
            {**SAMPLE, "output": {"choices": [{"message": {"content": None}}]}},
            "sample 1: a choice without text",
        ),
    ],
)
def test_samples_that_lack_something_are_named(tmp_path, sample, said):
    assert_refused(log(tmp_path / "l.json", sample), said)


def test_a_sample_that_is_there_twice_is_refused(tmp_path):
    assert_refused(
        log(tmp_path / "l.json", SAMPLE, SAMPLE), "sample 2: the sample 1 of epoch 1 is there"
    )


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "tool", "content": "4"}, "the model called a tool"),
        ({"role": "assistant", "content": "y", "source": "generate"}, "asked several times"),
        ({"role": "user", "content": [{"type": "image"}]}, "the prompt holds more than text"),
    ],
)
def test_samples_that_are_no_reply_to_one_prompt_are_counted(tmp_path, turn, reason):
    other = {**SAMPLE, "id": 2, "messages": [ASKED[0], turn, ASKED[1]]}
    model = open_model(str(log(tmp_path / "l.json", SAMPLE, other)))
    assert model.facts.replies == 1
    (limit,) = [limit for limit in model.facts.limits if "left out" in limit]
    assert limit.startswith("The file also holds 1 entry left out (")
    assert reason in limit


def test_a_run_that_did_not_end_is_a_limit(tmp_path):
    model = open_model(str(log(tmp_path / "l.json", SAMPLE, status="cancelled")))
    assert "The run's status is 'cancelled'." in model.facts.limits


def test_epochs_are_in_order_however_the_samples_lie(tmp_path):
    second = {**SAMPLE, "epoch": 2, "output": {"choices": [{"message": {"content": "second"}}]}}
    members = {"header.json": HEADER, "samples/1_epoch_2.json": second}
    zipped = archive(tmp_path / "a.eval", {**members, "samples/1_epoch_1.json": SAMPLE})
    for path in (zipped, log(tmp_path / "l.json", second, SAMPLE)):
        assert [reply.text for reply in open_model(str(path)).replies()] == ["x", "second"]


def test_samples_whose_id_holds_a_slash_are_read(tmp_path):
    members = {f"samples/HumanEval/{n}_epoch_1.json": {**SAMPLE, "id": n} for n in (0, 1)}
    path = archive(tmp_path / "a.eval", {"header.json": HEADER, **members})
    assert open_model(str(path)).facts.replies == 2


def test_an_epoch_of_many_digits_is_no_order(tmp_path):
    name = f"samples/a_epoch_{'9' * 5000}.json"
    path = archive(tmp_path / "a.eval", {"header.json": HEADER, name: SAMPLE})
    assert open_model(str(path)).facts.replies == 1


def test_the_last_entry_of_a_name_counts(tmp_path):
    path = archive(tmp_path / "a.eval", {"header.json": HEADER, "samples/1_epoch_1.json": SAMPLE})
    again = {**SAMPLE, "output": {"choices": [{"message": {"content": "again"}}]}}
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("samples/1_epoch_1.json", json.dumps(again))
    assert [reply.text for reply in open_model(str(path)).replies()] == ["again"]


@pytest.mark.parametrize("offset", [2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_members_that_lie_outside_the_file_are_refused(tmp_path, offset):
    # Zip64 (APPNOTE 4.5.3): the offset of 4 bytes is all ones, the true one in an extra field.
    path = archive(tmp_path / "a.eval", {"header.json": HEADER, "samples/a.json": SAMPLE})
    raw = bytearray(path.read_bytes())
    entry, end = raw.rfind(b"PK\x01\x02"), raw.rfind(b"PK\x05\x06")
    extra = struct.pack("<HHQ", 1, 8, offset)
    (name,) = struct.unpack_from("<H", raw, entry + 28)
    struct.pack_into("<H", raw, entry + 30, len(extra))
    raw[entry + 42 : entry + 46] = b"\xff" * 4
    struct.pack_into("<L", raw, end + 12, struct.unpack_from("<L", raw, end + 12)[0] + len(extra))
    raw[entry + 46 + name : entry + 46 + name] = extra
    path.write_bytes(raw)
    assert_refused(path, r"samples/a.json has no local header")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    # 300 MiB of zeros in 300 kB, declared truly and falsely.
    path = archive(tmp_path / "b.eval", {"header.json": HEADER, "samples/a.json": bytes(300 << 20)})
    tracemalloc.start()
    assert_refused(path, r"samples/a.json unpacks to more than 256 MiB")
    raw = path.read_bytes()
    path.write_bytes(raw.replace(struct.pack("<L", 300 << 20), struct.pack("<L", 1000)))
    monkeypatch.setattr(eval_archive, "MOST_MEMBER", 1 << 20)
    assert_refused(path, r"samples/a.json unpacks to more than 1 MiB")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"a.json": {}}, "a zip without header.json"),
        ({"header.json": b"\xff"}, "header.json: not UTF-8"),
        ({"header.json": b"{"}, "header.json: not JSON"),
        ({"header.json": HEADER, "samples/a.json": b"[]"}, "samples/a.json: not a JSON object"),
        ({"header.json": HEADER}, "holds no reply"),
    ],
)
def test_archives_that_hold_something_else_are_refused(tmp_path, members, said):
    assert_refused(archive(tmp_path / "a.eval", members), said)


def test_a_torn_archive_is_refused(tmp_path):
    path = tmp_path / "a.eval"
    path.write_bytes((SAMPLES / "inspect.eval").read_bytes()[:9000])
    assert_refused(path, "not a readable zip")


def test_changed_content_of_an_archive_is_refused(tmp_path):
    path = archive(tmp_path / "a.eval", {"header.json": HEADER}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b'"success"', b'"suchess"'))
    assert_refused(path, "header.json is not the content that the zip declares")
