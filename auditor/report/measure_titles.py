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
}


def measure_title(name: str) -> str:
    """Return the title of a measure, by its name without version."""
    return _TITLES[name][0] if name in _TITLES else name.replace("-", " ")


def measure_meaning(name: str) -> str:
    """Return what a measure tells, in one sentence; empty where it is not listed."""
    return _TITLES[name][1] if name in _TITLES else ""
