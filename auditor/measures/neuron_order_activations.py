"""phi_H: are the neurons' partners by activation in the same order in both models?"""

from auditor.measures._neurons import combined_log10_p, layer_tests
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access


@measure(
    "neuron-order-activations",
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
def neuron_order_activations(pair: Pair) -> float:
    """Base-10 logarithm of the p-value that activations match at the neurons' places by chance.

    Formula: in each layer the suspect's neurons get partners in the reference by optimal assignment
    of the cosines of their gate activations (plain MLP: of the neuron) on the same tokens; p is
    that of a one-sided Spearman correlation of a neuron's place with its partner's; Fisher over the
    layers. phi_H of Zhu et al., Independence Tests for Language Models (ICML 2025).

    Null: exact, whatever the training data and the tokens are, where both models were initialised
    independently and trained by a method that treats the neurons of a layer alike (SGD, Adam): then
    every order of the suspect's neurons is equally likely. It holds without controls.

    Range: (-inf, 0]; each layer's p is cut at 1e-300. Symmetric.
    Degenerate: undefined with fewer than 10 neurons in a layer, and where depth, width or kind of
    MLP differ.

    Pitfalls: blind to permuted neurons; sees through a rotated residual stream, where the order by
    weights does not. A shared seed or initialisation is a dependence, and is found. Not independent
    of the order by weights of the same models: the two p-values are not to be combined as if.
    """
    return combined_log10_p(layer_tests(pair, "neuron", "gate"))
