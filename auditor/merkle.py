"""Merkle trees over lists of leaves: root, inclusion path, and its check.

RFC 9162, section 2.1: leaf = SHA-256(0x00 || data), node = SHA-256(0x01 || left || right), a list
of n > 1 splits at the largest power of two below n, and the root of an empty list is SHA-256 of
nothing. Hashes are 64 hex digits.
"""

import hashlib
from collections.abc import Iterable, Sequence

from auditor.canon import leaf_hash

EMPTY = hashlib.sha256(b"").hexdigest()
"""Root of a list without leaves."""


def merkle_root(hashes: Iterable[str]) -> str:
    """Return the root over leaf hashes, in their order; log2 n of them are in memory at a time."""
    # Roots of perfect subtrees, each smaller than the one before: the binary digits of the count.
    open_roots: list[tuple[int, bytes]] = []
    for found in hashes:
        node, height = bytes.fromhex(found), 0
        while open_roots and open_roots[-1][0] == height:
            node, height = _parent(open_roots.pop()[1], node), height + 1
        open_roots.append((height, node))
    if not open_roots:
        return EMPTY
    _, root = open_roots.pop()
    while open_roots:
        root = _parent(open_roots.pop()[1], root)
    return root.hex()


def inclusion_path(hashes: Sequence[str], index: int) -> list[str]:
    """Return the hashes that lead from leaf `index` to the root, lowest first (2.1.3.1).

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(hashes):
        raise IndexError(f"no leaf {index} in a tree of {len(hashes)}")
    level, path = list(hashes), []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        level, index = _parents(level), index // 2
    return path


def leads_to_root(leaf: str, index: int, size: int, path: Sequence[str], root: str) -> bool:
    """Say whether `path` leads from `leaf` at `index` of `size` leaves to `root` (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    found, last, rest = leaf, size - 1, list(path)
    while last:
        if index % 2 or index < last:
            if not rest:
                return False
            beside = rest.pop(0)
            found = _node(beside, found) if index % 2 else _node(found, beside)
        index, last = index // 2, last // 2
    return not rest and found == root


def text_leaf(text: str) -> str:
    """Return the leaf hash of a text's UTF-8 bytes."""
    return leaf_hash(text.encode())


def _parents(level: list[str]) -> list[str]:
    pairs = [_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    return pairs + level[len(pairs) * 2 :]


def _node(left: str, right: str) -> str:
    return _parent(bytes.fromhex(left), bytes.fromhex(right)).hex()


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
