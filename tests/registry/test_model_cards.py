import json
import time

import pytest

from auditor.registry.card import read_card
from auditor.registry.claim import KINDS


def card(folder, readme=None, **files):
    folder.mkdir(exist_ok=True)
    if readme is not None:
        (folder / "README.md").write_bytes(readme if isinstance(readme, bytes) else readme.encode())
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return read_card(folder)


def told(found):
    return [(claim.kind, claim.target, claim.relation) for claim in found.claims]


def test_the_front_matter_of_a_hub_card(tmp_path):
    found = card(
        tmp_path / "m",
        "---\nlicense: mit\nbase_model:\n- org/one\n- org/two\nbase_model_relation: merge\n"
        "datasets: [org/data]\nteacher: big/model\n---\n# Title\n",
    )
    assert told(found) == [
        ("base_model", "org/one", "merge"),
        ("base_model", "org/two", "merge"),
        ("teachers", "big/model", None),
        ("datasets", "org/data", None),
    ]
    assert found.problems == ()
    assert found.claims[0].source == "README.md, front matter"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_change_no_claim(tmp_path, end):
    lines = ["---", "base_model: org/one", "---", "# Title", "Trained from scratch.", ""]
    found = card(tmp_path / "m", end.join(lines).encode())
    assert told(found) == [("base_model", "org/one", None), ("from_scratch", None, None)]
    assert found.problems == ()


def test_front_matter_may_follow_blank_lines_as_on_the_hub(tmp_path):
    found = card(tmp_path / "m", "\ufeff\n \n---\nbase_model: org/one\n---\n")
    assert told(found) == [("base_model", "org/one", None)]


@pytest.mark.parametrize("text", ["---\nbase_model: a/b\n", "---", "---\nbase_model: a/b\n----\n"])
def test_front_matter_without_an_end_is_a_problem(tmp_path, text):
    found = card(tmp_path / "m", text)
    assert found.problems == ("the front matter of README.md has no end",)


def test_a_card_in_another_encoding_is_a_problem(tmp_path):
    found = card(tmp_path / "m", "---\nbase_model: a/b\n---\n".encode("utf-16"))
    assert found.problems == ("README.md is not in UTF-8",)


def test_a_quantised_base_is_a_claim_of_its_own(tmp_path):
    found = card(tmp_path / "m", "---\nbase_model: a/b\nbase_model_relation: quantized\n---\n")
    assert told(found) == [("quantised_from", "a/b", "quantized")]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "A quantized version of [Big 7B](https://huggingface.co/org/big-7b) in 4 bit.",
            ("quantised_from", "org/big-7b", "quantized"),
        ),
        ("Quantised from `org/big-7b`.", ("quantised_from", "org/big-7b", "quantized")),
        ("It was distilled from GPT-4 answers.", ("teachers", "GPT-4", None)),
        ("The teacher model is org/teacher.", ("teachers", "org/teacher", None)),
        (
            "A fine-tuned version of **org/base** for chat.",
            ("base_model", "org/base", "finetune"),
        ),
    ],
)
def test_what_sentences_claim(tmp_path, sentence, expected):
    assert told(card(tmp_path / "m", f"# Model\n\n{sentence}\n")) == [expected]


