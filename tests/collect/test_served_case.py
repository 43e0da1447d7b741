"""A suspect behind a real server: access found by asking, everything that was exchanged kept."""

import pytest
from served_world import attempts, collect, records, served_plan, server_facts

from auditor.errors import AccessError, BudgetError, EndpointError, ServerError
from auditor.models import open_model
from auditor.stored import read_refs


def test_replies_of_the_server_are_those_of_its_model(proxy, models, tmp_path):
    greedy = {"max_new_tokens": 8, "temperature": 0.0, "top_k": 0, "top_p": 1.0}
    plan = served_plan(models.reference, proxy.spec(), decoding=greedy)
    here = served_plan(models.reference, models.other, decoding=greedy)
    served, local = collect(tmp_path / "served", plan), collect(tmp_path / "local", here)
    assert [row["text"] for row in records(served)] == [row["text"] for row in records(local)]
    assert {row["outcome"] for row in records(served)} == {"ok"}


def test_a_reply_names_the_call_that_gave_it(proxy, models, tmp_path):
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    answered = {row["request_digest"]: row for row in attempts(case)}
    for row in records(case):
        call = answered[row["exchange"]["request_digest"]]
        assert call["about"] == {"probe_id": row["probe_id"], "repeat": row["repeat"]}
        assert row["text"] in call["body"] or "\\u" in call["body"]
        assert row["exchange"]["model"] == "tiny-model"
        assert row["usage"]["completion_tokens"] <= 8
    # 12 replies, and a call for the access of each kind of probe.
    assert len(answered) == len(records(case)) + 2 == 14


@pytest.mark.parametrize(("shown", "level"), [(7, "TOPK"), (0, "TEXT")])
def test_the_access_is_what_the_server_shows(proxy, server, models, tmp_path, shown, level):
    server.control(**({"most": shown} if shown else {"logprobs": "none"}))
    case = collect(tmp_path, served_plan(models.reference, proxy.spec(), access="TOPK"))
    assert read_refs(case)["suspect"].access.name == level
    asked = [row["request"]["body"].get("top_logprobs") for row in attempts(case)]
    chats = [row for row in attempts(case) if row["request"]["path"].startswith("/chat")]
    assert asked[0] == 20
    assert {row["request"]["body"].get("top_logprobs") for row in chats[1:]} == {shown or None}


def test_a_number_of_log_probabilities_that_is_refused_is_tried_once(
    proxy, server, models, tmp_path
):
    server.control(limit=5)
    plan = served_plan(models.reference, proxy.spec(), access="TOPK")
    with pytest.raises(BudgetError):
        collect(tmp_path, plan, requests=8)
    case = collect(tmp_path, plan)
    asked = [
        row["body"].get("top_logprobs") for row in proxy.received() if "messages" in row["body"]
    ]
    assert asked.count(20) == 1
    assert set(asked[1:]) == {5}
    assert read_refs(case)["suspect"].access.name == "TOPK"
    assert "answered 400" in server_facts(case)["failed"]


def test_more_than_text_is_not_asked_where_the_plan_allows_text(proxy, models, tmp_path):
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    bodies = [row["request"]["body"] for row in attempts(case)]
    assert not [body for body in bodies if "logprobs" in body]


def test_log_probabilities_that_are_demanded_and_not_shown_are_refused(
    proxy, server, models, tmp_path
):
    server.control(logprobs="none")
    plan = served_plan(models.reference, proxy.spec(top_logprobs=5), access="TOPK")
    with pytest.raises(AccessError, match="5 log-probabilities were demanded") as caught:
        collect(tmp_path, plan)
    assert "leave top_logprobs out" in caught.value.hint
    assert len(proxy.received()) == 1


def test_wrong_address_key_and_model_are_named(proxy, server, models, tmp_path, monkeypatch):
    wrong = proxy.spec().replace("/v1", "/v2")
    with pytest.raises(EndpointError, match="404") as caught:
        collect(tmp_path / "address", served_plan(models.reference, wrong))
    assert "base_url" in caught.value.hint
    with pytest.raises(ServerError, match="has no model 'other'"):
        collect(tmp_path / "model", served_plan(models.reference, proxy.spec("other")))
    server.control(key="right")
    monkeypatch.setenv("SERVER_KEY", "wrong-0123456789")
    spec = proxy.spec(key_env="SERVER_KEY")
    with pytest.raises(ServerError, match="401"):
        collect(tmp_path / "key", served_plan(models.reference, proxy.spec()), spec)


def test_settings_of_the_server_outlive_a_run_and_the_key_is_written_nowhere(
    proxy, server, models, tmp_path, monkeypatch
):
    secret = "sk-0123456789abcdef-secret"  # noqa: S105
    server.control(key=secret)
    monkeypatch.setenv("SERVER_KEY", secret)
    spec = proxy.spec(key_env="SERVER_KEY", concurrency=3)
    plan = served_plan(models.reference, proxy.spec())
    with pytest.raises(BudgetError):
        collect(tmp_path, plan, spec, requests=4)
    case = collect(tmp_path, plan)  # as `auditor collect CASE` does
    assert len(records(case)) == 12
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]


def test_a_server_without_text_completions_is_asked_its_chats(proxy, models, tmp_path):
    proxy.control(absent="/v1/completions")
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    outcomes = {(row["suite"], row["outcome"]) for row in records(case)}
    assert outcomes == {("continuations@1", "error"), ("reasoning@1", "ok")}
    failed = [row for row in records(case) if row["outcome"] == "error"]
    assert "answers no text probes" in failed[0]["error"]


def test_a_served_model_without_a_case_keeps_no_log(proxy):
    model = open_model(proxy.spec())
    assert model.ref.access.name == "TEXT"
    model.close()
    assert proxy.received() == []


def test_what_the_server_counted_is_summed(proxy, models, tmp_path):
    case = collect(tmp_path, served_plan(models.reference, proxy.spec()))
    facts = server_facts(case)
    sums = [row["usage"]["completion_tokens"] for row in records(case)]
    access = [row for row in attempts(case) if row["about"].get("purpose") == "access"]
    own = sum(int(row["body"].split('"completion_tokens": ')[1].split("}")[0]) for row in access)
    assert facts["usage"]["completion_tokens"] == sum(sums) + own
    assert (facts["attempts"], facts["failed"], facts["limits"]) == (14, {}, [])
