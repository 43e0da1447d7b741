"""A teacher behind a real server that writes answers: what is recorded, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from distill_world import changed, served_values, weights_digest_of
from server_process import ModelServer

from auditor.distill.forecast import forecast
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.errors import AccessError, PermissionRefusedError, RecipeError, ServerError


def run(folder: Path, values: dict[str, Any], name: str = "run") -> dict[str, Any]:
    return distill(recipe_from(values, folder), folder / name)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


def test_answers_are_recorded_with_how_they_were_drawn(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(), samples=2, temperature=0.7, top_p=0.9)
    found = run(tmp_path, values)
    bodies = [entry["body"] for entry in server.received()]
    assert len(bodies) == 10
    assert {(body["temperature"], body["top_p"], body["max_tokens"]) for body in bodies} == {
        (0.7, 0.9, 8)
    }
    answers = rows(tmp_path / "run" / "generations.jsonl")
    replies = rows(tmp_path / "run" / "exchanges.jsonl")
    texts = {r["request_digest"]: json.loads(r["body"])["choices"][0] for r in replies}
    assert sorted(row["text"] for row in answers) == sorted(
        choice["message"]["content"] for choice in texts.values()
    )
    assert [row["repeat"] for row in answers] == [0, 1] * 5
    record = found["data"]["exchanges"]
    assert (record["attempts"], record["answered"]) == (10, 10)
    spent = [json.loads(r["body"])["usage"]["completion_tokens"] for r in replies]
    assert record["usage"]["completion_tokens"] == sum(spent)
    assert found["files"]["exchanges.jsonl"] == record["digest"]
    assert found["teacher"]["spec"] == server.spec()
    assert found["dose"]["share"] == 1.0


def test_a_run_that_broke_off_asks_for_the_rest_only(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(concurrency=1), prompts=6)
    whole = run(tmp_path, values, "whole")
    server.control(*[{"status": 503, "headers": {"retry-after": "0"}}] * 2, {"status": 401})
    with pytest.raises(ServerError, match="401"):
        run(tmp_path, values, "broken")
    assert not (tmp_path / "broken" / "student").exists()
    again = run(tmp_path, values, "broken")
    assert weights_digest_of(tmp_path / "broken") == weights_digest_of(tmp_path / "whole")
    assert again["data"]["generations"] == whole["data"]["generations"]
    assert again["data"]["exchanges"]["attempts"] == 3 + 6


def test_no_answered_call_is_repeated(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(concurrency=1), prompts=6)
    server.control(refuse_after=4)
    with pytest.raises(ServerError, match="401"):
        run(tmp_path, values)
    # The group of prompts was not finished, so generations.jsonl holds nothing of it.
    assert rows(tmp_path / "run" / "generations.jsonl") == []
    server.control()
    found = run(tmp_path, values)
    assert len(server.received()) == 2
    assert found["data"]["exchanges"] == {
        **found["data"]["exchanges"],
        "attempts": 7,
        "answered": 6,
    }
    server.control()
    assert run(tmp_path, values) == found
    assert server.received() == []


def test_nothing_is_asked_without_permission(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec())
    del values["permission"]
    with pytest.raises(PermissionRefusedError):
        run(tmp_path, values)
    with pytest.raises(PermissionRefusedError, match="for the teacher"):
        run(tmp_path, {**values, "permission": "permission.json", "teacher": server.spec("other")})
    assert server.received() == []


def test_where_the_key_is_makes_no_other_teacher(
    tmp_path: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-of-the-owner")
    server.control(key="secret-of-the-owner")
    values = {**served_values(tmp_path, server.spec()), "teacher": server.spec(key_env="MY_KEY")}
    run(tmp_path, values)
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if b"secret-of-the-owner" in path.read_bytes()]


def test_a_dry_run_asks_nothing(tmp_path: Path, server: ModelServer) -> None:
    for cache in (None, {"k": 5}):
        found = forecast(recipe_from(served_values(tmp_path, server.spec(), cache=cache), tmp_path))
        assert found["teacher"]["spec"] == server.spec()
        assert found["data"]["answers"] > 0
    assert server.received() == []


INIT = {"architecture": "llama", "hidden": 16, "layers": 1, "heads": 2}


@pytest.mark.parametrize(
    ("section", "keys", "error", "message"),
    [
        ("student", {"init": None, "shrink": {"layers": 1}}, AccessError, "no layers to keep"),
        ("student", {"init": {**INIT, "tokenizer": "teacher"}}, RecipeError, "no tokenizer"),
        ("method", {"kind": "on-policy"}, AccessError, "no weights"),
        ("method", {"kind": "logits"}, AccessError, "likeliest tokens at most"),
        ("method", {"kind": "logits", "cache": {"scheme": "pps"}}, AccessError, "at most"),
    ],
)
def test_what_needs_weights_is_refused(
    tmp_path: Path, section: str, keys: dict[str, Any], error: type[Exception], message: str
) -> None:
    values = served_values(tmp_path, "openai:m?base_url=http://127.0.0.1:1/v1")
    with pytest.raises(error, match=message) as caught:
        run(tmp_path, changed(values, section, **keys))
    assert getattr(caught.value, "hint", None)
    assert not (tmp_path / "run").exists()


def test_recorded_outputs_teach_as_text(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(), prompts=4)
    served = run(tmp_path, values, "served")
    lines = rows(tmp_path / "served" / "generations.jsonl")
    recorded = [{"prompt": row["request"]["prompt"], "text": row["text"]} for row in lines]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in recorded))
    spec = "records:r.jsonl"
    permission = json.loads((tmp_path / "permission.json").read_text())
    permission["teacher"]["spec"] = spec
    (tmp_path / "permission.json").write_text(json.dumps(permission))
    found = run(tmp_path, {**values, "teacher": spec}, "recorded")
    assert found["data"]["train_targets"] <= served["data"]["train_targets"]
    assert [row["text"] for row in rows(tmp_path / "recorded" / "generations.jsonl")] == [
        row["text"] for row in lines
    ]
