"""Models and one collected case that the tests of this folder share."""

import json
from types import SimpleNamespace

import pytest
from collect_world import collected, plan_of, save_model
from server_process import model_server


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a reference, another model, and one with another vocabulary."""
    root = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        root=root,
        reference=save_model(root / "reference", 0),
        other=save_model(root / "other", 1),
        foreign=save_model(root / "foreign", 2, extra_tokens=1),
    )


@pytest.fixture(scope="session")
def recorded(models):
    """Return a file with one reply to each planned probe but the first, one of them empty."""
    plan = plan_of({"reference": models.reference})
    probes = [probe for suite in plan["suites"] for probe in suite["probes"]]
    texts = ["", *(f"the reply to {probe}" for probe in probes[2:])]
    lines = [
        json.dumps({"probe_id": probe, "text": text})
        for probe, text in zip(probes[1:], texts, strict=True)
    ]
    path = models.root / "recorded.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def small_plan(models, recorded):
    names = {
        "reference": models.reference,
        "other": models.other,
        "recorded": recorded,
        "foreign": models.foreign,
    }
    # 40 tokens, 8 times as many for models of this size: some groups of replies, and some passes.
    plan = plan_of(names, probes=6, batch_tokens=40)
    for subject in plan["subjects"][2:]:
        subject["role"] = "independent"  # two families, so that replies are crossed
    return plan


@pytest.fixture(scope="session")
def plan(models, recorded):
    """Return a plan with every kind of subject."""
    return plan_of(
        {
            "reference": models.reference,
            "itself": models.reference,
            "other": models.other,
            "foreign": models.foreign,
            "recorded": recorded,
        }
    )


@pytest.fixture(scope="session")
def case(plan, tmp_path_factory):
    """Return the plan's case, collected without interruption; tests must not change it."""
    return collected(tmp_path_factory.mktemp("case") / "case", plan)


@pytest.fixture(scope="session")
def served(models, tmp_path_factory):
    """A server process with the model `other`."""
    with model_server(models.other, tmp_path_factory.mktemp("server")) as running:
        yield running
