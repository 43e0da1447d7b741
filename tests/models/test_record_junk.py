"""Whatever stands at any place of a file of recorded outputs: it is read, or refused in words."""

import json
from pathlib import Path

import pytest

from auditor.canon import canonical_json
from auditor.errors import AuditorError
from auditor.models import open_model
from auditor.models.records.reply import reply_as_json

SAMPLES = Path(__file__).parent / "import_samples"
JUNK = (None, 7, -1, 2**70, 1e400, True, "", "x", "\ud800", [], [[]], [7], {}, {"a": 1}, [{}])
UNREAD = {"events", "scores", "store", "metrics", "doc", "events_data", "usage", "results", "stats"}
NATIVE = {
    "probe_id": "a",
    "messages": [{"role": "user", "content": "hi"}],
    "text": "x",
    "logprobs": [{"token": "x", "bytes": [120], "logprob": -1.0, "top_logprobs": []}],
    "decoding": {"temperature": 1},
    "time": "t",
    "outcome": "ok",
}


def first_line(name):
    return json.loads((SAMPLES / name).read_text().splitlines()[0])


def json_log():
    """Return the part of a real log that is read: the rest would only cost time."""
    log = json.loads((SAMPLES / "inspect.json").read_text())
    (sample,) = log["samples"]
    kept = ("id", "epoch", "messages", "output", "completed_at", "attachments")
    about = {key: log["eval"][key] for key in ("model", "packages", "model_generate_config")}
    (choice,) = sample["output"]["choices"]
    return {
        "version": log["version"],
        "status": log["status"],
        "eval": about,
        "plan": {"config": log["plan"]["config"]},
        "samples": [{key: sample[key] for key in kept} | {"output": {"choices": [choice]}}],
    }


BATCH = SAMPLES / "batch-output.jsonl"
CASES = {
    "records": (NATIVE, "records:{file}?format=records"),
    "failed": ({**NATIVE, "outcome": "error", "error": "e"}, "records:{file}?format=records"),
    "lm-eval": (first_line("lm-eval.jsonl"), "records:{file}?format=lm-eval"),
    "chat": (first_line("lm-eval-chat.jsonl"), "records:{file}?format=lm-eval"),
    "output": (first_line("batch-output.jsonl"), "records:{file}?format=openai-batch"),
    "input": (first_line("batch-input.jsonl"), f"records:{BATCH}?prompts={{file}}"),
    "inspect": (json_log(), "records:{file}?format=inspect"),
    "recognised": (NATIVE, "records:{file}"),
}


def ways(value, before=()):
    """Yield the way to every value inside a JSON value, and to itself."""
    yield before
    inside = []
    if isinstance(value, dict):
        inside = value.items()
    elif isinstance(value, list):
        inside = enumerate(value)
    for key, inner in inside:
        if key not in UNREAD:
            yield from ways(inner, (*before, key))


def replaced(value, way, junk):
    if not way:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[way[0]] = replaced(value[way[0]], way[1:], junk)
    return copy


def outcome(spec):
    """Return whether a file was read; what it says can then enter a record."""
    try:
        model = open_model(spec)
    except AuditorError as error:
        return "refused" if error.hint else f"refused without a remedy: {error.message}"
    for reply in model.replies():
        canonical_json(reply_as_json(reply))
    canonical_json(model.facts.as_json())
    model.close()
    return "read"


@pytest.mark.parametrize("name", CASES)
def test_every_place_takes_any_value_without_an_internal_error(tmp_path, name):
    whole, spec = CASES[name]
    path = tmp_path / "f.jsonl"
    found = []
    for way in ways(whole):
        for junk in JUNK:
            path.write_text(json.dumps(replaced(whole, way, junk)) + "\n")
            found.append(outcome(spec.format(file=path)))
    assert set(found) <= {"read", "refused"}
    assert found.count("refused") >= 10
