"""Measures in plain words. A measure that is not listed keeps its own name."""

_TITLES = {
    "answer-shared": (
        "Same answer to checkable questions",
        "Share of questions with a checkable answer where both give the same one, right or wrong.",
    ),
    "answer-shared-error": (
        "Same wrong answer",
        "Where both answer a checkable question wrongly: how often with the same wrong answer.",
    ),
    "embedding-cka": (
        "Likeness of the pattern of replies (CKA)",
        "Whether the same probes lead to similar replies in both models, by embeddings; debiased.",
    ),
    "embedding-cosine": (
        "Likeness of meaning, reply by reply",
        "Cosine of the sentence embeddings of matching replies.",
    ),
    "embedding-mmd": (
        "Distance of the two sets of replies",
        "How different the replies are as two clouds of sentence embeddings.",
    ),
    "embedding-mutual-knn": (
        "Shared nearest replies",
        "Of the probes with the most similar replies in one model, the share that the other "
        "model has as well.",
    ),
    "hidden-cka": (
        "Likeness of inner states (CKA)",
        "Whether both models arrange the same texts alike in their last hidden states; debiased.",
    ),
    "hidden-mutual-knn": (
        "Shared nearest inner states",
        "Of the texts nearest to each other in one model's hidden states, the share that the "
        "other model has as well.",
    ),
    "logit-hellinger": (
        "Hellinger distance",
        "Distance of the two distributions of the next token, from 0 to 1.",
    ),
    "logit-js": (
        "Jensen-Shannon divergence",
        "Symmetric divergence of the two distributions of the next token.",
    ),
    "logit-kl-forward": (
        "KL divergence from the reference",
        "Extra nats a token when the suspect's probabilities predict what the reference would say.",
    ),
    "logit-kl-reverse": (
        "KL divergence from the suspect",
        "Extra nats a token when the reference's probabilities predict what the suspect would say.",
    ),
    "logit-rank": (
        "Rank of the reference's first choice",
        "Mean of 1 / rank that the suspect gives to the reference's likeliest token.",
    ),
    "logit-top1": (
        "Same likeliest token",
        "Share of positions where both models put the same token first.",
    ),
    "logit-topk-overlap": (
        "Shared likely tokens",
        "Share of the ten likeliest tokens that both models have.",
    ),
    "logit-tv": (
        "Total variation distance",
        "Largest difference in the probability of any set of next tokens.",
    ),
    "text-chrf": (
        "Character likeness (chrF)",
        "Overlap of character sequences of matching replies.",
    ),
    "text-ngram-overlap": (
        "Shared word sequences",
        "Share of three-word sequences that matching replies have in common.",
    ),
    "answer-adjusted-error": (
        "Same wrong answer, beyond what the controls share",
        "Shared wrong answers less those that the controls give to the same question.",
    ),
    "divergence-gap": (
        "Closer than the closest control",
        "Divergence from the nearest control less that from the reference: above 0, the "
        "reference is nearer.",
    ),
    "first-token-agreement": (
        "Same unusual first token",
        "Where the first token that the reference expects of its reply is not the controls': how "
        "often the suspect expects it too.",
    ),
    "first-token-gap": (
        "First tokens closer than the closest control's",
        "At the first token of each reply, divergence from the nearest control less that from the "
        "reference: above 0, the reference is nearer.",
    ),
    "equality-mmd": (
        "Same model? By the replies",
        "Whether the replies could come from one model: for drift and substitution, says nothing "
        "of descent.",
    ),
    "equality-rank": (
        "Same model? By likelihood ranks",
        "Whether the replies rank among the reference's own as its own would: for drift and "
        "substitution, says nothing of descent.",
    ),
    "idiosyncratic-agreement": (
        "Agreement where the reference is unusual",
        "Where the reference's first choice is not the controls': how often the suspect shares it.",
    ),
    "merge-share": (
        "Share of the reference in a merge",
        "The reference's part in the mixture of candidate parents that fits the weights best.",
    ),
    "neuron-matching": (
        "Neuron matching",
        "Whether the neurons of both models pair up alike by two independent features: base-10 "
        "logarithm of the p-value.",
    ),
    "neuron-order-activations": (
        "Same order of neurons, by activity",
        "Whether the best pairing of neurons keeps their order: base-10 logarithm of the p-value.",
    ),
    "neuron-order-weights": (
        "Same order of neurons, by weights",
        "Whether the best pairing of neurons keeps their order: base-10 logarithm of the p-value.",
    ),
    "own-residual-correlation": (
        "Common deviations in the suspect's own replies",
        "Correlation of how both deviate from the controls in the probability of each reply of "
        "the suspect.",
    ),
    "palimpsest": (
        "Trace of the training order",
        "Whether the suspect remembers later texts of the committed training order better: "
        "base-10 logarithm of the p-value.",
    ),
    "rederived-share": (
        "Weights derived again, bit for bit",
        "Largest share of the weights that a known transform of the reference gives exactly.",
    ),
    "residual-correlation": (
        "Common deviations from the controls",
        "Correlation of how both deviate from the controls in the probability of each token.",
    ),
    "sample-llr": (
        "Whose words the suspect uses",
        "How much likelier the reference finds the suspect's own replies than similar models do.",
    ),
    "unembedding-span": (
        "Common space of the output layer",
        "Overlap of the directions that both output layers can produce.",
    ),
    "weight-cka": (
        "Likeness of attention weights",
        "Whether query and key weights of matching layers are alike, after alignment.",
    ),
}


def measure_title(name: str) -> str:
    """Return the title of a measure, by its name without version."""
    return _TITLES[name][0] if name in _TITLES else name.replace("-", " ")


def measure_meaning(name: str) -> str:
    """Return what a measure tells, in one sentence; empty where it is not listed."""
    return _TITLES[name][1] if name in _TITLES else ""
