import numpy as np
import pytest

from auditor.registry.neighbour_joining import flat, leaves, neighbour_joining, newick


def table(rows):
    """Fill a symmetric table from its lower triangle."""
    full = np.zeros((len(rows) + 1, len(rows) + 1))
    for i, row in enumerate(rows, start=1):
        full[i, :i] = row
    return full + full.T


def path_lengths(tree):
    """Return (n, n) the lengths of the paths between the leaves, by walking up from each."""
    nodes = flat(tree)

    def upwards(index):
        found, total = {}, 0.0
        while index is not None:
            found[index] = total
            total += nodes[index].length
            index = nodes[index].parent
        return found

    at = {node.leaf: index for index, node in enumerate(nodes) if node.leaf is not None}
    ways = [upwards(at[leaf]) for leaf in range(len(at))]
    return np.array([[min(a[k] + b[k] for k in a.keys() & b.keys()) for b in ways] for a in ways])


# Saitou & Nei 1987, the example of figure 1 and table 1: eight units, whose neighbours are [1, 2],
# [5, 6], [7, 8], [1-2, 3] and [1-2-3, 4].
SAITOU_NEI = table(
    [
        [7],
        [8, 5],
        [11, 8, 5],
        [13, 10, 7, 8],
        [16, 13, 10, 11, 5],
        [13, 10, 7, 8, 6, 9],
        [17, 14, 11, 12, 10, 13, 8],
    ]
)


def test_the_example_of_saitou_and_nei():
    tree = neighbour_joining(SAITOU_NEI)
    assert newick(tree, list("12345678")) == (
        "((2:2,(3:1,(4:3,((5:1,6:4):2,(7:2,8:6):1):2):1):2):5)1:0;"
    )
    assert np.allclose(path_lengths(tree), SAITOU_NEI)


def test_the_five_taxa_of_the_textbook():
    # https://en.wikipedia.org/wiki/Neighbor_joining, "Example": a 2, b 3, c 4, d 2, e 1, inner 3, 2
    distances = table([[5], [9, 10], [9, 10, 8], [8, 9, 7, 3]])
    tree = neighbour_joining(distances)
    assert newick(tree, list("abcde")) == "((b:3,(c:4,(d:2,e:1):2):3):2)a:0;"


@pytest.mark.parametrize("seed", range(5))
def test_distances_of_a_tree_give_the_tree_back(seed):
    # Studier & Keppler 1988: an additive table is recovered exactly. A random tree: each new leaf
    # hangs on a random earlier node.
    rng = np.random.RandomState(seed)
    parents = [rng.randint(n) for n in range(1, 40)]
    lengths = rng.uniform(0.1, 3.0, size=39)
    full = np.zeros((40, 40))
    for node, (parent, length) in enumerate(zip(parents, lengths, strict=True), start=1):
        full[node, :node] = full[parent, :node] + length
        full[:node, node] = full[node, :node]
    assert np.allclose(path_lengths(neighbour_joining(full)), full)


def first_joined(table):
    """Return the pair of least total length, by equation 4 of Saitou & Nei 1987 as it stands."""
    count = len(table)

    def total(i, j):
        rest = [k for k in range(count) if k not in (i, j)]
        to_others = sum(table[i, k] + table[j, k] for k in rest) / (2 * (count - 2))
        among = sum(table[k, m] for k in rest for m in rest if k < m) / (count - 2)
        return to_others + table[i, j] / 2 + among

    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    return min(pairs, key=lambda pair: total(*pair))


@pytest.mark.parametrize("seed", range(40))
def test_the_pair_of_least_total_length_is_joined_first(seed):
    rng = np.random.RandomState(seed)
    distances = rng.uniform(0.2, 1, size=(6, 6))
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    i, j = first_joined(distances)
    nodes = flat(neighbour_joining(distances))
    at = {node.leaf: index for index, node in enumerate(nodes) if node.leaf is not None}
    # Leaf 0 is drawn as the root: its only child is the node that it hangs on.
    above = [1 if leaf == 0 else nodes[at[leaf]].parent for leaf in (i, j)]
    assert above[0] == above[1]


def test_two_and_three_leaves():
    assert newick(neighbour_joining(table([[3]])), ["a", "b"]) == "(b:3)a:0;"
    # Three points: a = (3 + 4 - 5)/2 = 1, b = (3 + 5 - 4)/2 = 2, c = (4 + 5 - 3)/2 = 3
    tree = neighbour_joining(table([[3], [4, 5]]))
    assert newick(tree, list("abc")) == "((b:2,c:3):1)a:0;"


def test_no_branch_is_negative_and_no_leaf_is_lost():
    rng = np.random.RandomState(3)
    noise = rng.uniform(0, 1, size=(60, 60))
    noise = (noise + noise.T) / 2
    np.fill_diagonal(noise, 0)
    tree = neighbour_joining(noise)
    assert min(node.length for node in flat(tree)) >= 0
    assert sorted(leaves(tree)) == list(range(60))


def test_a_chain_of_a_thousand_models_needs_no_recursion():
    chain = np.abs(np.subtract.outer(np.arange(1000.0), np.arange(1000.0)))
    tree = neighbour_joining(chain)
    assert len(leaves(tree)) == 1000
    assert newick(tree, [str(n) for n in range(1000)]).count(":") == len(flat(tree))


def test_names_that_would_break_the_newick_form_are_quoted():
    tree = neighbour_joining(table([[1]]))
    assert newick(tree, ["a(b", "it's"]) == "('it''s':1)'a(b':0;"


@pytest.mark.parametrize(
    "distances",
    [np.zeros((1, 1)), np.zeros((2, 3)), [[0, 1], [2, 0]], [[0, np.nan], [np.nan, 0]]],
)
def test_what_is_no_table_of_distances_is_refused(distances):
    with pytest.raises(ValueError, match=r"square|symmetric"):
        neighbour_joining(distances)
