"""Merkle trees against the recursive definition of RFC 9162 and published roots."""

import hashlib

import pytest

from auditor.canon import leaf_hash
from auditor.merkle import EMPTY, inclusion_path, leads_to_root, merkle_root

SIZES = range(1, 34)
# The leaves of the test of the Certificate Transparency reference log, and its roots.
CT_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_hash(data: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, as it is defined."""
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return hashlib.sha256(b"\x01" + tree_hash(data[:k]) + tree_hash(data[k:])).digest()


def path_of(data: list[bytes], index: int) -> list[str]:
    """PATH of RFC 9162, section 2.1.3.1, as it is defined."""
    if len(data) == 1:
        return []
    k = split(len(data))
    if index < k:
        return [*path_of(data[:k], index), tree_hash(data[k:]).hex()]
    return [*path_of(data[k:], index - k), tree_hash(data[:k]).hex()]


def leaves(size: int) -> list[bytes]:
    return [f"leaf {number}".encode() for number in range(size)]


@pytest.mark.parametrize("size", CT_ROOTS)
def test_published_roots(size: int) -> None:
    assert merkle_root([leaf_hash(leaf) for leaf in CT_LEAVES[:size]]) == CT_ROOTS[size]


def test_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle_root([]) == EMPTY == hashlib.sha256().hexdigest()


@pytest.mark.parametrize("size", SIZES)
def test_root_and_paths_are_those_of_the_definition(size: int) -> None:
    data = leaves(size)
    hashes = [leaf_hash(leaf) for leaf in data]
    root = merkle_root(hashes)
    assert root == tree_hash(data).hex()
    for index in range(size):
        path = inclusion_path(hashes, index)
        assert path == path_of(data, index)
        assert leads_to_root(hashes[index], index, size, path, root)


@pytest.mark.parametrize("size", SIZES)
def test_a_path_leads_from_no_other_leaf_place_or_length(size: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves(size)]
    root = merkle_root(hashes)
    for index in range(size):
        path = inclusion_path(hashes, index)
        other = leaf_hash(b"another")
        assert not leads_to_root(other, index, size, path, root)
        assert not leads_to_root(hashes[index], index, size, [*path, other], root)
        assert not leads_to_root(hashes[index], index, size, path, other)
        assert not any(
            leads_to_root(hashes[index], place, size, path, root)
            for place in range(-1, size + 1)
            if place != index
        )
        if path:
            assert not leads_to_root(hashes[index], index, size, path[:-1], root)


def test_a_node_is_no_leaf() -> None:
    hashes = [leaf_hash(leaf) for leaf in leaves(4)]
    left = merkle_root(hashes[:2])
    assert not leads_to_root(left, 0, 4, [merkle_root(hashes[2:])], merkle_root(hashes))


@pytest.mark.parametrize("index", [-1, 3])
def test_no_path_from_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError, match="in a tree of 3"):
        inclusion_path([leaf_hash(leaf) for leaf in leaves(3)], index)
