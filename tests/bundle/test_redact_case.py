"""A redacted case: what it proves, what it withholds, and that withheld words are nowhere."""

import base64
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from redact_world import forms_of, redacted, rows_of, secret_text, withheld_rows
from seal_world import files_of

from auditor.canon import canonical_json, leaf_hash
from auditor.case import Case
from auditor.merkle import merkle_root
from auditor.stored import iterate_records
from auditor.withheld import Withheld, redaction


def leaves_of(path):
    """Return the leaf hashes of a file by RFC 9162, those of withheld lines as they are written."""
    lines = path.read_bytes().splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        row["withheld"] if set(row) == {"withheld"} else hashlib.sha256(b"\x00" + line).hexdigest()
        for line, row in zip(lines, rows, strict=True)
    ]


def test_shown_lines_and_withheld_hashes_give_the_original_root_count_and_order(told, copy_of_told):
    index = json.loads((told.root / "data/evidence.json").read_bytes())
    kept = copy_of_told.root / "data/parent"
    assert (kept / "evidence.json").read_bytes() == (told.root / "data/evidence.json").read_bytes()
    withheld = 0
    for name, entry in index["files"].items():
        if entry["role"] != "record":
            continue
        found = leaves_of(copy_of_told.root / "data" / name)
        assert merkle_root(found) == entry["merkle_root"]
        assert len(found) == entry["lines"]
        assert found == leaves_of(told.root / "data" / name)
        withheld += len(withheld_rows(told.root, copy_of_told.root))
    assert withheld > 0


def test_untouched_files_have_the_digests_that_the_original_signed(told, copy_of_told):
    signature = json.loads(
        (copy_of_told.root / "data/parent/signatures/examiner.sigstore.json").read_bytes()
    )
    payload = json.loads(base64.b64decode(signature["dsseEnvelope"]["payload"]))
    signed = {one["name"]: one["digest"] for one in payload["predicate"]["resources"]}
    found = files_of(copy_of_told.root / "data")
    changed = {
        name
        for name, content in found.items()
        if signed.get(name) != hashlib.sha256(content).hexdigest()
    }
    stated = json.loads(found["redaction.json"])
    index = json.loads(found["evidence.json"])
    own = {name for name in found if name.startswith("parent/")} | {"redaction.json"}
    assert changed == {*index["withheld"], *stated["rewritten"], *own, "evidence.json"}
    assert set(stated["rewritten"]) >= {"report.html", "report.md"}
    gone = set(signed) - set(found)
    assert gone == set(stated["files"])
    assert {signed[name] for name in gone} == {one["sha256"] for one in stated["files"].values()}


def test_the_named_lines_are_withheld_and_no_others(told, copy_of_told):
    texts = sorted(row["text"] for row in withheld_rows(told.root, copy_of_told.root))
    rows = [json.loads(line) for _, _, line in rows_of(told.root)]
    wanted = [
        secret_text(row["probe_id"], row["repeat"])
        for row in rows
        if row["subject"] == "told" and row["suite"] == "ood@1" and row["outcome"] == "ok"
    ]
    (reference,) = [
        row["text"]
        for row in rows
        if (row["subject"], row["suite"], row["seq"]) == ("teacher", "instructions@1", 0)
    ]
    assert texts == sorted([*wanted, reference])


def test_no_byte_of_the_copy_tells_a_withheld_reply(told, copy_of_told):
    found = files_of(copy_of_told.root)
    replies = [row["text"] for row in withheld_rows(told.root, copy_of_told.root)]
    secrets = [text for text in replies if text.startswith("Zebra")]
    assert len(secrets) > 2
    for text in secrets:
        for form in forms_of(text):
            assert [name for name, content in found.items() if form in content] == []


def test_no_array_of_the_copy_holds_the_token_ids_of_a_withheld_reply(told, copy_of_told):
    rows = [row for row in withheld_rows(told.root, copy_of_told.root) if row["token_ids"]]
    assert rows
    for row in rows:
        listed = json.dumps(row["token_ids"], separators=(",", ":"))[1:-1].encode()
        data = files_of(copy_of_told.root / "data")
        assert [name for name, content in data.items() if listed in content] == []
        held = [path for path in (told.root / "data/arrays").rglob("*.npy") if holds(path, row)]
        assert held
        assert [
            path for path in (copy_of_told.root / "data/arrays").rglob("*.npy") if holds(path, row)
        ] == []


