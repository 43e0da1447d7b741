"""Alignment and next-byte targets with the tokenizers that ship, and a real one."""

import itertools

import pytest
import torch

from auditor.distill.align import RoundTripError, align, byte_ends
from auditor.distill.vocabulary_match import match_tokens
from auditor.errors import MissingExtraError, VocabularyError
from auditor.kernels.next_byte import TokenTable, next_byte_loss, text_byte_targets
from auditor.models.loading import load_tokenizer, load_transformers
from auditor.models.smollm2 import smollm2_file
from auditor.models.source import locate
from auditor.models.specifier import parse
from auditor.models.vocabulary import Vocabulary, vocabulary_of

TEXT = "Naïve café — 😀 costs 3 €.\n  Two spaces; 日本語 and\ttabs."


def tiny(name: str) -> tuple[object, Vocabulary]:
    tokenizer = load_tokenizer(locate(parse(f"tiny:{name}")))
    return tokenizer, vocabulary_of(tokenizer)


def lower_casing() -> tuple[object, Vocabulary]:
    """A tokenizer of characters that are put in lower case first."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers

    characters = sorted(set(TEXT.lower()))
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(characters)}, merges=[]))
    core.normalizer = normalizers.Lowercase()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core)
    return tokenizer, vocabulary_of(tokenizer)


@pytest.mark.parametrize("text", [TEXT, "The little dog went home and said hello."])
def test_a_byte_tokenizer_gives_one_group_a_subword(text: str) -> None:
    (bytewise, own), (subword, other) = tiny("teacher"), tiny("zoo/reference-00")
    student, teacher = bytewise(text)["input_ids"], subword(text)["input_ids"]
    found = align(text, student, teacher, student=own, teacher=other)
    # Each teacher token is a group of as many bytes; the start token in front is in none.
    kept = [k for k, i in enumerate(teacher) if i not in other.special]
    assert found.teacher.tolist() == [[k, k] for k in kept]
    lengths = [len(other.pieces[teacher[k]] or b"") for k in kept]
    assert max(lengths) > 1
    assert (found.student[:, 1] - found.student[:, 0] + 1).tolist() == lengths
    assert found.student_groups.tolist()[0] == -1
    assert sum(lengths) == len(text.encode()) == len(student) - 1


def test_a_lower_casing_tokenizer_is_refused() -> None:
    (bytewise, own), (subword, other) = tiny("teacher"), lower_casing()
    with pytest.raises(RoundTripError, match=r"teacher's tokens .* part at byte 0"):
        align(
            TEXT,
            bytewise(TEXT)["input_ids"],
            subword(TEXT)["input_ids"],
            student=own,
            teacher=other,
        )


def test_a_byte_level_student_is_sent_to_next_byte_targets() -> None:
    with pytest.raises(VocabularyError, match="text token of the student is matched") as caught:
        match_tokens(tiny("teacher")[1], tiny("zoo/reference-00")[1])
    assert "next_byte_targets" in str(caught.value.hint)


def test_two_tiny_models_match_on_all_bytes() -> None:
    found = match_tokens(tiny("teacher")[1], tiny("independent")[1], paired=[(257, 257)])
    assert (found.matched, found.size) == (257, 257)
    assert found.student.tolist() == [*range(256), -1, 256, -1]


@pytest.mark.slow
def test_smollm2_teaches_the_next_byte_better_than_chance() -> None:
    try:
        smollm2_file()
    except MissingExtraError as missing:
        pytest.skip(str(missing))
    loaded = load_transformers("smollm2", device="cpu")
    vocabulary = vocabulary_of(loaded.tokenizer)
    ids = loaded.tokenizer("\n" + TEXT + " The capital of France is Paris.")["input_ids"]
    text = b"".join(vocabulary.pieces[i] or b"" for i in ids)
    bytewise, own = tiny("teacher")
    student = bytewise(text.decode())["input_ids"]
    found = align(text, student, ids, student=own, teacher=vocabulary)
    assert found.groups == len(ids)
    assert byte_ends(text, ids, vocabulary).tolist() == list(
        itertools.accumulate(len(vocabulary.pieces[i] or b"") for i in ids)
    )
    with torch.no_grad():
        logits = loaded.module(torch.tensor([ids])).logits[0, :-1, : vocabulary.size]
    tokens = [vocabulary.pieces[i] or b"" for i in ids[1:]]
    table = TokenTable(vocabulary.pieces, vocabulary.special)
    targets = text_byte_targets(logits, table, tokens)
    said = torch.tensor(list(b"".join(tokens)))
    assert torch.allclose(targets.sum(1), torch.ones(len(said)), atol=1e-5)
    bits = -targets.gather(1, said[:, None]).log2().mean()
    # A uniform guess costs 8 bits a byte; a text model of this size needs far less.
    assert 0.2 < float(bits) < 4
    random = torch.randn(len(said), 259, requires_grad=True)
    next_byte_loss(random, targets, torch.arange(256)).sum().backward()
    assert float(random.grad.abs().sum()) > 0
