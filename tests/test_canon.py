import hashlib
import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from auditor.canon import (
    canonical_json,
    canonical_object,
    directory_digests,
    finite,
    json_digest,
    leaf_hash,
    pretty_json,
    tree_digest,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def test_numbers_and_order_follow_rfc_8785():
    # The number and string examples of RFC 8785, section 3.2.2 and 3.2.3.
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(value).decode() == expected


@given(json_values)
def test_canonical_json_round_trips(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), json_values))
def test_an_object_is_made_of_the_bytes_of_its_values(value):
    members = {name: rfc8785.dumps(one) for name, one in value.items()}
    assert canonical_object(members) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": -float("inf")}, 2**60])
def test_numbers_that_json_cannot_carry_are_refused(value):
    with pytest.raises(ValueError, match="canonical JSON"):
        canonical_json(value)


def test_pretty_json_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        pretty_json({"a": float("nan")})


def test_renaming_changes_the_tree_digest():
    assert tree_digest({"a": "1", "b": "2"}) != tree_digest({"c": "1", "b": "2"})


def test_swapping_contents_changes_the_tree_digest():
    assert tree_digest({"a": "1", "b": "2"}) != tree_digest({"a": "2", "b": "1"})


def test_no_name_can_imitate_structure():
    # With "name:digest" lines, {"a": "1\nb:2"} and {"a": "1", "b": "2"} would collide.
    assert tree_digest({"a": "1\nb:2"}) != tree_digest({"a": "1", "b": "2"})


def test_leaf_hash_is_that_of_rfc_9162():
    # RFC 9162, section 2.1.1: HASH(0x00 || entry); for the empty entry the well-known value
    # of Certificate Transparency's test vectors.
    assert leaf_hash(b"") == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def test_directory_digests_are_those_of_the_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(b"abc")
    expected = "sha256:" + hashlib.sha256(b"abc").hexdigest()
    assert directory_digests(tmp_path) == {"sub/x": expected}


def test_json_digest_ignores_key_order():
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})


def test_missing_stays_missing_and_nan_is_refused():
    assert finite(None) is None
    assert finite(0.25) == 0.25
    with pytest.raises(ValueError, match="reason"):
        finite(float("nan"))


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_ANYTHING)
def test_the_fast_way_writes_what_the_rfc_writes(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("exponent", range(-12, 23))
def test_floats_of_all_sizes_are_written_as_the_rfc_writes_them(exponent):
    values = [factor * 10.0**exponent for factor in (1, -1.5, 0.1, 7.25, 123456789.125)]
    values += [0.0, -0.0, 2.0**53, -(2.0**53), 2.0**53 - 1]
    for value in values:  # one by one: a single one that is written the slow way takes all with it
        assert canonical_json([value]) == rfc8785.dumps([value])


def test_keys_stand_in_the_order_of_utf_16():
    # U+1F600 is D83D DE00 in UTF-16, before U+FB33; by code point it comes after.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("value", [{1: 2}, {None: 1}, {True: 1}, 2**53 + 1, "\ud800", {"a"}])
def test_what_json_lacks_is_refused_the_fast_way_too(value):
    with pytest.raises(ValueError, match="canonical JSON"):
        canonical_json({"a": [value]})
