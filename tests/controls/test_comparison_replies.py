"""Replies of a local model behind a chat address, for tools that only know servers."""

import json
from http.client import HTTPConnection

import pytest
from comparison_world import gpt2_folder, llama_folder

from auditor.controls.comparison.replies import ReplyServer, model_replies
from auditor.errors import SubjectError
from auditor.models.loading import load_transformers


@pytest.fixture
def server():
    found = ReplyServer()
    yield found
    found.close()


def ask(server, model, prompt, path="/v1/chat/completions"):
    """Return the status and the reply, or None, of one request."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 500}
    connection = HTTPConnection(server.address.removeprefix("http://"), timeout=10)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = json.load(response)
    finally:
        connection.close()
    return response.status, content.get("choices", [{"message": {"content": None}}])[0]["message"][
        "content"
    ]


def test_each_model_answers_with_its_own_replies(server):
    server.add("one", {"Hi": "Hello", "Bye": "Farewell"})
    server.add("two", {"Hi": "你好\n"})
    assert ask(server, "one", "Hi") == (200, "Hello")
    assert ask(server, "one", "Bye") == (200, "Farewell")
    assert ask(server, "two", "Hi") == (200, "你好\n")


@pytest.mark.parametrize(
    ("model", "prompt", "path"),
    [
        ("one", "Other", "/v1/chat/completions"),
        ("none", "Hi", "/v1/chat/completions"),
        ("one", "Hi", "/v1/completions"),
    ],
)
def test_nothing_is_made_up(server, model, prompt, path):
    server.add("one", {"Hi": "Hello"})
    assert ask(server, model, prompt, path) == (404, None)


def test_new_replies_of_a_model_replace_the_old_ones(server):
    server.add("one", {"Hi": "Hello"})
    server.add("one", {"Bye": "Farewell"})
    assert ask(server, "one", "Hi") == (404, None)
    assert ask(server, "one", "Bye") == (200, "Farewell")


def test_the_server_listens_on_this_machine_alone(server):
    assert server.address.startswith("http://127.0.0.1:")


def test_replies_are_the_greedy_ones_of_the_model(tmp_path):
    folder = llama_folder(tmp_path / "model", 7)
    replies = model_replies(folder, ["Who?", "A longer question."], 20)
    loaded = load_transformers(str(folder))
    for prompt, reply in replies.items():
        chat = [{"role": "user", "content": prompt}]
        ids = loaded.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = loaded.module.generate(**ids, max_new_tokens=20, do_sample=False)
        own = output[0, ids["input_ids"].shape[1] :]
        assert reply == loaded.tokenizer.decode(own, skip_special_tokens=True)


def test_a_prompt_that_leaves_no_room_is_a_reason(tmp_path):
    folder = gpt2_folder(tmp_path / "model", 8)  # 64 positions, one a byte
    with pytest.raises(SubjectError, match="leaves no room to reply in 64 positions"):
        model_replies(folder, ["x" * 60], 20)
