import pytest

from auditor.cli.gate import parse_gate, result_values
from auditor.errors import GateError

MEASURES = {"logit-kl-forward", "embedding-cosine"}
VALUES = {"logit-kl-forward": 0.01, "embedding-cosine": None, "reading": "inconclusive"}


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        ("logit-kl-forward < 0.05", True),
        ("logit-kl-forward<0.005", False),
        ("logit-kl-forward <= 1e-2", True),
        ("embedding-cosine > 0.9", None),
        # Kleene: false and unknown is false, true or unknown is true.
        ("logit-kl-forward > 1 and embedding-cosine > 0.9", False),
        ("logit-kl-forward < 1 or embedding-cosine > 0.9", True),
        ("logit-kl-forward < 1 and embedding-cosine > 0.9", None),
        ("reading == inconclusive", True),
        ("reading != inconclusive or MI >= 10", None),
    ],
)
def test_expressions_have_their_truth(expression, truth):
    assert parse_gate(expression, MEASURES).holds(VALUES) is truth


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "cannot read"),
        ("kl < 1", "unknown name 'kl'"),
        ("logit-kl-forward < small", "not a number"),
        ("reading > imitation", "only be compared"),
        ("logit-kl-forward", "cannot read"),
    ],
)
def test_a_bad_expression_is_refused_before_any_work(expression, complaint):
    with pytest.raises(GateError, match=complaint):
        parse_gate(expression, MEASURES)


def test_likelihood_ratios_are_named_by_their_letters():
    result = {
        "measurements": [{"measure": "logit-kl-forward@1", "value": 0.5}],
        "conclusion": {"reading": "imitation", "log10_lr": {"imitation:independent": 2.0}},
    }
    values = result_values(result)
    assert values["MI"] == pytest.approx(100.0)
    assert values["RI"] is None
    assert values["logit-kl-forward"] == 0.5
