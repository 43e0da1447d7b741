"""Which models stay in memory, and for how long."""

import pytest
from collect_world import plan_of

from auditor.collect.shelf import Shelf, shelf_budget, weight_bytes
from auditor.errors import CaseError
from auditor.types import Access, ModelRef


@pytest.fixture
def plan(models, recorded):
    names = {"reference": models.reference, "other": models.other, "recorded": recorded}
    return plan_of(names, probes=2)


@pytest.fixture
def opened(monkeypatch):
    """Return the specifiers of the models that were loaded, as they are loaded."""
    import auditor.models as package

    loaded = []
    real = package.open_model

    def counted(spec, **options):
        loaded.append(spec)
        return real(spec, **options)

    monkeypatch.setattr(package, "open_model", counted)
    return loaded


def use(shelf, subject):
    with shelf.use(subject) as model:
        assert model.ref.digest == subject["digest"]
    return model


def specs(plan):
    return [subject["spec"] for subject in plan["subjects"]]


def test_models_needed_again_are_loaded_once(plan, opened):
    with Shelf(plan, again=specs(plan)) as shelf:
        models = [use(shelf, subject) for subject in plan["subjects"] * 2]
    assert opened == specs(plan)
    assert models[0] is models[3]
    assert all(model._loaded is None for model in models if hasattr(model, "_loaded"))


def test_models_needed_once_are_closed_after_use(plan, opened):
    with Shelf(plan, again=specs(plan)[:1]) as shelf:
        other = use(shelf, plan["subjects"][1])
        assert other._loaded is None
        reference = use(shelf, plan["subjects"][0])
        assert reference._loaded is not None
    assert reference._loaded is None


def test_budget_keeps_the_first_and_reopens_the_rest(plan, opened):
    reference, other, _ = plan["subjects"]
    with Shelf(plan, again=specs(plan)) as shelf:
        one = weight_bytes(use(shelf, reference).ref)
    opened.clear()
    # Both models are of one size: the budget holds one of them.
    with Shelf(plan, again=specs(plan), budget=one) as shelf:
        for subject in (reference, other, reference, other):
            model = use(shelf, subject)
            assert (model._loaded is None) == (subject is other)
    assert opened == [reference["spec"], other["spec"], other["spec"]]


def test_without_a_budget_no_two_models_are_open(plan, opened):
    with Shelf(plan, again=specs(plan), budget=0) as shelf:
        assert all(use(shelf, subject)._loaded is None for subject in plan["subjects"][:2])


def test_subjects_of_one_model_share_it(plan, opened):
    twin = {**plan["subjects"][0], "name": "twin"}
    with Shelf(plan) as shelf, shelf.use(plan["subjects"][0], twin) as model:
        assert model._loaded is not None
    assert len(opened) == 1


def test_failure_inside_closes_the_model(plan):
    lent = []

    def fail(shelf):
        with shelf.use(plan["subjects"][0]) as model:
            lent.append(model)
            raise RuntimeError("stop")

    with Shelf(plan, again=specs(plan)) as shelf:
        with pytest.raises(RuntimeError, match="stop"):
            fail(shelf)
        assert lent[0]._loaded is None


def test_another_model_than_planned_is_refused_and_closed(plan):
    wrong = {**plan["subjects"][0], "digest": "sha256:" + "0" * 64}
    with (
        Shelf(plan, again=specs(plan)) as shelf,
        pytest.raises(CaseError, match="not the model that was planned"),
        shelf.use(plan["subjects"][0], wrong),
    ):
        pytest.fail("it was lent")


@pytest.mark.parametrize(
    ("parameters", "dtype", "size"),
    # 4 bytes a parameter in float32, 2 in the half types; recorded outputs have none.
    [(10, "float32", 40), (10, "bfloat16", 20), (10, "float16", 20), (None, None, 0)],
)
def test_weights_are_counted_in_the_type_they_run_in(parameters, dtype, size):
    ref = ModelRef(spec="s", access=Access.TEXT, parameters=parameters, dtype=dtype)
    assert weight_bytes(ref) == size


def test_budget_is_a_quarter_of_the_memory_or_less():
    import psutil

    found = shelf_budget("cpu")
    assert 0 < found <= psutil.virtual_memory().total / 4 + 4096


def test_small_model_runs_on_one_core_and_the_number_comes_back(plan):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Shelf(plan) as shelf, shelf.use(plan["subjects"][0]):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
