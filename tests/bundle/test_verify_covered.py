"""Changes whose maker covered his steps: index and manifests made anew, so that sums agree."""

import base64
import json
from datetime import datetime, timedelta

import pytest
from verify_world import (
    copied,
    edit_json,
    failed,
    manifest_again,
    rechained,
    resealed,
    rows_of,
)

from auditor.bundle.verify import verify
from auditor.case import Case
from auditor.report.render import write_reports

RECORDS = "data/records/independent/ood@1.jsonl"


def _records(change):
    def apply(root):
        path = root / RECORDS
        path.write_bytes(rechained(change(rows_of(path))))

    return apply


def _json(name, change):
    return lambda root: edit_json(root, name, change)


def _text(name, old, new):
    def apply(root):
        path = root / "data" / name
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new, 1))

    return apply


def _suspect(change):
    return _json("conclusion.json", lambda content: change(content["suspects"]["independent"]))


def _row(change):
    def first(content):
        rows = content["suspects"]["independent"]
        change(next(row for row in rows if row["value"] is not None))

    return _json("statistics.json", first)


def _without_a_row(root):
    """Leave a statistic out everywhere, as if it had never been computed."""
    edit_json(root, "statistics.json", lambda c: c["suspects"]["independent"].pop())
    write_reports(Case(root))


COVERED = {
    "statistic-removed": ("V10", _without_a_row),
    "record-edited": ("V07", _records(lambda rows: [{**rows[0], "text": "I"}, *rows[1:]])),
    "record-removed": ("V08", _records(lambda rows: rows[:-1])),
    "record-repeated": ("V08", _records(lambda rows: [*rows, rows[-1]])),
    "records-reordered": ("V08", _records(lambda rows: rows[::-1])),
    "probe-changed": ("V09", _records(lambda r: [{**r[0], "probe_digest": "sha256:0"}, *r[1:]])),
    "failure-hidden": ("V08", lambda root: (root / "data/errors.jsonl").write_text('{"a": 1}\n')),
    "plan-edited": ("V09", _json("plan.json", lambda plan: plan.update(seed=1))),
    "rules-edited": ("V09", _json("plan.json", lambda p: p["rules"].update(no_link_p=0.5))),
    "repeats-edited": ("V08", _json("plan.json", lambda plan: plan.update(repeats=1))),
    "subject-unplanned": ("V08", _json("plan.json", lambda p: p["subjects"].pop())),
    "model-renamed": (
        "V09",
        _json("subjects.json", lambda c: c["subjects"][1]["ref"].update(spec="tiny:other")),
    ),
    "suite-edited": ("V09", _text("probes/ood@1/suite.toml", b"weight = 1.0", b"weight = 2.0")),
    "value-changed": ("V10", _row(lambda row: row.update(value=0.123))),
    "value-and-reason": ("V10", _row(lambda row: row.update(undefined="none"))),
    "input-missing": ("V10", _row(lambda row: row.update(inputs=["records/nobody"]))),
    "id-repeated": ("V10", _row(lambda row: row.update(id="S001"))),
    "reading-changed": ("V13", _suspect(lambda one: one.update(reading="imitation"))),
    "basis-changed": ("V13", _suspect(lambda one: one.update(basis="It was copied."))),
    "cap-removed": ("V13", _suspect(lambda one: one.update(cap=None))),
    "ratio-invented": (
        "V13",
        _suspect(lambda one: one.update(log10_lr={"imitation:independent": 4.0})),
    ),
    "phrase-invented": ("V13", _suspect(lambda one: one.update(verbal="very strong support"))),
    "conditional-transposed": (
        "V13",
        _suspect(lambda one: one.update(verbal="a 97 % chance that S imitated T")),
    ),
    "report-number": ("V10", _text("report.html", b'<data value="', b'<data value="9')),
    "report-word": ("V11", _text("report.html", b"inconclusive", b"imitation")),
    "report-markdown": ("V11", _text("report.md", b"inconclusive", b"imitation")),
    "result-changed": (
        "V10",
        _json("result.json", lambda one: one["conclusion"].update(reading="imitation")),
    ),
    "script": ("V14", _text("report.html", b"</body>", b"<script>1</script></body>")),
    "handler": ("V14", _text("report.html", b"<body", b"<body onload=alert(1)")),
    "policy-removed": ("V14", _text("report.html", b"Content-Security-Policy", b"X")),
    "remote-image": ("V14", _text("report.html", b"</body>", b'<img src="//x.y/z"></body>')),
    "secret": ("V14", _text("environment.json", b"CPython", b"hf_" + b"a1" * 20)),
    "unknown-major": ("V02", _json("plan.json", lambda p: p.update(schema="auditor/plan/2"))),
    "duplicate-key": ("V02", _text("plan.json", b"{", b'{"schema": "auditor/plan/9",')),
    "not-a-number": ("V02", _text("statistics.json", b'"value": 0', b'"value": NaN, "v": 0')),
    "array-exchanged": (
        "V08",
        lambda root: (root / "data/arrays/topk/independent.npy").write_bytes(
            (root / "data/arrays/topk/teacher.npy").read_bytes()
        ),
    ),
    "array-added": (
        "V08",
        lambda root: (root / "data/arrays/topk/x.npy").write_bytes(b"\x93NUMPY"),
    ),
    "note-added": ("V08", lambda root: (root / "data/notes.txt").write_text("x")),
    "collected-edited": (
        "V07",
        _json("collected/sibling.json", lambda one: one["missing"].clear()),
    ),
}


