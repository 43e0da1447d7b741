"""Subjects of other tokenizers and templates, asked under a named condition."""

import json
import shutil

import pytest
from command_line import TINY, auditor

from auditor.collect.suite_import import About, import_suite
from auditor.models import open_model
from auditor.types import Message

SYSTEM = "Reply in one short sentence."
BYTES, BPE = "tiny:teacher", "tiny:zoo/reference-00"
ASKED = ("--suite", "instructions", "--suite", "continuations", "--probes", "12")


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A byte-level suspect, a reference with a BPE of 512 tokens, two controls of that BPE."""
    root = tmp_path_factory.mktemp("conditions") / "case"
    done = auditor(
        *("compare", BYTES, BPE, "--control", "tiny:zoo/same-data-00"),
        *("--control", "tiny:zoo/same-data-01", *ASKED, "--max-new-tokens", "8"),
        *("--system", SYSTEM, "--out", root, "--json"),
    )
    assert done.code == 0, done.err + done.out
    return root, done.json


def records(root, subject):
    paths = sorted((root / "data" / "records" / subject).glob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def test_every_measure_of_unlike_tokenizers_has_a_value_or_a_reason(case):
    rows = {row["measure"].partition("@")[0]: row for row in case[1]["measurements"]}
    for name, row in rows.items():
        assert (row["value"] is None) == bool(row["undefined"]), name
    for name in ("hidden-cka", "weight-cka", "text-chrf", "embedding-cosine"):
        assert rows[name]["value"] is not None, rows[name]["undefined"]
    for name in ("logit-js", "logit-top1", "unembedding-span"):
        assert "512 token ids of the reference, 259 of tiny:teacher" in rows[name]["undefined"]


def test_likelihoods_of_unlike_tokenizers_are_of_the_same_bytes(case):
    import numpy as np

    from auditor.panel import CROSSING

    scored = np.load(case[0] / "data" / "arrays" / "crossing" / "reference-00.npy")
    assert scored.dtype == CROSSING
    suspect = scored[scored["author"] == 1]
    said = {i: len(row["text"].encode()) for i, row in enumerate(records(case[0], "teacher"))}
    assert len(suspect) > 6
    for row in suspect:  # the byte-level suspect's replies, in the reference's fewer tokens
        assert row["bytes"] == said[int(row["probe"])]
        assert row["tokens"] <= row["bytes"]
    assert (suspect["tokens"] < suspect["bytes"]).any()


def test_the_condition_stands_in_the_plan_the_records_and_the_reports(case):
    root, _ = case
    assert json.loads((root / "data" / "plan.json").read_bytes())["system"] == SYSTEM
    for subject in ("reference-00", "teacher", "same-data-00"):
        for row in records(root, subject):
            chat = row["suite"].startswith("instructions")
            assert (SYSTEM in row["request"]["prompt"]) == chat, row["request"]["prompt"]
    for name in ("report.html", "report.md"):
        page = next(root.rglob(name)).read_text()
        assert SYSTEM in page
        assert "temperature 1" in page


def test_the_template_of_every_subject_is_in_the_evidence_and_the_reports(case):
    root, _ = case
    subjects = json.loads((root / "data" / "subjects.json").read_bytes())["subjects"]
    pages = [next(root.rglob(name)).read_text() for name in ("report.html", "report.md")]
    assert len(subjects) == 4
    for subject in subjects:
        digest = subject["ref"]["template_digest"]
        assert digest.startswith("sha256:")
        # Once for each subject at least, controls too.
        assert all(page.count(digest) >= len(subjects) for page in pages)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_exported_replies_are_those_to_the_system_message(case, tmp_path, form):
    out = tmp_path / f"replies.{form}"
    assert auditor("export", case[0], "--to", form, "--out", out).code == 0
    model = open_model(str(out))
    chats = [reply for reply in model.replies() if reply.messages]
    assert len(chats) == 6  # of 12 probes, half are texts to continue
    assert {reply.messages[0] for reply in chats} == {Message(role="system", content=SYSTEM)}
    assert all(len(reply.messages) == 2 for reply in chats)
    about = About(name="asked", title="t", kind="chat")
    asked = import_suite(str(out), tmp_path / "asked", about).suite.probes
    # Their ids are not those of the file, their prompts are.
    assert model.available(asked) == asked
    assert len(asked) == 6
    model.close()
    done = auditor("compare", out, BPE, "--suite", "instructions", "--probes", "12",
                   "--out", tmp_path / "case", "--json")  # fmt: skip
    assert done.code == 2
    assert "answers none of the 12 planned probes" in done.json["error"]["message"]
    assert not (tmp_path / "case").exists()


def test_another_condition_is_another_plan(case):
    done = auditor(
        *("compare", BYTES, BPE, *ASKED, "--system", "Say more.", "--out", case[0], "--json")
    )
    assert done.code == 2
    assert done.json["error"]["type"] == "CaseError"


def test_an_empty_system_message_is_refused():
    done = auditor("compare", BYTES, BPE, "--system", " ", "--json")
    assert done.code == 2
    assert "empty system message" in done.json["error"]["message"]


def test_a_template_that_drops_the_message_is_no_silent_condition(tmp_path):
    mute = tmp_path / "mute"
    shutil.copytree(TINY / "sibling", mute)
    template = "{% for m in messages if m.role == 'user' %}{{ m.content }}\n{% endfor %}"
    (mute / "chat_template.jinja").write_text(template)
    settings = json.loads((mute / "tokenizer_config.json").read_bytes())
    settings.pop("chat_template", None)
    (mute / "tokenizer_config.json").write_text(json.dumps(settings))
    done = auditor(
        *("compare", mute, BYTES, "--suite", "instructions", "--probes", "4"),
        *("--max-new-tokens", "4", "--system", SYSTEM, "--out", tmp_path / "case", "--json"),
    )
    assert done.code == 0, done.err
    rows = records(tmp_path / "case", "mute")
    assert len(rows) == 4
    for row in rows:
        assert row["outcome"] == "error"
        assert "drops the system message" in row["error"]


@pytest.mark.parametrize("stated", [True, False])
def test_a_declared_plan_carries_the_condition_and_old_ones_keep_their_digest(stated):
    import yaml

    from auditor.data import data_dir
    from auditor.frozen import asked
    from auditor.plan_file import plan_from

    values = yaml.safe_load((data_dir("reports") / "templates" / "audit-plan.yaml").read_bytes())
    if stated:
        values["sampling"]["system"] = SYSTEM
    plan = plan_from(values)
    assert ("system" in plan.as_json()["sampling"]) == stated
    assert plan.request().system == (SYSTEM if stated else None)
    assert asked(plan.as_json())["system"] == (SYSTEM if stated else None)
    assert "system" not in asked(plan.as_json())["decoding"]