@pytest.mark.parametrize(
    "sentence",
    [
        "It was distilled from larger models.",
        "This is not a quantized version of org/x.",
        "Unlike a fine-tuned version of org/x, it answers.",
        "It is smaller than a quantized version of org/x.",
        "```\ntrained from scratch\n```",
        "<!-- distilled from GPT-4 -->",
        "Knowledge distillation is explained in our paper.",
    ],
)
def test_what_is_no_claim(tmp_path, sentence):
    assert told(card(tmp_path / "m", sentence)) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "This model was trained from scratch on 2T tokens.",
        "Trained from scratch.",
        "- Trained from scratch on TinyStories",
        "* Pretrained from scratch (32 layers)",
        "## Trained from scratch",
        "**Pre-trained entirely from scratch** with 8 GPUs in a week.",
        "It was pre-trained from scratch.",
        "The model was trained from-scratch.",
        "This model has been trained completely from scratch.",
        "This 7B language model is trained from scratch.",
        "Our model is trained from scratch, not fine-tuned.",
        "We trained this model from scratch on English text.",
        "We have fully pretrained the model from scratch.",
        "This model was trained from scratch by EleutherAI.",
        "This checkpoint was trained\nfrom scratch on code.",
    ],
)
def test_what_says_that_this_model_was_trained_from_scratch(tmp_path, sentence):
    found = card(tmp_path / "m", f"# Model\n\nA small one. {sentence}\n\nMore.")
    if sentence[0] in "-*#":  # these start a line
        found = card(tmp_path / "m", f"# Model\n{sentence}\nMore.")
    assert told(found) == [("from_scratch", None, None)]


@pytest.mark.parametrize(
    "sentence",
    [
        "It was not trained from scratch.",
        "We adapt a model instead of training from scratch.",
        "Training from scratch would have cost millions, so we took a small one.",
        "Unlike models trained from scratch, this one is small.",
        "Unlike models that were\ntrained from scratch, this one is small.",
        "> Unlike a model\n> trained from scratch, this one is small.",
        "Its base, Llama-2-7B, was trained from scratch by Meta.",
        "The base is Llama-2-7B. It was trained from scratch by Meta.",
        "Trained from scratch by Meta.",
        "Trained from scratch, BERT needs 64 chips for four days.",
        "Trained from scratch models need more data.",
        "The teacher was trained from scratch; our model learned from it.",
        "Our teacher model was trained from scratch.",
        "The reward model was trained from scratch.",
        "The classifier head was trained from scratch.",
        "The tokenizer of this model was trained from scratch.",
        "We trained this model's tokenizer from scratch.",
        "How to train a tokenizer from scratch",
        "Training from scratch",
        "Avoids training from scratch.",
        "It is cheaper than pretraining from scratch.",
        "We could have trained this model from scratch.",
        "Was this model trained from scratch?",
        "This model was trained from scratch?",
        "If this model was trained from scratch, its loss would be higher.",
        "This model was partly trained from scratch.",
        "This model was trained from scratch except for its embeddings.",
        "This model was trained from scratch in an earlier version.",
        "The model that we start from was trained from scratch.",
        "Comparison with a model (e.g. trained from scratch on code).",
    ],
)
def test_what_does_not_say_that_this_model_was_trained_from_scratch(tmp_path, sentence):
    found = card(tmp_path / "m", f"# Model\n\n{sentence}\n\nMore.")
    assert "from_scratch" not in {claim.kind for claim in found.claims}


