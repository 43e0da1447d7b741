import pytest
from tokenizers import Tokenizer, models
from traced_memory import peak
from transformers import PreTrainedTokenizerFast

from auditor.errors import SubjectError
from auditor.models.byte_tokenizer import PAD, byte_tokenizer
from auditor.models.vocabulary import Vocabulary, relation_of, vocabulary_of, vocabulary_relation


def words(mapping):
    core = Tokenizer(models.WordLevel(vocab=mapping, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=core)


def test_two_builds_of_one_tokenizer_are_identical():
    assert vocabulary_relation(byte_tokenizer(), byte_tokenizer()) == "identical"


def test_heads_of_other_heights_are_padded():
    assert vocabulary_relation(byte_tokenizer(), byte_tokenizer(), rows=(259, 320)) == "padded"
    assert vocabulary_relation(byte_tokenizer(), byte_tokenizer(), rows=(320, 320)) == "identical"


def test_ids_without_bytes_at_the_end_are_padding():
    short = Vocabulary(pieces=(b"a", b"b"), special=frozenset())
    long = Vocabulary(pieces=(b"a", b"b", None, None), special=frozenset())
    assert relation_of(short, long) == relation_of(long, short) == "padded"


def test_one_more_token_is_a_superset_in_either_order():
    larger = byte_tokenizer()
    larger.add_tokens(["<new>"])
    assert vocabulary_relation(byte_tokenizer(), larger) == "superset"
    assert vocabulary_relation(larger, byte_tokenizer()) == "superset"


def test_a_filled_hole_is_a_superset():
    assert (
        vocabulary_relation(words({"a": 0, "c": 2}), words({"a": 0, "b": 1, "c": 2})) == "superset"
    )


def test_two_swapped_ids_are_different():
    assert vocabulary_relation(words({"a": 0, "b": 1}), words({"a": 1, "b": 0})) == "different"


def test_each_has_a_token_that_the_other_lacks():
    assert vocabulary_relation(words({"a": 0, "b": 1}), words({"a": 0, "c": 2})) == "different"


def test_a_special_token_is_not_the_same_text():
    plain = Vocabulary(pieces=(b"a", b"<s>"), special=frozenset())
    special = Vocabulary(pieces=(b"a", b"<s>"), special=frozenset({1}))
    assert relation_of(plain, special) == "different"
    assert plain.digest != special.digest


def test_the_digest_sees_swapped_ids_but_not_the_file(tmp_path):
    from transformers import AutoTokenizer

    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text() + "\n\n")
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert vocabulary_of(again).digest == vocabulary_of(tokenizer).digest
    swapped = Vocabulary(pieces=(b"b", b"a"), special=frozenset())
    assert swapped.digest != Vocabulary(pieces=(b"a", b"b"), special=frozenset()).digest


def test_which_token_ends_a_reply_is_not_part_of_the_vocabulary():
    other = byte_tokenizer()
    other.eos_token = PAD
    assert vocabulary_relation(other, byte_tokenizer()) == "identical"
    assert vocabulary_of(other).digest == vocabulary_of(byte_tokenizer()).digest


def test_tokens_beyond_the_rows_of_the_model_are_left_out():
    larger = byte_tokenizer()
    larger.add_special_tokens({"additional_special_tokens": ["<new>"]})
    assert vocabulary_of(larger).size == 260
    assert vocabulary_of(larger, rows=259) == vocabulary_of(byte_tokenizer())
    assert vocabulary_of(larger, rows=300).size == 260


def test_one_far_id_costs_no_memory_where_the_rows_are_known():
    # A list of ten million ids takes 80 MB.
    tokenizer = words({"a": 0, "b": 10_000_000})
    assert peak(lambda: vocabulary_of(tokenizer, rows=2)) < 10e6
    assert vocabulary_of(tokenizer, rows=2).pieces == (b"a", None)


@pytest.mark.parametrize("rows", [None, 2])
def test_an_id_larger_than_that_of_any_tokenizer_is_refused(rows):
    with pytest.raises(SubjectError, match="the largest token id of the tokenizer is 16,777,216"):
        vocabulary_of(words({"a": 0, "b": 1 << 24}), rows=rows)
