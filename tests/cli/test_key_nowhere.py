"""The key of a server stands in no file and no output, whatever the server does with it."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from command_line import auditor

KEY = 'Zq7+/Tr0ub4dor&<3>"x"=\\horse'
DECOY = "sk-" + "decoy-1234567890abcdef"
QUICK = ("--probes", "3", "--max-new-tokens", "3", "--suite", "instructions")


def forms(key):
    """Return how a key could be written, by other means than the program's own."""
    raw = key.encode()
    texts = [key, json.dumps(key)[1:-1], html.escape(key), quote(key), quote(key, ""), raw.hex()]
    texts += [quote_plus(key), html.escape(html.escape(key))]
    coded = [base64.b64encode(before + raw).decode() for before in (b"", b"Bearer ", b"user:")]
    # The last letters depend on what follows.
    return {text.encode() for text in texts} | {one.rstrip("=")[-24:-2].encode() for one in coded}


def faulty(server, key):
    """Have the server want a key, echo it, and fail once with it in the answer."""
    said = [key, f"Bearer {key}", base64.b64encode(f"user:{key}".encode()).decode(), quote(key)]
    body = json.dumps({"error": {"message": "x" * 280 + " ".join(said), "param": said}})
    headers = {"x-request-id": f"{key} {quote(key)}", "retry-after": "0"}
    server.control({"status": 500, "raw": body, "headers": headers}, key=key, echo=True)


def assert_nowhere(outputs, folder, but=()):
    """Find no form of the keys in the outputs of commands and in the files of a folder."""
    wanted = forms(KEY) | {DECOY.encode()}
    texts = {f"output {n}": (d.out + d.err).encode() for n, d in enumerate(outputs)}
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    assert len(files) > 10
    texts |= {str(path): path.read_bytes() for path in files}
    assert [(n, form) for n, text in texts.items() for form in wanted if form in text] == []


def commands(folder, spec):
    """Yield the outputs of everything that can be done with a case, errors too."""
    case, sealed, keys = folder / "case", folder / "case.evidence", folder / "keys"
    yield auditor("compare", spec, "tiny:teacher", *QUICK, "--out", case, "--json")
    for form in ("html", "md", "json", "junit", "sarif"):
        yield auditor("report", case, "--format", form)
    yield auditor("keys", "new", "--out", keys)
    yield auditor("seal", case, "--key", keys / "auditor.key.pem", "--json")
    yield auditor("verify", sealed, "--key", keys / "auditor.pub.pem", "--replay", "--json")
    yield auditor("sign", sealed, "--key", keys / "auditor.key.pem", "--role", "reviewer")
    for rule in ("902-13", "902-14", "702", "frcp-26"):
        yield auditor("certify", sealed, "--rule", rule, "--out", folder / f"{rule}.md")
    yield auditor("export", sealed, "--to", "cyclonedx", "--out", folder / "bill.json")
    yield auditor("export", sealed, "--to", "ro-crate", "--out", folder / "crate")
    yield auditor("diff", case, sealed, "--json")
    yield auditor("reproduce", sealed, "--sample", "2", "--json")


@pytest.mark.parametrize("where", ["key_env", "key_file", "default"])
def test_a_key_that_the_server_echoes_stands_in_no_file_and_no_output(
    server, tmp_path, monkeypatch, where
):
    file = tmp_path / "lab.txt"
    file.write_text(KEY + "\n")
    # A variable whose name does not say that it holds a key; the plan says it.
    monkeypatch.setenv("LAB_ACCESS", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY if where == "default" else DECOY)
    options = {"key_env": "LAB_ACCESS", "key_file": file, "default": None}[where]
    spec = server.spec(**({} if options is None else {where: options}))
    faulty(server, KEY)
    done = list(commands(tmp_path, spec))
    # compare .. certify are done; reproduce differs or not, as the server likes.
    assert [one.code for one in done[:-1]] == [0] * (len(done) - 1), [one.err for one in done]
    assert done[-1].code in (0, 5)
    received = server.received()
    assert {one["authorization"] for one in received} == {f"Bearer {KEY}"}
    (record, *_) = (tmp_path / "case/data").glob("records/tiny-model/*.jsonl")
    assert "Bearer [key]" in json.loads(record.read_bytes().splitlines()[0])["text"]
    assert_nowhere(done, tmp_path, but=(file,))


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_a_refusal_that_quotes_the_key_is_shown_without_it(server, tmp_path, monkeypatch, how):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.control(key="another", echo=True)
    words = ("compare", server.spec(), "tiny:teacher", *QUICK, "--out", tmp_path / "case")
    done = auditor(*words, *how)
    assert done.code == 2
    assert "[key]" in done.out + done.err
    assert_nowhere([done], tmp_path)


def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "se\u00e9cret\nkey")
    spec = "openai:m?base_url=http://127.0.0.1:1/v1"
    done = auditor("compare", spec, "tiny:teacher", *QUICK, "--out", tmp_path / "case", "--json")
    assert done.code == 2
    assert "OPENAI_API_KEY holds a letter that no key has" in done.json["error"]["message"]
    assert "cret" not in done.out.replace("secret", "") + done.err


def test_a_key_in_a_records_file_is_refused_at_the_seal(tmp_path, monkeypatch):
    spec = f"records:{tmp_path / 'r.jsonl'}"
    ids = auditor("probes", "show", "instructions", "--json").out
    names = [probe["id"] for probe in json.loads(ids)["items"]]
    rows = [{"probe_id": name, "text": f"my key is {quote(KEY)}"} for name in names]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    case = tmp_path / "case"
    assert auditor("compare", spec, "tiny:teacher", *QUICK, "--out", case).code == 0
    monkeypatch.setenv("LAB_KEY", KEY)
    done = auditor("seal", case, "--accept-key-like", "r/instructions@1#0", "--json")
    assert done.code == 2
    assert not (tmp_path / "case.evidence").exists()
    monkeypatch.delenv("LAB_KEY")
    assert auditor("seal", case).code == 0
