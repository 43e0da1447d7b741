"""Keys, commitments and reveals of marks, and what the recipe may say of them."""

import hashlib
import json
from collections import Counter

import pytest
from pydantic import ValidationError
from scipy.stats import chisquare

from auditor.distill.marks import (
    KeyStream,
    commitment,
    generate_key,
    read_key,
    read_reveal,
    verify,
    write_key,
    write_reveal,
)
from auditor.distill.recipe_marks import Marks, marks_contradiction, marks_spec
from auditor.errors import InputError, StorageError

KEY = bytes(range(32))
SPEC = {"b": 1, "a": [0.5, "x"]}


def hmac_by_definition(key, message):
    """RFC 2104: H((K ^ opad) || H((K ^ ipad) || m)) with K padded by zeros to 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(b ^ 0x36 for b in padded) + message).digest()
    return hashlib.sha256(bytes(b ^ 0x5C for b in padded) + inner).digest()


def test_commitment_is_hmac_of_canonical_json():
    expected = hmac_by_definition(KEY, b'{"a":[0.5,"x"],"b":1}').hex()
    assert commitment(KEY, SPEC) == "hmac-sha256:" + expected


def test_stream_reads_the_words_of_hmac_in_order():
    blocks = [hmac_by_definition(KEY, b'[["a",3],%d]' % i) for i in range(2)]
    words = [int.from_bytes(b[i : i + 8], "big") for b in blocks for i in (0, 8, 16, 24)]
    stream = KeyStream(KEY, "a", 3)
    assert [stream.below(1 << 64) for _ in range(8)] == words


def test_draws_are_uniform_and_streams_differ():
    stream, other = KeyStream(KEY, "a"), KeyStream(KEY, "b")
    drawn = Counter(stream.below(7) for _ in range(7000))
    assert sorted(drawn) == list(range(7))
    assert chisquare([drawn[i] for i in range(7)]).pvalue > 0.001
    assert [other.below(1000) for _ in range(4)] != [
        KeyStream(KEY, "a").below(1000) for _ in range(4)
    ]


def test_draws_have_no_bias_to_small_numbers():
    # Of 2**64 words, 2/3 fall below 2**64 mod bound if bound = 2**63 + 2**62: a plain remainder
    # would give a number below 2**62 in half of the draws instead of a third.
    bound = (1 << 63) + (1 << 62)
    stream = KeyStream(KEY, "a")
    low = sum(stream.below(bound) < 1 << 62 for _ in range(3000))
    assert abs(low - 1000) < 4 * (3000 * 2 / 9) ** 0.5


def test_key_file_is_private_and_never_overwritten(tmp_path):
    key = generate_key()
    write_key(tmp_path / "marks.key", key)
    assert read_key(tmp_path / "marks.key") == key
    assert (tmp_path / "marks.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError, match="never overwritten"):
        write_key(tmp_path / "marks.key", KEY)
    assert read_key(tmp_path / "marks.key") == key


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_key_of_another_length_is_refused(tmp_path, length):
    (tmp_path / "key").write_bytes(b"k" * length)
    with pytest.raises(InputError, match=f"32 bytes, not {length}"):
        read_key(tmp_path / "key")
    with pytest.raises(InputError, match="32 bytes"):
        commitment(b"k" * length, SPEC)
    with pytest.raises(InputError, match="32 bytes"):
        KeyStream(b"k" * length, "a")


def test_missing_key_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot read the key"):
        read_key(tmp_path / "none")


def test_changed_key_or_spec_is_not_the_committed_one():
    committed = commitment(KEY, SPEC)
    verify(committed, KEY, {"a": [0.5, "x"], "b": 1})
    for key, spec in ((KEY[::-1], SPEC), (KEY, {**SPEC, "b": 2})):
        with pytest.raises(InputError, match="not the committed one"):
            verify(committed, key, spec)


def test_reveal_gives_back_key_and_spec(tmp_path):
    path = tmp_path / "reveal.json"
    committed = write_reveal(path, KEY, SPEC)
    assert committed == commitment(KEY, SPEC)
    found = read_reveal(path, committed)
    assert (found.key, found.spec, found.commitment) == (KEY, SPEC, committed)
    assert path.stat().st_mode & 0o777 == 0o600


def test_edited_reveal_is_refused_even_with_its_own_commitment_edited(tmp_path):
    path = tmp_path / "reveal.json"
    committed = write_reveal(path, KEY, SPEC)
    spec = {**SPEC, "b": 2}
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "spec": spec, "commitment": commitment(KEY, spec)}))
    with pytest.raises(InputError, match="not the committed one"):
        read_reveal(path, committed)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": "x", "key": "zz", "spec": {}}', '{"schema": 1}']
)
def test_malformed_reveal_is_refused(tmp_path, text):
    (tmp_path / "reveal.json").write_text(text)
    with pytest.raises(InputError, match=r"reveals no marks"):
        read_reveal(tmp_path / "reveal.json", "")


def test_reveal_of_another_schema_is_refused(tmp_path):
    text = json.dumps({"schema": "x/9", "key": KEY.hex(), "spec": SPEC})
    (tmp_path / "reveal.json").write_text(text)
    with pytest.raises(InputError, match="found x/9"):
        read_reveal(tmp_path / "reveal.json", commitment(KEY, SPEC))


def test_a_number_of_canaries_is_short_for_the_mapping():
    assert Marks.model_validate({"canaries": 5}) == Marks.model_validate({"canaries": {"sets": 5}})


def test_spec_says_everything_but_where_the_key_lies():
    marks = Marks.model_validate({"canaries": 5, "green_list": {}, "key": "secret.key"})
    assert marks_spec(marks, "sha256:t") == {
        "schema": "auditor/marks/1",
        "alpha": 0.001,
        "canaries": {
            "sets": 5,
            "siblings": 99,
            "repetitions": 8,
            "form": "words",
            "length": 8,
            "test": "rank-sum of losses, exact",
        },
        "green_list": {
            "fraction": 0.25,
            "bias": 2.0,
            "window": 2,
            "tokenizer_digest": "sha256:t",
            "test": "binomial of different (w+1)-grams, exact",
        },
    }
    with pytest.raises(ValueError, match="tokenizer"):
        marks_spec(marks, None)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "at least one of"),
        ({"canaries": 0}, "greater than or equal to 1"),
        ({"canaries": True}, "valid dictionary"),
        ({"green_list": {"fraction": 1.0}}, "less than 1"),
        ({"green_list": {"fraction": 0}}, "greater than 0"),
        ({"green_list": {"bias": -1}}, "greater than 0"),
        ({"green_list": {"gamma": 1}}, "Extra inputs"),
        # one set of 99: 1/100 is the least p
        ({"canaries": 1}, r"no p-value below 0\.01: the level 0\.001"),
    ],
)
def test_recipe_part_refuses(values, problem):
    with pytest.raises(ValidationError, match=problem):
        Marks.model_validate(values)


def test_marks_that_the_method_would_not_pass_on_are_named():
    canaries = Marks.model_validate({"canaries": 5})
    green = Marks.model_validate({"green_list": {}})
    assert "cross-entropy" in marks_contradiction(canaries, "logits", 0.0, True)
    assert "data.prompts" in marks_contradiction(green, "sequence", 0.0, False)
    assert marks_contradiction(canaries, "logits", 0.5, False) is None
    assert marks_contradiction(canaries, "baseline", 0.0, False) is None
    assert marks_contradiction(green, "sequence", 0.0, True) is None
