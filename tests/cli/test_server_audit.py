"""A suspect behind a server from the command line to the sealed case, and what it costs."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from command_line import TINY, auditor, failure

sys.path.insert(0, str(Path(__file__).parent.parent / "bundle"))

from server_process import model_server
from verify_world import edit_json, failed, rechained, resealed, rows_of

from auditor.canon import file_digest

PRICES = "schema: auditor/prices/1\ncurrency: EUR\nmodels:\n  {}: {{input: 2, output: 4}}\n"
SHORT = ("--suite", "reasoning", "--suite", "continuations", "--probes", 6, "--max-new-tokens", 8)
SECRET = "sk-0123456789abcdef-of-the-server"  # noqa: S105


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with model_server(TINY / "teacher", tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def mute(server):
    server.control(mute=True)  # scores no given text


def compared(proxy, out, *words, **options):
    return auditor(
        *("compare", proxy.spec(**options), "tiny:teacher", "--control", "tiny:independent"),
        *("--control", "tiny:sibling=sibling", "--repeats", 2, *SHORT, "--out", out, "--json"),
        *words,
    )


@pytest.fixture(scope="module")
def finished(proxied, served, tmp_path_factory):
    """A finished case that met a refusal, a change of the fingerprint and a key."""
    served.control(key=SECRET)
    fault = {"kind": "status", "status": 429, "headers": {"retry-after": "0.1"}}
    proxied.control(None, None, fault, fingerprint="fp_second", after=5)
    out = tmp_path_factory.mktemp("case") / "case"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        done = compared(proxied, out, concurrency=1)  # in order: the change comes once
    assert done.code == 0, done.err
    return out, done.json


@pytest.fixture(scope="module")
def sealed(finished, tmp_path_factory):
    target = tmp_path_factory.mktemp("sealed") / "case.evidence"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        done = auditor("seal", finished[0], "--out", target)
    assert done.code == 0, done.err
    return target


def test_the_result_states_the_access_and_what_the_server_changed(finished):
    _, result = finished
    assert result["suspect"]["access"] == "TOPK"
    assert result["suspect"]["digest"] is None
    limits = " ".join(result["conclusion"]["limits"])
    assert "changed the system fingerprint 1 times while it was asked (fp_first, then" in limits
    assert "answered 429: 1" in limits


def test_the_report_shows_the_limits_of_the_server(finished):
    page = (finished[0] / "data" / "report.html").read_text(encoding="utf-8")
    assert "the server changed the system fingerprint" in page


def test_no_file_holds_the_key(finished, sealed):
    kept = [path for root in (finished[0], sealed) for path in root.rglob("*") if path.is_file()]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_the_sealed_case_is_verified_and_recomputed_without_the_server(sealed):
    done = auditor("verify", sealed, "--replay", "--min-level", "L1", "--json")
    assert done.code == 0, done.out
    checks = {check["id"]: check["outcome"] for check in done.json["checks"]}
    assert (checks["V08"], checks["V12"], checks["V14"]) == ("pass", "pass", "pass")
    files = json.loads((sealed / "data" / "evidence.json").read_bytes())["files"]
    assert files["exchanges/tiny-model.jsonl"]["role"] == "exchanges"


def _without_attempt(root: Path) -> None:
    path = root / "data" / "errors.jsonl"
    lines = [line for line in path.read_bytes().splitlines(True) if b'"exchange"' not in line]
    path.write_bytes(b"".join(lines))


def _without_exchange(root: Path) -> None:
    path = root / "data" / "exchanges" / "tiny-model.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(True)[:-1]))


def _exchange_added(root: Path) -> None:
    (root / "data" / "exchanges" / "nobody.jsonl").write_bytes(b"")


def _limit_removed(root: Path) -> None:
    path = root / "data" / "conclusion.json"
    content = json.loads(path.read_bytes())
    (suspect,) = content["suspects"].values()
    suspect["limits"] = [text for text in suspect["limits"] if "fingerprint" not in text]
    path.write_bytes(json.dumps(content, indent=2, sort_keys=True).encode() + b"\n")


def _server_renamed(root: Path) -> None:
    edit_json(root, "subjects.json", lambda c: c["subjects"][1]["server"].update(limits=[]))


def _reply_of_no_exchange(root: Path) -> None:
    (path, *_) = sorted((root / "data/records/tiny-model").glob("*.jsonl"))
    first, *others = rows_of(path)
    call = {**first["exchange"], "request_digest": "sha256:" + "0" * 64}
    path.write_bytes(rechained([{**first, "exchange": call}, *others]))
    name = path.relative_to(root / "data").as_posix()
    digest = file_digest(path)
    edit_json(root, "collected/tiny-model.json", lambda c: c["digests"].update({name: digest}))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (_server_renamed, "V08"),
        (_reply_of_no_exchange, "V08"),
        (_without_attempt, "V08"),
        (_without_exchange, "V08"),
        (_exchange_added, "V08"),
        (_limit_removed, "V11"),
    ],
)
def test_an_exchange_that_is_hidden_is_found(sealed, tmp_path, change, check):
    copy = Path(shutil.copytree(sealed, tmp_path / "copy"))
    change(copy)
    resealed(copy)
    assert check in failed(copy)


def test_a_budget_ends_with_its_own_code_and_the_case_goes_on(proxy, tmp_path):
    done = compared(proxy, tmp_path / "case", "--max-requests", 6)
    assert done.code == 7
    assert done.json["error"]["type"] == "BudgetError"
    assert "repeat the command with a larger limit" in done.json["error"]["hint"]
    assert len(proxy.received()) == 6
    assert compared(proxy, tmp_path / "case").code == 0
    # 12 replies, and the access: of chats, of text, of given text in two forms.
    assert len(proxy.received()) == len(set(proxy.answered())) == 16


def test_a_forecast_asks_nobody_and_writes_nothing(proxy, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES.format("tiny-model"))
    done = compared(proxy, tmp_path / "case", "--dry-run", "--prices", prices)
    assert (done.code, proxy.received()) == (0, [])
    assert not (tmp_path / "case").exists()
    rows = {row["name"]: row for row in done.json["subjects"]}
    asked = rows["tiny-model"]
    # 6 probes x 2 repeats, 6 texts to score, and for the access at most 3 calls for each of 2
    # kinds and 4 for given text. 8 tokens come back with a reply, 1 with a text,
    # at most 4 with a call for the access.
    assert asked["requests"] == 12 + 6 + 10
    assert asked["completion_tokens"] == 12 * 8 + 6 + 10 * 4
    # 2 and 4 EUR for a million tokens
    cost = (2 * asked["prompt_tokens"] + 4 * asked["completion_tokens"]) / 1e6
    assert asked["cost"] == pytest.approx(cost)
    assert asked["seconds"] == pytest.approx(28 * 2.0 / 8)
    assert {rows[name]["requests"] for name in rows if name != "tiny-model"} == {0}
    assert done.json["total"]["requests"] == 28


def test_a_forecast_of_a_stopped_case_is_of_what_is_left(proxy, tmp_path):
    compared(proxy, tmp_path / "case", "--max-requests", 8)
    done = compared(proxy, tmp_path / "case", "--dry-run")
    (asked,) = [row for row in done.json["subjects"] if row["requests"]]
    # 8 calls, 4 of them for the access: 4 replies of 12 are there, and no text of 6.
    assert (asked["requests"], asked["time"]) == (8 + 6, "measured")
    assert done.json["spent"]["requests"] == 8


def test_prices_that_lack_the_model_are_refused_before_anything_is_asked(proxy, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES.format("another"))
    words = ("--prices", prices, "--max-cost", 1)
    error = failure(compared(proxy, tmp_path / "case", *words))
    assert "no price of the model 'tiny-model'" in error["message"]
    error = failure(compared(proxy, tmp_path / "case", "--max-cost", 1))
    assert "--prices" in error["hint"]
    prices.write_text(PRICES.format("tiny-model"))
    for cost in ("nan", "inf"):
        words = ("--prices", prices, "--max-cost", cost, "--dry-run")
        error = failure(compared(proxy, tmp_path / "case", *words))
        assert f"--max-cost {cost} is no cost" in error["message"]
    assert proxy.received() == []
    assert not (tmp_path / "case").exists()


def test_a_redacted_copy_holds_no_answer_of_the_server(sealed, tmp_path):
    copy = tmp_path / "copy"
    rows = rows_of(sealed / "data/records/tiny-model/reasoning@1.jsonl")
    place = f"record:tiny-model/reasoning@1#{rows[0]['seq']}"
    done = auditor("redact", sealed, "--drop", place, "--out", copy)
    assert done.code == 0, done.err
    assert not (copy / "data" / "exchanges" / "tiny-model.jsonl").exists()
    digest = json.dumps(rows[0]["exchange"]["request_digest"])
    kept = [path for path in copy.rglob("*") if path.is_file()]
    assert not [path for path in kept if digest.encode() in path.read_bytes()]
    assert failed(copy) == set()
