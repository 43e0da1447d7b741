import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from tokenizers import pre_tokenizers as pre
from transformers import PreTrainedTokenizerFast

from auditor.models.byte_tokenizer import byte_alphabet, byte_tokenizer
from auditor.models.text_encoding import TextEncoder
from auditor.models.vocabulary import vocabulary_of


def encoder_of(tokenizer):
    return TextEncoder(tokenizer, vocabulary_of(tokenizer))


def byte_level(merges):
    """A GPT-2-like tokenizer: 256 bytes, the given merges, no start token."""
    vocabulary = {c: i for i, c in enumerate(byte_alphabet())}
    for a, b in merges:
        vocabulary[a + b] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    core.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token=None)


def sentencepiece_like():
    """Llama-2's construction: a space in front, spaces as U+2581, unknown characters as bytes."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocabulary |= {f"<0x{b:02X}>": 3 + b for b in range(256)}
    for piece in ("\u2581", "h", "i", "hi", "\u2581hi"):
        vocabulary[piece] = len(vocabulary)
    merges = [("h", "i"), ("\u2581", "hi")]
    core = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True)
    )
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    core.add_special_tokens([AddedToken(t, normalized=False) for t in ("<s>", "</s>")])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def test_byte_ends_inside_a_character_split_over_tokens():
    # "é🙂": 2 + 4 bytes, a token each, after the start token of no width.
    found = encoder_of(byte_tokenizer()).encode("é🙂")
    assert found.token_ids[0] == 256
    assert found.byte_ends == (0, 1, 2, 3, 4, 5, 6)


def test_a_merged_token_ends_after_all_its_bytes():
    # C3 A9 = "é" merges with a space in front: "Ġ" + "Ã" + "©".
    tokenizer = byte_level([("Ġ", "Ã"), ("ĠÃ", "©")])
    found = encoder_of(tokenizer).encode("a é")
    assert found.byte_ends == (1, 4)


def test_a_token_that_holds_half_a_character():
    # Merges of the space and the first byte of "é" only: the second byte is a token of its own.
    found = encoder_of(byte_level([("Ġ", "Ã")])).encode("a é")
    assert found.byte_ends == (1, 3, 4)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_byte_level_pieces_spell_the_text(text):
    tokenizer = byte_level([("Ġ", "Ã"), ("a", "b"), ("ab", "ab")])
    pieces = vocabulary_of(tokenizer).pieces
    found = encoder_of(tokenizer).encode(text)
    content, start = text.encode(), 0
    for token, end in zip(found.token_ids, found.byte_ends, strict=True):
        assert content[start:end] == pieces[token]
        start = end
    assert start == len(content)


def test_sentencepiece_space_in_front_has_no_bytes_and_the_end_token_is_left_out():
    found = encoder_of(sentencepiece_like()).encode("hi hi")
    # <s>, "▁hi" (whose space is not in the text), "▁hi"
    assert found.token_ids == (1, 263, 263)
    assert found.byte_ends == (0, 2, 5)


def test_byte_fallback_ends_inside_the_character():
    found = encoder_of(sentencepiece_like()).encode("hié")
    assert found.token_ids == (1, 263, 3 + 0xC3, 3 + 0xA9)
    assert found.byte_ends == (0, 2, 3, 4)


def test_a_spelled_start_token_is_not_doubled():
    encoder = encoder_of(byte_tokenizer())
    found = encoder.encode("<|bos|>a<|eos|>")
    assert found.token_ids == (256, 97, 257)
    # "<|bos|>" and "<|eos|>" take 7 bytes each.
    assert found.byte_ends == (7, 8, 15)
    assert encoder.encode("<|bos|>a", start=False).token_ids == (256, 97)


def test_an_empty_text_is_the_start_token_or_nothing():
    assert encoder_of(byte_tokenizer()).encode("").token_ids == (256,)
    assert encoder_of(sentencepiece_like()).encode("").token_ids == (1,)
    assert encoder_of(byte_level([])).encode("").token_ids == ()


def test_a_tokenizer_that_normalises_falls_back_to_characters():
    vocabulary = {"[UNK]": 0, "e": 1, "##e": 2, "b": 3}
    core = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    core.pre_tokenizer = pre.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core)
    # "éé b": 2 + 2 + 1 + 1 bytes; tokens e, ##e, b.
    assert encoder_of(tokenizer).encode("éé b").byte_ends == (2, 4, 6)


@pytest.mark.parametrize("text", ["", "a", "🙂" * 9, "<|pad|> x"])
def test_padding_set_on_the_tokenizer_does_not_leak_in(text):
    tokenizer = byte_tokenizer()
    tokenizer.padding_side = "left"
    plain = encoder_of(tokenizer).encode(text)
    tokenizer(text, padding="max_length", truncation=True, max_length=50)
    assert encoder_of(tokenizer).encode(text) == plain
    tokenizer(text, truncation=True, max_length=3)
    assert encoder_of(tokenizer).encode(text) == plain
