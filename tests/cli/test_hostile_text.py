"""Hostile text of models, files, servers and users: shown, and without any effect.

One real case whose suspect is a file of recorded replies; the real commands print it in every way
they have.
"""

import importlib.util
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from command_line import auditor
from hostile_world import (
    BIDI,
    CSI,
    OSC,
    REPLIES,
    audited,
    hostile_folder,
    refusing_server,
    write_suite,
)
from markdown_it import MarkdownIt

OBEYED = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def assert_inert(text: str) -> None:
    """Fail on a character that a terminal obeys or does not show."""
    found = {char for char in set(text) - set("\n\t") if unicodedata.category(char) in OBEYED}
    assert not found, sorted(map(hex, map(ord, found)))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return the folder of an audited and sealed case, with what the first command printed."""
    folder = hostile_folder(tmp_path_factory.mktemp("hostile"))
    done = audited(folder)
    assert done.code == 0, done.err
    sealed = auditor("seal", folder / "case", "--out", folder / "sealed")
    assert sealed.code == 0, sealed.err
    return folder, done, sealed


def test_what_compare_and_seal_print_is_inert(world):
    _, compared, sealed = world
    for done in (compared, sealed):
        assert_inert(done.out + done.err)
    # The name of the folder is there, its characters by code point.
    assert "=ev⟦U+202E⟧il⟦U+001B⟧[31m <b>" in compared.out


COMMANDS = {
    "report": ["report", "{case}"],
    "report md": ["report", "{case}", "--format", "md"],
    "report json": ["report", "{case}", "--format", "json"],
    "report junit": ["report", "{case}", "--format", "junit"],
    "report sarif": ["report", "{case}", "--format", "sarif"],
    "profile": ["report", "{case}", "--profile", "eu-gpai", "--out", "{folder}/eu\x1b[1m.html"],
    "verify": ["verify", "{sealed}"],
    "verify json": ["verify", "{sealed}", "--json"],
    "diff": ["diff", "{case}", "{sealed}"],
    "diff json": ["diff", "{case}", "{sealed}", "--json"],
    "reproduce": ["reproduce", "{sealed}", "--sample", "4"],
    "certify": ["certify", "{sealed}", "--rule", "702"],
    "export": ["export", "{sealed}", "--to", "cyclonedx"],
    "inspect": ["models", "inspect", "records:{records}"],
    "inspect json": ["models", "inspect", "records:{records}", "--json"],
    "probes show": ["probes", "show", "{suite}"],
    "probes show json": ["probes", "show", "{suite}", "--json"],
    "probes lint": ["probes", "lint", "{suite}"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_command_on_the_case_prints_nothing_that_is_obeyed(world, name):
    folder = world[0]
    places = {
        "folder": folder, "case": folder / "case", "sealed": folder / "sealed",
        "suite": folder / "own.jsonl", "records": folder / "s\x1b]0;owned\x07.jsonl",
    }  # fmt: skip
    done = auditor(*(word.format(**places) for word in COMMANDS[name]))
    assert "Traceback" not in done.err
    assert done.out
    assert_inert(done.out + done.err)


def test_json_keeps_the_value_of_what_it_escapes(world):
    folder = world[0]
    done = auditor("probes", "show", folder / "own.jsonl", "--json")
    shown = {item["id"]: item["messages"][0]["content"] for item in done.json["items"]}
    assert shown["p-osc"] == f"Say osc: {OSC} <script>alert(3)</script> {BIDI}"


WRONG = {
    "no such folder": ["report", f"no{CSI}{BIDI}"],
    "no such model": ["models", "inspect", f"local:no{OSC}"],
    "no such records": ["compare", f"records:no{BIDI}.jsonl", "tiny:teacher"],
    "no such suite": ["probes", "show", f"no{CSI}"],
    "no such command": [f"x{OSC}"],
    "no such option": ["compare", f"--x{CSI}"],
    "no such choice": ["report", ".", "--format", f"x{OSC}"],
    "no such run": ["lineage", "show", f"no{BIDI}"],
    "no such plan": ["audit", f"no{CSI}.yaml"],
    "no such key": ["verify", ".", "--key", f"no{OSC}"],
    "no such exercise": ["exercise", "open", f"no{CSI}", "--key", f"k{OSC}", "--answers", "a"],
    "bytes that are no text": ["report", "no\udc9b\udcff"],
}


@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
@pytest.mark.parametrize("name", WRONG)
def test_error_prints_nothing_that_is_obeyed(name, as_json, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = auditor(*WRONG[name], *(["--json"] if as_json else []))
    assert done.code in (2, 5)
    assert "Traceback" not in done.err
    assert_inert(done.out + done.err)
    (done.out + done.err).encode()


def test_files_with_hostile_content_are_refused_in_inert_words(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(json.dumps({"schema": "auditor/audit-plan/1", f"key{CSI}{BIDI}": f"{OSC}"}))
    records = tmp_path / "broken.jsonl"
    records.write_bytes(b'{"probe_id": "p", "text": "a\xff\x9b31m"}\n')
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps({"probe_id": "p", "text": "x", "repeat": CSI}) + "\n")
    for words in (
        ["audit", plan],
        ["models", "inspect", f"records:{records}"],
        ["models", "inspect", f"records:{wrong}"],
    ):
        done = auditor(*words)
        assert done.code == 2, done.err
        assert_inert(done.out + done.err)


@pytest.mark.parametrize("as_json", [False, True], ids=["people", "json"])
def test_words_of_a_server_are_inert(tmp_path, as_json):
    suite = write_suite(tmp_path / "own.jsonl")
    with refusing_server(f"no: {CSI}{OSC}{BIDI} \ud800 <script>") as base_url:
        done = auditor(
            "compare", f"openai:m?base_url={base_url}", "tiny:teacher", "--suite", suite,
            "--out", tmp_path / "case", *(["--json"] if as_json else []),
        )  # fmt: skip
    assert done.code == 2, done.err
    said = done.json["error"]["message"] if as_json else done.err
    assert "answered 401: no: " in said
    assert_inert(done.out + done.err)


def test_words_of_a_server_that_refuses_some_requests_are_kept_and_shown(tmp_path):
    suite = write_suite(tmp_path / "own.jsonl")
    with refusing_server(f"no: {CSI}{BIDI} \ud800 <script>", status=400) as base_url:
        done = auditor(
            "compare", f"openai:m?base_url={base_url}", "tiny:teacher", "--suite", suite,
            "--out", tmp_path / "case", "--max-new-tokens", "4",
        )  # fmt: skip
    assert done.code == 0, done.err
    assert_inert(done.out + done.err)
    data = tmp_path / "case" / "data"
    kept = [json.loads(line)["error"] for line in (data / "errors.jsonl").read_bytes().splitlines()]
    # Half of a surrogate pair has no UTF-8; the rest is as the server wrote it.
    assert len(kept) == len(REPLIES)
    assert all(f"{CSI}{BIDI} \ufffd <script>" in error for error in kept)
    for name in ("report.html", "report.md"):
        page = (data / name).read_text()
        assert_inert(page)
        assert "<script" not in page
        assert f"{len(REPLIES)} requests of the case failed." in page
        assert "no: ⟦U+001B⟧" in page.replace("\\", "")


def test_a_real_process_prints_no_control_byte(world):
    command = [sys.executable, "-m", "auditor", "report", f"{world[0]}/no{CSI}{BIDI}"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert_inert((done.stdout + done.stderr).decode())


def test_markdown_report_holds_nothing_but_our_own_markup(world):
    text = (world[0] / "case" / "data" / "report.md").read_text()
    assert_inert(text)
    assert "<script" not in text.lower()
    assert "javascript:" not in text.lower()
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    every = [*tokens, *(child for token in tokens for child in token.children or [])]
    kinds = {token.type for token in every}
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "blockquote_open"})
    headings = [
        tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"
    ]
    assert "no heading" not in headings
    assert len(headings) > 15


def test_a_case_with_hostile_replies_is_not_invalid_for_them(world):
    # Else a suspect could make every audit of itself fail by what it says.
    found = auditor("verify", world[0] / "sealed", "--json").json
    assert {c["id"]: c["details"] for c in found["checks"] if c["outcome"] == "fail"} == {}


def test_html_report_holds_no_element_of_the_model(world):
    text = (world[0] / "case" / "data" / "report.html").read_text()
    assert_inert(text)
    assert "<script" not in text.lower()
    assert "onerror=alert" not in text.replace("onerror=alert(2)&gt;", "")


def test_html_report_does_nothing_in_a_browser(world, tmp_path):
    # The driver lies with the tests of the reports.
    place = Path(__file__).parent.parent / "report" / "chromium.py"
    loader = importlib.util.spec_from_file_location("report_chromium", place)
    chromium = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(chromium)
    if chromium.PROGRAM is None:
        pytest.skip("chromium is not installed")
    page = world[0] / "case" / "data" / "report.html"
    with chromium.Browser(tmp_path / "profile") as browser:
        for width in (390, 1280):
            browser.open(page, width=width)
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.value(wide) == 0
            assert browser.messages == []
        assert len(set(browser.requests)) == 1


def test_records_stay_one_json_object_a_line(world):
    data = world[0] / "case" / "data"
    files = sorted(data.rglob("*.jsonl"))
    assert len(files) > 4
    for path in files:
        raw = path.read_bytes()
        # Control characters stand as JSON escapes; other than newlines none is in the file.
        assert not {byte for byte in set(raw) if byte < 0x20} - {0x0A}, path.name
        for line in raw.split(b"\n")[:-1]:
            json.loads(line)
    # Nothing is written as a table that a spreadsheet would run.
    assert not [p for p in data.rglob("*") if p.suffix in (".csv", ".tsv")]
