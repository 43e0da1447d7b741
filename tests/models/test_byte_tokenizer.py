import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.models.byte_tokenizer import byte_alphabet, byte_tokenizer
from auditor.models.vocabulary import vocabulary_of


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def test_the_alphabet_is_the_one_that_the_tokenizers_library_uses():
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    assert dict(enumerate(byte_alphabet())) == bytes_to_unicode()


def test_a_byte_is_its_own_id_after_the_start_token(tokenizer):
    # "é" is C3 A9 in UTF-8.
    assert tokenizer("aé")["input_ids"] == [256, 0x61, 0xC3, 0xA9]
    assert vocabulary_of(tokenizer).pieces[:256] == tuple(bytes([b]) for b in range(256))


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_every_text_comes_back_unchanged(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_the_three_special_tokens(tokenizer):
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert ids == (256, 257, 258)
    assert len(tokenizer) == 259


def test_a_chat_ends_after_each_turn_of_the_assistant(tokenizer):
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "x"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|bos|>user: hi\nassistant: ho<|eos|>\nuser: x\nassistant: "
    closed = tokenizer.apply_chat_template(turns[:2], tokenize=False)
    assert closed == "<|bos|>user: hi\nassistant: ho<|eos|>\n"


def test_saving_and_loading_changes_nothing(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    text = "añ🙂 <|eos|> \n\u2581"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.chat_template == tokenizer.chat_template
    assert vocabulary_of(again) == vocabulary_of(tokenizer)
    assert again.pad_token_id == 258
