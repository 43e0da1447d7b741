import json
from pathlib import Path

import pytest
from distill_world import changed, sequence_values, text_documents
from test_recipe_keys import BASELINE, refused

from auditor.canon import digest
from auditor.collect.suite import load_suite
from auditor.distill.data import AnswerFormat, TrainingData, training_data
from auditor.distill.documents import prompt_digest, prompt_text, read_sources
from auditor.distill.recipe import Recipe, recipe_from
from auditor.distill.run import distill
from auditor.errors import RecipeError, SuiteError
from auditor.models.byte_tokenizer import byte_tokenizer
from auditor.types import Message, Probe, Sample


def filtered(*filters: object) -> dict[str, object]:
    return changed(BASELINE, "data", filters=list(filters))


def text_recipe(folder: Path, texts: list[str], *filters: object) -> Recipe:
    (folder / "a.txt").write_text("\n\n".join(texts))
    return recipe_from(filtered(*filters), folder)


def answered(
    folder: Path, prompts: list[str], texts: list[str], *filters: object, samples: int = 1
) -> TrainingData:
    """Training data of prompts whose answers, in order of (prompt, repeat), are `texts`."""
    (folder / "p.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in prompts))
    values = {
        **BASELINE,
        "teacher": "smollm2",
        "method": {"kind": "sequence"},
        "data": {
            "prompts": "p.jsonl",
            "holdout": 0.0,
            "filters": list(filters),
            "sampling": {"samples": samples},
        },
    }
    recipe = recipe_from(values, folder)
    answers = [
        Sample(
            probe_id="",
            repeat=number % samples,
            prompt=prompts[number // samples],
            prompt_ids=(1, 2),
            token_ids=tuple(text.encode()),
            text=text,
            finish_reason="length",
        )
        for number, text in enumerate(texts)
    ]
    form = AnswerFormat(tokenizer=byte_tokenizer(), prompt_ids=None)
    return training_data(recipe.data, read_sources(recipe), answers, form)


def test_filter_of_an_unknown_kind_lists_the_known_ones():
    error = refused(filtered({"kind": "length", "min_words": 2}, {"kind": "lenght"}))
    assert error.message == "data.filters.1: there is no kind 'lenght'"
    assert error.hint is not None
    assert error.hint.startswith("choose one of: length, language, refusal")


def test_filter_without_a_kind_says_so():
    assert refused(filtered({"min_words": 2})).message == "the key data.filters.0.kind is missing"


def test_unknown_key_of_a_filter_lists_the_keys_of_its_kind():
    error = refused(filtered({"kind": "length", "min_word": 2}))
    assert error.message == "unknown key data.filters.0.length.min_word"
    assert str(error.hint).startswith("did you mean min_words? keys allowed here: apply_to, kind, ")
    error = refused(filtered({"kind": "language"}))
    assert error.message == "the key data.filters.0.language.allow is missing"
    assert "keys allowed here: allow, apply_to, kind" in str(error.hint)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"kind": "length"}, "give a bound"),
        ({"kind": "length", "min_words": 3, "max_words": 2}, "min_words is more than max_words"),
        ({"kind": "length", "min_words": 0}, "greater than or equal to 1"),
        ({"kind": "language", "allow": []}, "at least 1 item"),
        ({"kind": "duplicate", "near": 1.1}, "less than or equal to 1"),
        ({"kind": "duplicate", "near": 0}, "greater than 0"),
        ({"kind": "quality", "min_mean_word": 11}, "min_mean_word is more than max_mean_word"),
        ({"kind": "decontaminate", "ngram": 5}, "shortest is more than ngram"),
        ({"kind": "decontaminate", "suites": []}, "at least 1 item"),
        ({"kind": "refusal", "apply_to": "prompts"}, "'all', 'documents' or 'answers'"),
    ],
)
def test_wrong_values_of_a_filter_are_refused(choice, words):
    error = refused(filtered(choice))
    assert words in error.message
    assert error.message.startswith("data.filters.0")


def test_recipe_without_filters_keeps_its_old_content_and_one_with_them_gets_another():
    plain = recipe_from(BASELINE)
    assert not {"filters", "policy"} & set(plain.as_json()["data"])
    assert plain.as_json()["data"]["prompts"] is None  # an old key stays, though absent
    with_filter = recipe_from(filtered({"kind": "refusal"}))
    assert with_filter.as_json()["data"]["filters"] == [
        {"apply_to": "all", "kind": "refusal", "within_characters": 200}
    ]
    assert with_filter.digest != plain.digest
    assert recipe_from(with_filter.as_json() | {"method": {"kind": "baseline"}}).data == (
        with_filter.data
    )


