"""The palimpsestic test on real runs: a copy follows the order of its parent, others do not."""

import pytest
from collect_world import collected, plan_of

from auditor.distill.recipe import recipe_from
from auditor.distill.run import distill
from auditor.measures._run import measure_pair
from auditor.pairing import Pairs


def train(folder, start, **train):
    """Train a model further on one text a step; return its specifier."""
    seed = train.pop("corpus", 11)
    values = {
        "student": {"from": start},
        "data": {
            "corpus": {"name": "almanac", "seed": seed, "documents": 256},
            "max_length": 128,
        },
        "method": {"kind": "baseline"},
        "train": {"batch_tokens": 128, "lr": 2e-3, "schedule": "constant", "steps": 300, **train},
    }
    distill(recipe_from(values, folder.parent), folder)
    return f"local:{folder / 'student'}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_fine_tuned_copy_follows_the_order_and_runs_in_another_order_do_not(tmp_path):
    reference = train(tmp_path / "reference", "tiny:teacher", seed=1)
    copy = train(tmp_path / "copy", reference, seed=6, corpus=77, steps=50, lr=6e-4)
    # The same start and texts, in another order.
    twin = train(tmp_path / "twin", "tiny:teacher", seed=2)
    control = train(tmp_path / "control", "tiny:teacher", seed=3)
    plan = plan_of(
        {
            "reference": reference,
            "itself": reference,
            "copy": copy,
            "twin": twin,
            "untrained": "tiny:teacher",
            "stranger": "tiny:sibling",
            "control": control,
        },
        probes=1,
        repeats=1,
        batch_tokens=2048,
    )
    plan["subjects"][-1]["role"] = "independent"
    pairs = Pairs(collected(tmp_path / "case", plan))

    def log10_p(suspect):
        pair = pairs.load("reference", suspect)
        (found,) = measure_pair(pair, seed=0, names=["palimpsest"])
        assert found.value is not None, found.undefined
        return found.value

    assert log10_p("itself") < -6.0
    assert log10_p("copy") < -4.0
    for name in ("twin", "untrained", "stranger"):
        assert log10_p(name) > -2.0
