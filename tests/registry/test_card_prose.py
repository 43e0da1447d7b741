"""Which sentences of a card claim an origin of this model, and which do not."""

import time

import pytest
from registry_world import card, told


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
