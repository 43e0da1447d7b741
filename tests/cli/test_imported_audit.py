"""A whole audit of what another tool recorded: from its file to a sealed case, and back."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import auditor

from auditor.collect.suite import load_suite
from auditor.models import open_model
from auditor.models.recorded import open_recorded
from auditor.models.specifier import parse
from auditor.types import Decoding

CONTROLS = ("tiny:independent", *(f"tiny:zoo/same-data-0{n}" for n in (0, 1, 2)))
SETTINGS = ("--repeats", "2", "--max-new-tokens", "24", "--temperature", "0.9")
PROBES = 12
SAMPLES = Path(__file__).parents[1] / "models" / "import_samples"


@pytest.fixture(scope="module")
def batch(tmp_path_factory) -> str:
    """The specifier of a batch whose replies are really those of tiny:teacher, under seed 5."""
    folder = tmp_path_factory.mktemp("batch")
    probes = load_suite("continuations").probes[:PROBES]
    model = open_model("tiny:teacher", device="cpu")
    decoding = Decoding(temperature=0.9, max_new_tokens=24)
    replies = list(model.sample(probes, 2, decoding, 5))
    requests, lines = [], []
    for number, probe in enumerate(probes):
        body = {"model": "m", "prompt": probe.text, "temperature": 0.9, "max_tokens": 24, "n": 2}
        requests.append({"custom_id": f"r-{number}", "url": "/v1/completions", "body": body})
        choices = [
            {"index": r.repeat, "text": r.text, "finish_reason": r.finish_reason, "logprobs": None}
            for r in replies
            if r.probe_id == probe.id
        ]
        answer = {"status_code": 200, "body": {"model": "m-1", "choices": choices}}
        lines.append({"custom_id": f"r-{number}", "response": answer, "error": None})
    for name, rows in (("in.jsonl", requests), ("out.jsonl", lines[::-1])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"records:{folder / 'out.jsonl'}?prompts={folder / 'in.jsonl'}"


@pytest.fixture(scope="module")
def suite(batch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("suites") / "asked"
    done = auditor("probes", "import", batch, "--out", folder, "--name", "asked", "--json")
    assert done.code == 0, done.err
    assert (done.json["name"], done.json["probes"], done.json["left_out"]) == ("asked", PROBES, 0)
    return folder


@pytest.fixture(scope="module")
def case(batch, suite, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cases") / "case"
    words = [word for control in CONTROLS for word in ("--control", control)]
    done = auditor("compare", batch, "tiny:teacher", "--suite", suite, *words, *SETTINGS,
                   "--out", out, "--json")  # fmt: skip
    assert done.code == 0, done.err
    return out


def result(case):
    return json.loads((case / "data" / "result.json").read_text())


def test_the_suspect_is_a_subject_at_text_access_and_its_origin_is_in_the_case(case, batch):
    suspect = result(case)["suspect"]
    assert (suspect["access"], suspect["spec"]) == ("TEXT", batch)
    subjects = json.loads((case / "data" / "subjects.json").read_text())["subjects"]
    recorded = next(one["recorded"] for one in subjects if "recorded" in one)
    assert recorded["format"] == "openai-batch"
    assert recorded["answered"] == PROBES
    assert recorded["decodings"] == [{"max_new_tokens": 24, "temperature": 0.9}]


def test_its_own_words_point_at_the_model_that_said_them(case):
    found = {row["measure"].partition("@")[0]: row for row in result(case)["measurements"]}
    likely = found["sample-llr"]
    assert likely["undefined"] is None
    assert likely["value"] > max(likely["control_values"])
    # What text cannot show is undefined, with the reason.
    assert "TEXT access only" in found["neuron-matching"]["undefined"]
    assert "TEXT access only" in found["logit-kl-forward"]["undefined"]


def test_the_report_states_what_the_file_lacks(case):
    report = (case / "data" / "report.md").read_text().replace("\\", "")
    for limit in (
        "output of OpenAI's Batch API (recognised by content)",
        "The file names one model, unchecked: m-1.",
        f"It holds {2 * PROBES} replies to {PROBES} prompts, 2 to each.",
        "as the file has them: max_new_tokens 24, temperature 0.9.",
        "Its chat template and system prompt beyond the recorded prompts are unknown.",
        "When the replies were given was not recorded.",
        f"It gives all 2 planned replies to {PROBES} of the {PROBES} planned probes",
    ):
        assert limit in report


def test_the_case_is_sealed_verified_and_recomputed(case, tmp_path):
    assert auditor("seal", case, "--out", tmp_path / "sealed").code == 0
    done = auditor("verify", tmp_path / "sealed", "--replay", "--json")
    checks = {check["id"]: check["outcome"] for check in done.json["checks"]}
    assert set(checks.values()) == {"pass", "skipped"}
    assert checks["V02"] == checks["V12"] == "pass"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_exported_replies_come_back_identically(case, suite, form, tmp_path):
    first = tmp_path / f"replies.{form}"
    assert auditor("export", case, "--to", form, "--out", first).code == 0
    again = auditor(
        *("compare", first, "tiny:teacher", "--suite", suite, *SETTINGS, "--access", "text"),
        *("--out", tmp_path / "again", "--json"),
    )
    assert again.code == 0, again.err
    second = tmp_path / f"second.{form}"
    assert auditor("export", tmp_path / "again", "--to", form, "--out", second).code == 0
    assert rows_of(second) == rows_of(first)
    assert len(rows_of(first)) == 2 * PROBES


def test_recorded_log_probabilities_are_kept_and_given_back(tmp_path):
    spec = f"records:{SAMPLES / 'inspect.json'}"
    assert auditor("probes", "import", spec, "--out", tmp_path / "asked").code == 0
    done = auditor("compare", spec, "tiny:teacher", "--suite", tmp_path / "asked", "--out",
                   tmp_path / "case", "--max-new-tokens", "4", "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["suspect"]["access"] == "TOPK"
    assert auditor("export", tmp_path / "case", "--to", "parquet", "--out", tmp_path / "r.parquet"
                   ).code == 0  # fmt: skip
    (row,) = pq.read_table(tmp_path / "r.parquet").to_pylist()
    (token,) = json.loads(row["logprobs"])
    assert (token["token"], token["logprob"], len(token["top_logprobs"])) == ("Four.", -0.25, 2)
    (reply,) = open_recorded(parse(f"records:{tmp_path / 'r.parquet'}")).replies()
    (original,) = open_recorded(parse(spec)).replies()
    assert reply.logprobs == original.logprobs
    assert (reply.model, reply.decoding, reply.time) == (
        original.model, original.decoding, original.time)  # fmt: skip


def test_inspecting_a_file_says_which_format_was_recognised():
    spec = f"records:{SAMPLES / 'lm-eval.jsonl'}"
    assert auditor("models", "inspect", spec, "--json").json["recorded"]["format"] == "lm-eval"
    said = auditor("models", "inspect", spec).out
    assert "samples of the lm-evaluation-harness (recognised by content)" in said


def rows_of(path):
    if path.suffix == ".jsonl":
        return path.read_bytes().splitlines()
    return pq.read_table(path).to_pylist()


def test_any_subject_can_be_exported(case):
    done = auditor("export", case, "--to", "jsonl", "--subject", "teacher")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == 2 * PROBES
    assert rows[0]["model"] == "tiny:teacher"
    assert rows[0]["decoding"] == {
        "max_new_tokens": 24, "temperature": 0.9, "top_k": 0, "top_p": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "jsonl", "--subject", "nobody"), "no subject 'nobody'"),
        (("--to", "parquet"), "parquet is not text"),
        (("--to", "cyclonedx", "--subject", "teacher"), "--subject goes with jsonl and parquet"),
    ],
)
def test_exports_that_cannot_be_are_refused(case, words, said):
    done = auditor("export", case, *words)
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("place", ["replies/x", "/proc/x.parquet", "n" * 300])
def test_exports_to_no_place_are_refused_with_the_remedy(case, tmp_path, form, place):
    (tmp_path / "replies").write_text("kept")
    done = auditor("export", case, "--to", form, "--out", tmp_path / place)
    assert done.code == 2, done.err
    assert "another place" in done.err
    assert (tmp_path / "replies").read_text() == "kept"


def test_a_file_is_no_case_to_export(tmp_path):
    (tmp_path / "replies").write_text("x")
    done = auditor("export", tmp_path / "replies", "--to", "jsonl", "--json")
    assert done.code == 2
    assert "is a file, not the folder of a case" in done.json["error"]["message"]


def test_recorded_outputs_that_answer_no_probe_are_refused_with_the_remedy(batch, tmp_path):
    done = auditor("compare", batch, "tiny:teacher", "--suite", "reasoning", "--out",
                   tmp_path / "case", "--json")  # fmt: skip
    assert done.code == 2
    error = done.json["error"]
    assert error["type"] == "RecordsError"
    assert "answers none of the 96 planned probes" in error["message"]
    assert "auditor probes import" in error["hint"]
    assert "--suite DIR" in error["hint"]
    assert not (tmp_path / "case").exists()