def holds(path, row):
    """Say whether an array has, in a column of token ids, the ids of a reply one after another."""
    array = np.load(path)
    ids = np.array(row["token_ids"])
    if array.dtype.names is None or "token" not in array.dtype.names:
        return False
    runs = np.lib.stride_tricks.sliding_window_view(array["token"], len(ids))
    return bool((runs == ids).all(axis=1).any())


def test_only_the_salt_keeps_a_withheld_line_from_being_guessed(told, copy_of_told):
    everything = b"".join(files_of(copy_of_told.root).values())
    for row in withheld_rows(told.root, copy_of_told.root):
        assert row["salt"].encode() not in everything
        leaf = leaf_hash(canonical_json(row))
        # Who knows the rest of the line and the salt has the line; another salt is another hash.
        assert leaf.encode() in everything
        assert leaf_hash(canonical_json({**row, "salt": "0" * 32})).encode() not in everything


def test_a_withheld_record_keeps_its_place_and_nothing_else(told, copy_of_told):
    case = Case(copy_of_told.root)
    rows = list(iterate_records(case, "told"))
    original = list(iterate_records(Case(told.root), "told"))
    places = [(row["probe_id"], row["repeat"]) for row in rows]
    assert places == [(row["probe_id"], row["repeat"]) for row in original]
    hidden = [row for row in rows if row["outcome"] == "withheld"]
    assert {type(row["text"]) for row in hidden} == {Withheld}
    assert len(hidden) > 1


def test_the_failed_reply_is_listed_as_withheld_and_failed(told, tmp_path):
    copy = redacted(told.root, tmp_path / "copy", "subject:told")
    rows = [json.loads(line) for line in (copy / "data/errors.jsonl").read_bytes().splitlines()]
    original = [
        json.loads(line) for line in (told.root / "data/errors.jsonl").read_bytes().splitlines()
    ]
    assert [{**row, "error": None, "withheld": True} for row in original] == rows
    assert original[0]["error"]
    section = (copy / "data/report-told.md").read_text().partition("## Failed requests")[2]
    assert "(withheld)" in section.partition("\n## ")[0]
    assert original[0]["error"].encode() not in b"".join(files_of(copy / "data/records").values())


def test_arrays_go_with_the_replies_that_they_tell_of(told, tmp_path):
    def gone(*rules):
        copy = redacted(told.root, tmp_path / "-".join(rules).replace("/", "_"), *rules)
        return {name.split("/")[1] for name in redaction(Case(copy))["files"]}

    of_told = gone("subject:told")
    # The vectors of its replies, and what the others find them likely; nothing at the positions
    # of the reference's text.
    assert of_told == {"embeddings", "crossing"}
    kinds = {path.parent.name for path in (told.root / "data/arrays").rglob("*.npy")}
    weights = {"span", "weight_cka", "merge", "rederivation", "neurons", "transcript"}
    # What a model that scores no others finds of its own replies tells of those alone.
    assert gone("subject:independent") == {"embeddings", "crossing", "own", "answers"}
    assert gone("subject:teacher") == kinds - weights - {"own"}


class Words(HTMLParser):
    """The text of a page."""

    def __init__(self, page):
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("suffix", ["html", "md"])
def test_the_report_says_what_is_withheld_and_shows_the_rest(told, copy_of_told, suffix):
    page = (copy_of_told.root / f"data/report-told.{suffix}").read_text()
    text = Words(page).text if suffix == "html" else page
    assert "redacted copy" in text
    stated = set(redaction(Case(copy_of_told.root))["statistics"])
    rows = Case(copy_of_told.root).read_json("statistics.json")["suspects"]["told"]
    resting = [row["id"] for row in rows if row["id"] in stated]
    mark = {"html": "not replayable here: rests on what", "md": "(not replayable here)"}[suffix]
    assert text.count(mark) == len(resting) > 0
    shown = {"html": "(withheld)", "md": "a reply is withheld: nothing is compared"}[suffix]
    assert shown in text
    index = json.loads((copy_of_told.root / "data/evidence.json").read_bytes())
    assert index["parent"] in text
    before = (told.root / f"data/report-told.{suffix}").read_text()
    assert "redacted" not in before
    # The pattern of a rule could hold what it hides.
    assert "Zebra .* of" not in text
    assert "Zebra" in before