@pytest.mark.parametrize("way", COVERED)
def test_a_covered_change_is_found_without_a_key_and_by_the_signature(signed, tmp_path, way):
    check, change = COVERED[way]
    root = copied(signed.root, tmp_path / "case")
    change(root)
    resealed(root)
    found = failed(root, signed.public)
    assert {check, "V05"} <= found
    assert "V03" not in found


def _custody(change):
    def apply(root):
        path = root / "data/custody.jsonl"
        path.write_bytes(rechained(change(rows_of(path))))

    return apply


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:-1],
        lambda rows: rows[1:],
        lambda rows: [{**rows[0], "time": "2099-01-01T00:00:00+00:00"}, *rows[1:]],
        lambda rows: [*rows, rows[-1]],
    ],
)
def test_a_changed_custody_log_is_out_of_order(signed, tmp_path, change):
    root = copied(signed.root, tmp_path / "case")
    _custody(change)(root)
    resealed(root)
    assert "V06" in failed(root)


def test_a_clock_that_was_set_back_is_named_with_its_line(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")

    def change(rows):
        back = datetime.fromisoformat(rows[1]["time"]) - timedelta(hours=1, seconds=5)
        return [*rows[:2], {**rows[2], "time": back.isoformat(timespec="milliseconds")}, *rows[3:]]

    _custody(change)(root)
    resealed(root)
    (check,) = (check for check in verify(root).checks if check.id == "V06")
    (fault,) = [detail for detail in check.details if "set back" in detail]
    assert check.outcome == "fail"
    assert (
        f"line 3 ({rows_of(root / 'data/custody.jsonl')[2]['event']}) is dated 1:00:05 before"
        in fault
    )


@pytest.mark.parametrize(
    ("sealed_by", "told"),
    [
        (None, "one build must do both again"),
        ("sha256:" + "0" * 64, "another build sealed it, auditor"),
    ],
)
def test_a_conclusion_in_the_words_of_another_build_names_the_remedy(
    signed, tmp_path, sealed_by, told
):
    root = copied(signed.root, tmp_path / "case")
    _suspect(lambda one: one.update(basis="in other words"))(root)
    resealed(root)
    if sealed_by is not None:
        edit_json(root, "evidence.json", lambda c: c["tool"].update(source_digest=sealed_by))
        manifest_again(root)
    (check,) = (check for check in verify(root).checks if check.id == "V13")
    assert check.outcome == "fail"
    assert "independent: basis is not what the statistics give" in check.details[0]
    assert told in check.details[-1]
    assert "auditor judge" in check.remedy


def test_an_index_that_was_not_made_anew_differs_from_the_manifest(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    edit_json(root, "conclusion.json", lambda content: content.update(rules="reading/9"))
    manifest_again(root)
    assert "V02" in failed(root)


@pytest.mark.parametrize("name", ["PLAN.json", "a\\b", "cafe\u0301.txt", "x\u202etxt"])
def test_names_that_file_systems_disagree_about_are_not_read(signed, tmp_path, name):
    root = copied(signed.root, tmp_path / "case")
    (root / "data" / name).write_bytes(b"")
    assert failed(root) == {"V01"}


def _signature(change):
    def apply(root):
        path = root / "signatures/examiner.sigstore.json"
        content = json.loads(path.read_bytes())
        change(content)
        path.write_text(json.dumps(content))

    return apply


def _other_payload(content):
    content["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()


def _other_signature(content):
    one = content["dsseEnvelope"]["signatures"][0]
    one["sig"] = one["sig"][:20] + ("A" if one["sig"][20] != "A" else "B") + one["sig"][21:]


@pytest.mark.parametrize(
    "change",
    [
        _other_payload,
        _other_signature,
        lambda content: content.pop("dsseEnvelope"),
        lambda content: content["dsseEnvelope"]["signatures"].clear(),
        lambda content: content.update(mediaType="x"),
    ],
)
def test_a_changed_signature_is_found(signed, tmp_path, change):
    root = copied(signed.root, tmp_path / "case")
    _signature(change)(root)
    assert failed(root, signed.public) == {"V05"}


def test_a_removed_signature_is_found_by_who_knows_the_key(signed, tmp_path):
    root = copied(signed.root, tmp_path / "case")
    (root / "signatures/examiner.sigstore.json").unlink()
    assert failed(root, signed.public) == {"V05"}
