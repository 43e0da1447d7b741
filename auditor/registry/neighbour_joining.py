"""A tree from distances: neighbour joining, and its Newick text.

Saitou & Nei 1987, "The neighbor-joining method", Mol. Biol. Evol. 4:406-425, with the criterion of
Studier & Keppler 1988, which gives the same tree in O(n^3). Distances that fit a tree exactly give
that tree back.
"""

import re
from dataclasses import dataclass

import numpy as np

from auditor.types import Array


@dataclass(frozen=True, slots=True)
class Branch:
    """A node and what hangs on it; a leaf has a number and no children."""

    length: float
    """To its parent; 0 or more."""
    leaf: int | None = None
    children: "tuple[Branch, ...]" = ()


def neighbour_joining(distances: Array) -> Branch:
    """Return the tree of symmetric distances (n, n), its root at leaf 0; n is at least 2.

    The tree has no root of its own: leaf 0 is put where one is drawn, and its only child is the
    rest. Of two siblings one may come out with a negative length; it gets 0 and the other the
    whole way between them, as Kuhner & Felsenstein 1994 do.

    Raises:
        ValueError: not square, not symmetric, not finite, or fewer than 2 leaves.
    """
    table = np.array(distances, dtype=np.float64)
    count = len(table)
    if table.shape != (count, count) or count < 2 or not np.isfinite(table).all():
        raise ValueError(f"no finite square table of at least 2 leaves: shape {table.shape}")
    if not np.array_equal(table, table.T):
        raise ValueError("the distances are not symmetric")
    links: dict[int, list[tuple[int, float]]] = {number: [] for number in range(count)}
    active = list(range(count))
    while len(active) > 2:
        table, active = _joined(table, active, links)
    _link(links, active[0], active[1], max(0.0, float(table[0, 1])))
    return _rooted(links, count)


def _joined(
    table: Array, active: list[int], links: dict[int, list[tuple[int, float]]]
) -> tuple[Array, list[int]]:
    """Join the two nearest neighbours to a new node; return the smaller table and its nodes."""
    count = len(active)
    sums = table.sum(axis=1)
    criterion = (count - 2) * table - sums[:, None] - sums[None, :]
    criterion[np.tril_indices(count)] = np.inf
    i, j = divmod(int(np.argmin(criterion)), count)
    between = float(table[i, j])
    to_i = between / 2 + float(sums[i] - sums[j]) / (2 * (count - 2))
    to_i = min(max(to_i, 0.0), max(between, 0.0))
    node = max(links) + 1
    links[node] = []
    _link(links, node, active[i], to_i)
    _link(links, node, active[j], max(between, 0.0) - to_i)
    kept = [number for number in range(count) if number not in (i, j)]
    to_node = (table[i, kept] + table[j, kept] - between) / 2
    smaller = np.zeros((count - 1, count - 1))
    smaller[:-1, :-1] = table[np.ix_(kept, kept)]
    smaller[-1, :-1] = smaller[:-1, -1] = to_node
    return smaller, [*(active[number] for number in kept), node]


def _link(links: dict[int, list[tuple[int, float]]], one: int, other: int, length: float) -> None:
    links[one].append((other, length))
    links[other].append((one, length))


def _rooted(links: dict[int, list[tuple[int, float]]], count: int) -> Branch:
    """Return the tree seen from leaf 0; without recursion, as a tree may be 1,000 nodes deep."""
    order, parents = [(0, 0.0)], {0: -1}
    for node, _ in order:
        fresh = [(other, length) for other, length in links[node] if other not in parents]
        parents.update((other, node) for other, _ in fresh)
        order += fresh
    children: dict[int, list[Branch]] = {node: [] for node in links}
    made = Branch(0.0, 0)
    for node, length in reversed(order):
        leaf = node if node < count else None
        made = Branch(length, leaf, tuple(sorted(children[node], key=_size_and_first)))
        if node:
            children[parents[node]].append(made)
    return made


def _size_and_first(branch: Branch) -> tuple[int, int]:
    """Order small branches before large ones: the drawing then reads like a staircase."""
    found = leaves(branch)
    return len(found), min(found)


def leaves(branch: Branch) -> list[int]:
    """Return the leaves of a branch from first to last."""
    found, waiting = [], [branch]
    while waiting:
        one = waiting.pop()
        if one.leaf is not None:
            found.append(one.leaf)
        waiting += reversed(one.children)
    return found


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a tree as a list."""

    parent: int | None
    """Place of its parent in the list, which comes before it; None for the root."""
    length: float
    leaf: int | None


def flat(branch: Branch) -> list[Node]:
    """Return the nodes of a tree, each after its parent, children in order."""
    found: list[Node] = []
    waiting: list[tuple[int | None, Branch]] = [(None, branch)]
    while waiting:
        parent, one = waiting.pop()
        waiting += [(len(found), child) for child in reversed(one.children)]
        found.append(Node(parent, one.length, one.leaf))
    return found


def newick(branch: Branch, names: list[str]) -> str:
    """Return the tree in Newick form; names are quoted where the form asks for it."""
    parts: list[str] = []
    waiting: list[Branch | str] = [branch]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            parts.append(one)
            continue
        name = "" if one.leaf is None else _quoted(names[one.leaf])
        waiting.append(f"{name}:{one.length:.6g}")
        if one.children:
            separated = [part for child in one.children for part in (",", child)][1:]
            waiting += [")", *reversed(separated), "("]
    return "".join(parts) + ";"


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]+", name) else "'" + name.replace("'", "''") + "'"
