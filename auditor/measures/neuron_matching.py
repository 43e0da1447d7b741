"""phi_MATCH: do two sides of a neuron name the same partner in the reference?"""

from auditor.measures._neurons import combined_log10_p, layer_tests
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "neuron-matching",
    version=1,
    group="weights",
    unit="log10 p",
    bounds=(-float("inf"), 0.0),
    identical=None,
    closer="lower",
    symmetric=False,
    needs=("neurons",),
    reduce="pooled",
    access=Access.WEIGHTS,
    library="scipy",
    resampled=False,
    # A p of some 1e-300, from another implementation of Student's t.
    tolerance=(1e-9, 1e-9),
)
def neuron_matching(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that gate and up partners of the neurons agree by chance.

    Formula: in each layer the suspect's neurons get partners in the reference by optimal assignment
    of gate activations, and again of up activations, on the same tokens; p is that of a one-sided
    Spearman correlation of the two lists of partners; Fisher over the layers. phi_MATCH of Zhu et
    al., Independence Tests for Language Models (ICML 2025). A plain MLP has one projection: its
    activation is paired with what the neuron writes, seen through the unembedding.

    Null: independent initialisation and training. Not formally exact: independent models learn some
    neurons alike, and both sides of such a neuron name the same partner. For plain MLPs the
    directions that both models use most are left out first; p is then uniform over pairs of trained
    GPT-2 models, as it is over pairs of trained Llama models. Controls are measured beside it.

    Range: (-inf, 0]; each layer's p is cut at 1e-300. Survives permuted neurons, neurons of flipped
    sign, a rotated residual stream, quantisation, pruning, fine-tuning and merging.
    Degenerate: undefined with fewer than 10 neurons in a layer, and where depth, width or kind of
    MLP differ.

    Pitfalls: the wider a layer, the smaller a share of neurons learnt alike makes p small (2 % were
    in tiny models; 2,000 neurons would show it). A copy agrees in most of its neurons: read the
    share that `layer_p` gives for each layer. Models that start from one public initialisation, or
    from one base, match as a copy does: it says "common ancestor", without direction. It cannot see
    distillation. Retrained or re-factorised MLPs escape.
    """
    return combined_log10_p(layer_tests(pair, "gate", "up"))
