"""Log-probabilities of a real server as a top-k cache, beside the same model read here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distill_world import served_values, weights_digest_of
from server_process import ModelServer

from auditor.distill.cache import Identity, LogitCache, key_of
from auditor.distill.cache_rows import decode
from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.distill.sequences import sequences
from auditor.errors import AccessError, CaseError, RecipeError, VocabularyError
from auditor.types import Array

K = 7
EOS = 257


def run(folder: Path, values: dict[str, Any], name: str = "run") -> dict[str, Any]:
    return distill(recipe_from(values, folder), folder / name)


def answers(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "generations.jsonl").read_text().split("\n")[:-1]
    return [json.loads(line) for line in lines]


def cache_of(folder: Path) -> LogitCache:
    identity = json.loads((folder / "cache" / "manifest.json").read_bytes())["identity"]
    return LogitCache(folder / "cache", Identity(**identity))


def expected_ids(row: dict[str, Any], tokenizer: Any) -> tuple[list[int], int]:
    """Return the ids of prompt and answer, a byte a token, and the length of the prompt."""
    messages = [{"role": "user", "content": row["request"]["prompt"]}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    end = [EOS] if row["finish_reason"] == "stop" else []
    return [*prompt, *row["text"].encode(), *end], len(prompt)


def local_logprobs(module: Any, ids: list[int], first: int) -> Array:
    """Float64 (T, V) distributions of the tokens from `first` on, by one forward pass."""
    import torch

    with torch.inference_mode():
        logits = module(torch.tensor([ids])).logits[0, first - 1 : -1, :259]
    found: Array = torch.log_softmax(logits, -1).numpy()
    return found


def test_the_cache_holds_the_teachers_own_distributions(
    tmp_path: Path, server: ModelServer
) -> None:
    from auditor.models.loading import load_transformers

    found = run(tmp_path, served_values(tmp_path, server.spec(), prompts=6, cache={"k": K}))
    loaded = load_transformers("tiny:teacher", device="cpu")
    module = loaded.module.double()
    cache, compared = cache_of(tmp_path / "run"), 0
    for row in answers(tmp_path / "run"):
        ids, first = expected_ids(row, loaded.tokenizer)
        store = sequences([(ids[:65], first, True)])
        if key_of(store, 0) not in cache:  # held out
            continue
        exact = local_logprobs(module, ids[:65], first)
        targets = decode("topk", cache.read(store, 0), K, 259, 1.0)
        likeliest = np.sort(exact, axis=1)[:, ::-1][:, :K]
        # Half precision keeps a logarithm of size 8 to 2^-8, and masses to a share of that.
        assert targets.logprobs.numpy() == pytest.approx(likeliest, abs=2**-7)
        at_ids = np.take_along_axis(exact, targets.ids.numpy(), axis=1)
        assert at_ids == pytest.approx(likeliest, abs=1e-9)
        assert targets.tail_mass.numpy() == pytest.approx(1 - np.exp(likeliest).sum(1), abs=1e-6)
        compared += len(exact)
    assert compared == found["data"]["cache"]["positions"] > 20
    record = found["data"]["log_probabilities"]
    assert (record["k"], record["positions_dropped"]) == (K, 0)
    assert (record["ends_without_distribution"], record["tokens_written_otherwise"]) == (0, 0)
    assert found["data"]["cache"]["identity"]["teacher"] == server.spec()
    assert found["data"]["cache"]["fidelity"] is None


def test_all_tokens_teach_as_the_model_itself(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(), prompts=6, cache={"k": 400})
    values["train"]["steps"] = 1
    loss = run(tmp_path, values)["results"]["loss"]["start"]
    assert [entry["body"]["top_logprobs"] for entry in server.received()] == [259] * 6
    assert loss == pytest.approx(first_loss(tmp_path, values), rel=2e-3)


def first_loss(folder: Path, values: dict[str, Any]) -> float:
    """Return the mean KL(teacher || untrained student) over the training answers, in nats."""
    from auditor.distill.student import build_student
    from auditor.models.loading import load_transformers

    loaded = load_transformers("tiny:teacher", device="cpu")
    student = build_student(recipe_from(values, folder), None, loaded.tokenizer)
    teacher, module = loaded.module.double(), student.module.double().train(False)
    cache, total, count = cache_of(folder / "run"), 0.0, 0
    for row in answers(folder / "run"):
        ids, first = expected_ids(row, loaded.tokenizer)
        if key_of(sequences([(ids[:65], first, True)]), 0) not in cache:
            continue
        ours = local_logprobs(module, ids[:65], first)
        theirs = local_logprobs(teacher, ids[:65], first)
        total += float((np.exp(theirs) * (theirs - ours)).sum())
        count += len(theirs)
    return total / count


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(concurrency=1), cache={"k": K})
    whole = run(tmp_path, values, "whole")
    server.control(refuse_after=3)
    with pytest.raises(Exception, match="no more for you"):
        run(tmp_path, values, "broken")
    server.control()
    again = run(tmp_path, values, "broken")
    assert len(server.received()) == 2
    assert weights_digest_of(tmp_path / "broken") == weights_digest_of(tmp_path / "whole")
    assert again["data"]["cache"] == whole["data"]["cache"]


def test_a_server_that_hides_the_end_gives_none_to_learn(
    tmp_path: Path, server: ModelServer
) -> None:
    values = served_values(tmp_path, server.spec(), cache={"k": K}, max_new_tokens=40)
    server.control(end_token=False)
    record = run(tmp_path, values)["data"]["log_probabilities"]
    ended = sum(row["finish_reason"] == "stop" for row in answers(tmp_path / "run"))
    assert record["ends_without_distribution"] == ended > 0
    assert record["positions_dropped"] == 0


def test_positions_that_do_not_spell_the_text_are_dropped_and_counted(
    tmp_path: Path, server: ModelServer
) -> None:
    values = served_values(tmp_path, server.spec(), cache={"k": K})
    run(tmp_path, values, "plain")
    lengths = [len(row["text"]) for row in answers(tmp_path / "plain")]  # ASCII: a token a letter
    ends = [row["finish_reason"] == "stop" for row in answers(tmp_path / "plain")]
    server.control(spoilt=3)
    record = run(tmp_path, values)["data"]["log_probabilities"]
    assert record["positions"] == sum(min(length, 3) for length in lengths)
    assert record["positions_dropped"] == sum(lengths) + sum(ends) - record["positions"] > 0


def test_no_position_that_spells_the_text_is_refused(tmp_path: Path, server: ModelServer) -> None:
    server.control(spoilt=0)
    with pytest.raises(AccessError, match="none lines up"):
        run(tmp_path, served_values(tmp_path, server.spec(), cache={"k": K}))


def test_a_token_that_is_none_of_the_students_is_refused(
    tmp_path: Path, server: ModelServer
) -> None:
    server.control(pieces={"32": "\u2581"})  # the space, as another kind of tokenizer shows it
    with pytest.raises(VocabularyError, match="token '\u2581' is no token") as caught:
        run(tmp_path, served_values(tmp_path, server.spec(), cache={"k": K}))
    assert "method sequence" in str(caught.value.hint)


def test_parts_of_characters_without_their_bytes_are_refused(
    tmp_path: Path, server: ModelServer
) -> None:
    # All 259 tokens are among the likeliest 400, so the bytes from 128 on are, too.
    values = served_values(tmp_path, server.spec(), cache={"k": 400})
    server.control(lossy=True)
    with pytest.raises(VocabularyError, match="part of a character and shown without its bytes"):
        run(tmp_path, values)


def test_a_tokenizer_that_writes_the_answers_otherwise_is_refused(
    tmp_path: Path, server: ModelServer
) -> None:
    values = served_values(tmp_path, server.spec(), cache={"k": 2})
    # It has a token for each byte too, so that every token of the server is one of its tokens.
    values["student"]["init"]["tokenizer"] = "tiny:zoo/gpt2-00"
    with pytest.raises(VocabularyError, match=r"other tokens: \d+ of \d+ that"):
        run(tmp_path, values)


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"most": 5}, r"asked for 7 .* gave 5", "method.cache.k: 5"),
        ({"logprobs": "none"}, "without log-probabilities", "method sequence"),
        ({"most": 0}, "without the likeliest", "method sequence"),
    ],
)
def test_too_few_log_probabilities_cost_one_call(
    tmp_path: Path, server: ModelServer, settings: dict[str, Any], message: str, hint: str
) -> None:
    server.control(**settings)
    with pytest.raises(AccessError, match=message) as caught:
        run(tmp_path, served_values(tmp_path, server.spec(), cache={"k": K}))
    assert hint in str(caught.value.hint)
    assert len(server.received()) == 1


@pytest.mark.parametrize(
    ("section", "keys", "error", "message"),
    [
        ("data", {"text": "text.jsonl"}, AccessError, "its own answers only"),
        ("data", {"sampling": {"temperature": 0.5}}, RecipeError, "nobody knows here"),
        ("data", {"sampling": {"top_k": 5}}, RecipeError, "nobody knows here"),
        ("method", {"temperature": 2.0}, RecipeError, "chosen at temperature 1"),
    ],
)
def test_distributions_that_would_mean_something_else_are_refused(
    tmp_path: Path,
    server: ModelServer,
    section: str,
    keys: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a b c"}\n')
    values = served_values(tmp_path, server.spec(), cache={"k": K})
    values[section].update(keys)
    with pytest.raises(error, match=message):
        run(tmp_path, values)
    assert server.received() == []


def test_a_cache_of_another_server_is_refused(tmp_path: Path, server: ModelServer) -> None:
    values = served_values(tmp_path, server.spec(), cache={"k": K, "path": "shared"})
    run(tmp_path, values, "first")
    other = server.spec().replace("127.0.0.1", "localhost")
    values = served_values(tmp_path, other, cache={"k": K, "path": "shared"})
    with pytest.raises(CaseError, match="differs in: teacher"):
        run(tmp_path, values, "second")
