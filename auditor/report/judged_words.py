"""Names of what was judged, as the figures of a report write them."""

import math

from auditor.report.words import number

LINE_TITLES = {
    "fusion": "All together",
    "replication": "Neuron matching",
    "span": "Output space",
    "sample": "Suspect's words",
    "idiosyncrasy": "Unusual choices",
}
LINE_MEANING = (
    "Neuron matching: whether the neurons pair up. Output space: the directions that both output "
    "layers share. Suspect's words: whose words the suspect uses. Unusual choices: agreement where "
    "the reference is unlike the controls."
)
PAIR_TITLES = {
    "imitation:independent": "Imitation rather than independence",
    "replication:independent": "Copy rather than independence",
    "replication:imitation": "Copy rather than imitation",
}
PAIR_SIDES = {
    "imitation:independent": ("imitation", "independent"),
    "replication:independent": ("copy", "independent"),
    "replication:imitation": ("copy", "imitation"),
}
CLASS_TITLES = {
    "independent": "Independent models",
    "imitation": "Imitations",
    "replication": "Copies",
}
TEST_TITLES = {
    "sample-llr": "Whose words the suspect uses",
    "idiosyncratic-agreement": "Agreement where the reference is unusual",
}
NOT_MULTIPLIED = (
    "The lines look at the same two models on the same probes and go together: they are not to be "
    "multiplied."
)


def line_title(name: str) -> str:
    """Return the title of a line of evidence."""
    return LINE_TITLES.get(name, name)


def test_title(name: str) -> str:
    """Return the title of a decisive test."""
    return TEST_TITLES.get(name, name)


def ratio(log10_lr: float) -> str:
    """Return a likelihood ratio as people read it: ``44``, ``1/24``, ``1``.

    Two digits, rounded towards 1 as in the sentence of the conclusion: never more than was found.
    """
    value = 10.0 ** abs(log10_lr) * (1 + 1e-9)
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    size = number(math.floor(value / step) * step, 2)
    if size == "1":
        return "1"
    return size if log10_lr > 0 else f"1/{size}"