@pytest.mark.parametrize("piece", ["\n", "- ", "*\n", "> \n", "from scratch ", "# ", "--"])
def test_a_long_card_is_read_in_time_of_its_length(tmp_path, piece):
    started = time.process_time()
    assert told(card(tmp_path / "m", "x" + piece * (1_000_000 // len(piece)))) == []
    # Under a second; a search of quadratic time takes hours.
    assert time.process_time() - started < 20


def test_config_and_the_record_of_a_run_claim_too(tmp_path):
    digest = "sha256:" + "0" * 64
    found = card(
        tmp_path / "m",
        config={"_name_or_path": "org/base", "quantization_config": {"quant_method": "gptq"}},
        lineage={
            "teacher": {"spec": "hf:org/t@1", "digest": digest},
            "student": {"started_from": None},
            "dose": {"share": 0.5},
        },
    )
    assert told(found) == [
        ("base_model", "org/base", None),
        ("quantised_from", None, "quantized"),
        ("teachers", "hf:org/t@1", None),
    ]
    assert (found.claims[2].digest, found.claims[2].dose) == (digest, 0.5)
    assert found.problems == ("there is no model card (README.md)",)


@pytest.mark.parametrize(
    ("sentence", "plain"),
    [
        ("This model is a fine-tuned version of org/base on chats.", True),
        ("This 7B model was quantized from org/base.", True),
        ("- Our model is a 4-bit quantised copy of org/base", True),
        ("Quantised from org/base.", True),
        ("Fine-tuned from org/base, Zephyr is stronger.", False),
        ("A quantized version of org/base is available.", False),
        ("Zephyr is a fine-tuned version of org/base.", False),
        ("We compare with a fine-tuned version of org/base.", False),
        ("This model was judged by a fine-tuned version of org/base.", False),
        ("This model is a fine-tuned version of org/base in an earlier release.", False),
    ],
)
def test_only_a_sentence_about_this_model_is_a_plain_claim(tmp_path, sentence, plain):
    (found,) = card(tmp_path / "m", sentence).claims
    assert (found.target, found.plain) == ("org/base", plain)


# json.loads takes NaN and numbers of any length; a share is from 0 to 1.
@pytest.mark.parametrize(
    "share", ["1" + "0" * 400, "NaN", "Infinity", "-0.1", "1.5", "true", '"1"']
)
def test_a_dose_that_is_no_share_is_a_problem_and_the_teacher_still_counts(tmp_path, share):
    (tmp_path / "lineage.json").write_text(
        f'{{"teacher": {{"spec": "org/t"}}, "dose": {{"share": {share}}}}}'
    )
    found = card(tmp_path, "# x")
    assert [(claim.target, claim.dose) for claim in found.claims] == [("org/t", None)]
    assert found.problems == ("the dose in lineage.json is no share from 0 to 1",)


def test_a_local_path_in_the_config_is_no_claim(tmp_path):
    assert told(card(tmp_path / "m", "# x", config={"_name_or_path": "/home/me/checkpoint"})) == []


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("base_model: [a/b\nx: :", "is no YAML, line"),
        ("- a\n- b", "holds no keys"),
        ("base_model: !!python/object/apply:os.system ['true']", "is no YAML"),
        ("a: " + "[" * 5000, "is no YAML"),
        ("a: !!bool maybe", "is no YAML"),
        ("a: !!int ''", "is no YAML"),
        ("a: !!float ''", "is no YAML"),
        ("a: !!timestamp foo", "is no YAML"),
    ],
)
def test_broken_front_matter_is_a_problem_and_the_text_still_counts(tmp_path, front, problem):
    found = card(tmp_path / "m", f"---\n{front}\n---\nTrained from scratch.\n")
    assert problem in found.problems[0]
    assert told(found) == [("from_scratch", None, None)]


def test_aliases_of_yaml_do_not_explode(tmp_path):
    lines = ["a0: &a0 [x/y, x/y]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    front = "\n".join([*lines, "base_model: *a11"])
    assert told(card(tmp_path / "m", f"---\n{front}\n---\n")) == []


def test_odd_values_are_passed_over(tmp_path):
    found = card(
        tmp_path / "m",
        "---\nbase_model: [1, null, {a: b}, ' org/x ']\nbase_model_relation: [z]\n"
        "datasets: 2024-01-01\n---\n",
    )
    assert told(found) == [("base_model", "org/x", None)]


def test_a_card_of_bytes_and_a_huge_one(tmp_path):
    assert told(card(tmp_path / "a", b"\xff\xfeTrained from scratch.")) == [
        ("from_scratch", None, None)
    ]
    found = card(tmp_path / "b", b"x" * 4_000_001)
    assert found.claims == ()
    assert "larger than" in found.problems[0]


def test_quotes_are_short(tmp_path):
    found = card(tmp_path / "m", "Trained from scratch on " + "x " * 400)
    assert len(found.claims[0].quote) == 160


def test_a_gguf_file_names_its_base_model(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_string("general.base_model.0.repo_url", "https://huggingface.co/org/base")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert told(read_card(tmp_path / "m.gguf")) == [("base_model", "org/base", None)]


def test_every_kind_has_a_name():
    assert len(KINDS) == len(set(KINDS)) == 5