def test_documents_are_filtered_before_anything_else_reads_them(tmp_path):
    recipe = text_recipe(
        tmp_path, ["one two three", "One, two, three!", "one"], {"kind": "duplicate"}
    )
    sources = read_sources(recipe)
    assert list(sources.documents) == ["one two three", "one"]
    (record,) = sources.filters
    assert record["dropped_digests"] == [digest(b"One, two, three!")]
    assert (record["of"], record["kept"], record["dropped"]) == ("documents", 2, 1)


def test_filter_that_leaves_no_document_is_named(tmp_path):
    recipe = text_recipe(tmp_path, ["one two"], {"kind": "length", "min_words": 3})
    with pytest.raises(RecipeError, match="length dropped all 1 documents"):
        read_sources(recipe)


def test_suite_that_does_not_exist_is_refused_before_any_work(tmp_path):
    recipe = text_recipe(tmp_path, ["one"], {"kind": "decontaminate", "suites": ["nowhere"]})
    with pytest.raises(SuiteError, match="nowhere"):
        distill(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_prompts_that_are_probes_are_not_answered(tmp_path):
    probe = load_suite("reasoning@1").probes[0]
    asked = Message(role="user", content=prompt_text(probe))
    data = answered(
        tmp_path,
        [asked.content, "Who built the wall behind the house?"],
        ["a stone mason"],
        {"kind": "decontaminate"},
    )
    of_prompts, of_answers = data.record["filters"]
    same = Probe(id="", category="prompt", messages=(asked,))
    assert of_prompts["of"] == "prompts"
    assert of_prompts["reasons"] == {"suite reasoning@1": 1}
    assert of_prompts["dropped_digests"] == [prompt_digest(same)]
    assert of_prompts["params"]["suites"]["reasoning@1"] == load_suite("reasoning@1").digest
    assert (of_answers["of"], of_answers["kept"]) == ("answers", 1)
    assert data.record["prompts"]["train"]["count"] == 1


def test_dropped_answers_are_not_trained_on_and_the_others_keep_their_prompt(tmp_path):
    texts = ["I cannot help.", "the wall", "", "I cannot say", "THE WALL", "a hill"]
    data = answered(
        tmp_path, ["one", "two", "three"], texts, {"kind": "refusal"}, {"kind": "duplicate"},
        samples=2,
    )  # fmt: skip
    refusal, duplicate = data.record["filters"]
    assert data.filtered_answers == {0}
    assert refusal["reasons"] == {"refusal": 1}
    assert refusal["dropped_digests"] == [digest(b"I cannot help.")]
    assert (duplicate["kept"], duplicate["dropped"]) == (4, 0)  # no answer to the same prompt
    assert data.record["left_out"]["empty_answers"] == 1
    rows = [bytes(data.train.row(index)[2:].tolist()).decode() for index in range(len(data.train))]
    assert rows == ["the wall", "I cannot say", "THE WALL", "a hill"]


def test_filter_that_leaves_no_answer_is_named(tmp_path):
    with pytest.raises(RecipeError, match="refusal dropped all 2 answers"):
        answered(tmp_path, ["one"], ["I cannot help"] * 2, {"kind": "refusal"}, samples=2)


def test_finished_run_says_what_its_filters_did(tmp_path, teacher):
    values = sequence_values(tmp_path, teacher)
    (tmp_path / "t.txt").write_text("\n\n".join([*text_documents(9, seed=2), "short"]))
    long = {"kind": "length", "min_words": 2, "apply_to": "documents"}
    values = changed(values, "data", text="t.txt", filters=[long])
    lineage = distill(recipe_from(values, tmp_path), tmp_path / "run")
    (record,) = lineage["data"]["filters"]
    assert record["reasons"] == {"too few words": 1}
    assert record["dropped_digests"] == [digest(b"short")]
    counts = lineage["data"]["documents"]
    assert counts["train"]["count"] + counts["holdout"]["count"] == 9
    assert lineage["data"]["flags"]["documents"]["licences"] == {"unknown": 9}
    assert lineage["recipe"]["content"]["data"]["filters"][0]["min_words"] == 2
