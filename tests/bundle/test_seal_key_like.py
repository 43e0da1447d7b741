"""A reply that only looks like a key can be sealed once a person has named it, and is shown."""

import json
from dataclasses import replace

import pytest
from seal_world import REQUEST, copy_of, files_of, lines_of
from verify_world import copied, failed, rechained, resealed

from auditor.audit import audit
from auditor.bundle.verify import verify
from auditor.case import Case
from auditor.cli.main import run
from auditor.errors import CaseError
from auditor.plan import plan_audit
from auditor.report.render import write_reports
from auditor.sealing import Screening, seal_case

MADE_UP = "sk-" + "proj-abcd1234efgh5678ijkl"
PEM = "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n"
REPLIES = (f"Take this:\n{MADE_UP}\nand go.", f"No.\n{PEM}...", "Nothing of the kind.")
RECORDS = "records/recorded/instructions@1.jsonl"


@pytest.fixture(scope="module")
def draft(tmp_path_factory):
    """Return a finished case whose suspect made up two texts like keys."""
    folder = tmp_path_factory.mktemp("key-like")
    plan = plan_audit(REQUEST)
    probes = [probe for suite in plan["suites"] for probe in suite["probes"]]
    rows = [
        {"probe_id": probe, "repeat": repeat, "text": REPLIES[min(number, 2)]}
        for number, probe in enumerate(probes)
        for repeat in range(REQUEST.repeats)
    ]
    recorded = folder / "recorded.jsonl"
    recorded.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return audit(replace(REQUEST, suspects=(f"records:{recorded}",)), folder / "case")


def places(case):
    """The replies that hold something like a key, counted by hand: the first two probes."""
    texts = [row["text"] for row in lines_of(case.data / RECORDS)]
    found = [number for number, text in enumerate(texts) if text in REPLIES[:2]]
    assert len(found) == 2 * REQUEST.repeats
    return [f"recorded/instructions@1#{number}" for number in found]


def test_the_refusal_names_the_replies_and_not_their_text(draft, capsys):
    before = files_of(draft.root.parent)
    assert run(["seal", str(draft.root), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert f"{RECORDS} holds what looks like an API key (sk-...)" in error["message"]
    assert all(f"--accept-key-like '{place}'" in error["hint"] for place in places(draft))
    assert MADE_UP not in json.dumps(error)
    assert files_of(draft.root.parent) == before | {"case/work/lock": b""}


def test_named_replies_are_sealed_logged_and_shown_by_verify(draft, tmp_path, capsys):
    words = [word for place in places(draft) for word in ("--accept-key-like", place)]
    target = tmp_path / "case.evidence"
    assert run(["seal", str(draft.root), "--out", str(target), *words]) == 0
    assert files_of(target)[f"data/{RECORDS}"] == files_of(draft.data)[RECORDS]
    events = lines_of(target / "data/custody.jsonl")
    accepted = [event for event in events if event["event"] == "key-like reply accepted"]
    assert [event["record"] for event in accepted] == places(draft)
    assert accepted[0]["what"] == ["an API key (sk-...)"]
    assert events[-1]["event"] == "seal"
    found = verify(target)
    assert found.level == "L1"
    (content,) = [check for check in found.checks if check.id == "V14"]
    assert content.outcome == "pass"
    assert len(content.details) == 2 * REQUEST.repeats
    capsys.readouterr()
    assert run(["verify", str(target), "--min-level", "L1"]) == 0
    assert f"{places(draft)[0]} holds what looks like an API key" in capsys.readouterr().out


def test_one_reply_that_is_not_named_is_refused(draft, tmp_path):
    screening = Screening(key_like=places(draft)[:1])
    with pytest.raises(CaseError, match="holds what looks like a private key"):
        seal_case(draft, tmp_path / "x.evidence", screening=screening)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("recorded/instructions@1#5", "holds nothing like a key"),
        ("recorded/instructions@1#99", "names no reply"),
        ("nobody/instructions@1#0", "names no reply"),
        ("../instructions@1#0", "names no reply"),
        ("sk-123", "names no reply"),
    ],
)
def test_a_place_without_anything_like_a_key_is_refused(draft, tmp_path, place, why):
    with pytest.raises(CaseError, match=why):
        seal_case(draft, tmp_path / "x.evidence", screening=Screening(key_like=[place]))


def test_the_value_of_a_key_variable_is_never_accepted(draft, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", MADE_UP)
    with pytest.raises(CaseError, match=r"holds the secret \$OPENAI_API_KEY") as failure:
        seal_case(draft, tmp_path / "x", screening=Screening(key_like=places(draft)))
    assert "withdraw that key" in failure.value.hint


def test_what_stands_in_no_reply_is_not_accepted(draft, tmp_path):
    spoilt = copy_of(draft, tmp_path / "case")
    other = "sk-" + "live-9999zzzz8888yyyy7777"
    (spoilt.data / "notes.txt").write_text(f"{MADE_UP}\n{other}\n{PEM}")
    with pytest.raises(CaseError, match=r"notes\.txt holds what looks like an API key") as failure:
        seal_case(spoilt, screening=Screening(key_like=places(draft)))
    assert "withdraw that key" in failure.value.hint


def test_verify_takes_no_text_whose_acceptance_is_not_in_the_log(draft, tmp_path):
    screening = Screening(key_like=places(draft))
    root = seal_case(draft, tmp_path / "whole.evidence", screening=screening).root
    assert failed(root) == set()
    for name, change in (
        ("absent", lambda row: None if "leaf" in row else row),
        ("another", lambda row: {**row, "leaf": "0" * 64} if "leaf" in row else row),
    ):
        spoilt = copied(root, tmp_path / f"{name}.evidence")
        rows = [change(row) for row in lines_of(spoilt / "data/custody.jsonl")]
        (spoilt / "data/custody.jsonl").write_bytes(rechained([row for row in rows if row]))
        write_reports(Case(spoilt))  # whose time line shows the log
        resealed(spoilt)
        assert failed(spoilt) == {"V14"}, name
