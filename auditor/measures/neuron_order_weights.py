"""phi_U: are the neurons' partners by weight in the same order in both models?"""

from auditor.measures._neurons import combined_log10_p, layer_tests
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "neuron-order-weights",
    version=1,
    group="weights",
    unit="log10 p",
    bounds=(-float("inf"), 0.0),
    identical=None,
    closer="lower",
    symmetric=True,
    needs=("neurons",),
    reduce="pooled",
    access=Access.WEIGHTS,
    library="scipy",
    resampled=False,
    # A p of some 1e-300, from another implementation of Student's t.
    tolerance=(1e-9, 1e-9),
)
def neuron_order_weights(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that weights match at the neurons' own places by chance.

    Formula: in each layer the rows of the up projection (plain MLP: the incoming weights) of the
    suspect get partners in the reference by optimal assignment of their cosines; p is that of a
    one-sided Spearman correlation of a neuron's place with its partner's; Fisher over the layers.
    phi_U of Zhu et al., Independence Tests for Language Models (ICML 2025).

    Null: exact, whatever the training data were, where both models were initialised independently
    and trained by a method that treats the neurons of a layer alike (SGD, Adam): then every order
    of the suspect's neurons is equally likely, in each layer by itself. It holds without controls.

    Range: (-inf, 0]; each layer's p is cut at 1e-300. Symmetric.
    Degenerate: undefined with fewer than 10 neurons in a layer, and where depth, width or kind of
    MLP differ.

    Pitfalls: blind to a permuted or rotated copy (phi_MATCH is not). A shared seed or a shared
    initialisation is a dependence, and is found. The same weights as the order by activations:
    the two p-values are not independent, and are not to be combined as if they were.
    """
    return combined_log10_p(layer_tests(pair, "neuron", "weight"))
