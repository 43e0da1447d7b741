"""No secret gets into a sealed case, and no message shows one."""

import pytest
from seal_world import copy_of

from auditor.bundle.key_like import refuse_key_like
from auditor.bundle.secret_scan import KeyLike, key_like, known_secrets, refuse_secrets
from auditor.case import Case
from auditor.errors import CaseError
from auditor.sealing import seal_case

VALUE = "correct horse & <battery>"


def scanned(folder, content, environment=None, files=(), name="a.json"):
    """Scan one file with some content."""
    case = Case(folder)
    case.data.mkdir(exist_ok=True)
    (case.data / name).write_bytes(content)
    refuse_secrets(case.data, [name], known_secrets(environment or {}, files))
    refuse_key_like(case, [name], set())


@pytest.mark.parametrize(
    "variable", ["OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "db_password", "API_KEYS"]
)
def test_the_value_of_a_variable_named_like_a_key_is_found_and_not_shown(tmp_path, variable):
    with pytest.raises(CaseError, match=rf"a\.json holds the secret \${variable}") as failure:
        scanned(tmp_path, b"..." + VALUE.encode(), {variable: VALUE})
    assert VALUE not in failure.value.message + failure.value.hint


@pytest.mark.parametrize(
    "written",
    [
        r"caf\u00e9 \"x\" & y",  # JSON in ASCII
        'café \\"x\\" & y',  # JSON in UTF-8
        "café &quot;x&quot; &amp; y",  # HTML
        "café &#34;x&#34; &amp; y",  # HTML as Jinja writes it
        "caf%C3%A9%20%22x%22%20%26%20y",  # an address
        "caf%C3%A9+%22x%22+%26+y",
        "636166c3a92022782220262079",
        "Y2Fmw6kgIngiICYgeQ==",  # base64; and of 9, 10 and 11 bytes, the value, and 2 bytes
        "QmFzaWMgdXNlY2Fmw6kgIngiICYgeSB6",
        "QmFzaWMgdXNlcmNhZsOpICJ4IiAmIHkgeg==",
        "QmFzaWMgdXNlcjpjYWbDqSAieCIgJiB5IHo=",
        'café "x" & y',
    ],
)
def test_a_value_is_found_as_other_formats_write_it(tmp_path, written):
    with pytest.raises(CaseError, match=r"\$MY_TOKEN"):
        scanned(tmp_path, f"<p>{written}</p>".encode(), {"MY_TOKEN": 'café "x" & y'})


def test_a_value_across_two_reads_is_found(tmp_path):
    # Files are read in pieces of 1 MiB.
    content = b"a" * ((1 << 20) - 5) + VALUE.encode() + b"a" * 100
    with pytest.raises(CaseError, match=r"a\.npy holds the secret"):
        scanned(tmp_path, content, {"X_KEY": VALUE}, name="a.npy")


def test_other_variables_and_short_values_are_no_secrets(tmp_path):
    environment = {
        "HOME": VALUE,
        "TOKENIZERS_PARALLELISM": VALUE,
        "KEYBOARD": VALUE,
        "A_KEY": "yes",
    }
    scanned(tmp_path, VALUE.encode() + b" yes", environment)
    assert known_secrets(environment) == {}


def test_the_secret_of_a_file_is_found(tmp_path):
    given = tmp_path / "secret.txt"
    given.write_text(VALUE + "\n")
    with pytest.raises(CaseError, match=r"a\.json holds the secret .*secret\.txt"):
        scanned(tmp_path, b"x" + VALUE.encode(), files=[given])
    with pytest.raises(CaseError, match="cannot be read as a secret"):
        known_secrets({}, [tmp_path / "missing"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("-----BEGIN " + "EC PRIVATE KEY-----", "a private key"),
        ("-----BEGIN " + "PRIVATE KEY-----", "a private key"),
        ('"sk-' + "proj-abcd1234efgh5678ijkl" + '"', "an API key"),
        ("hf_" + "a1B2" * 9, "a Hugging Face token"),
        ("ghp_" + "a1B2" * 9, "a GitHub token"),
        (" AKIA" + "ABCDEFGH12345678" + " ", "an AWS key id"),
        ("AIza" + "Sy_-a" * 7, "a Google API key"),
        ("xoxb-" + "123456789012-abc", "a Slack token"),
        ("Authorization: Bearer " + "abc123" * 5, "an authorization header"),
        # Within JSON, at the start of a line.
        ("the key:\\nsk-" + "proj-abcd1234efgh5678ijkl", "an API key"),
        ("the key:\\u2028hf_" + "a1B2" * 9, "a Hugging Face token"),
    ],
)
def test_known_shapes_of_keys_are_found(tmp_path, text, what):
    with pytest.raises(CaseError, match=f"looks like {what}"):
        scanned(tmp_path, b"before " + text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "a task-oriented-dialogue-corpus-of-2023 and a risk-adjusted-return-over-12-months",
        "sk-toggleable-content-arrow-wide",
        "the bearer of this letter may pass, Bearer of bad news and nothing else at all",
        "-----BEGIN PUBLIC KEY-----",
        "sha256:" + "0123456789abcdef" * 4,
    ],
)
def test_ordinary_text_has_no_shape_of_a_key(tmp_path, text):
    scanned(tmp_path, text.encode())
    assert (tmp_path / "data/a.json").read_bytes() == text.encode()


@pytest.mark.parametrize("before", range(-80, 3, 7))
def test_a_shape_across_two_reads_is_found_whole(tmp_path, before):
    # Files are read in pieces of 1 MiB.
    key = b"sk-" + b"a1B2" * 12
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"a " * ((1 << 19) - 50) + b"\n" * (100 + before) + key + b" " + b"a " * 2000)
    assert key_like(path) == [KeyLike("an API key (sk-...)", key)]


def test_a_word_across_two_reads_has_no_shape_of_a_key(tmp_path):
    path = tmp_path / "a.jsonl"
    word = b"ta" + b"sk-oriented-dialogue-corpus-of-2023"
    for overlap in (1024, 1023, 1026):
        path.write_bytes(b" " * ((1 << 20) - overlap - 2) + word + b" " * 3000)
        assert key_like(path) == []


def test_a_case_with_a_secret_is_not_sealed(finished, tmp_path, monkeypatch):
    draft = copy_of(finished, tmp_path / "case")
    monkeypatch.setenv("SOME_API_KEY", "tiny:independent")  # stands in every case of this model
    with pytest.raises(CaseError, match="holds the secret"):
        seal_case(draft)
    monkeypatch.setenv("SOME_API_KEY", "q7-nowhere-in-it")
    assert [path.name for path in tmp_path.iterdir()] == ["case"]
    assert seal_case(draft).root.is_dir()
