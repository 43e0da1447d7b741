"""A whole case: what is read of weights, why something is not, and the same bytes again."""

import json
import shutil

import numpy as np
import pytest
from collect_world import collected, plan_of, save_model

from auditor.canon import directory_digests
from auditor.case import Case
from auditor.kernels import cka_stream
from auditor.measures._run import measure_pair
from auditor.pairing import load_pair
from auditor.panel import NEURON

KINDS = ("neurons", "span", "weight_cka")
NAMES = (
    "neuron-matching",
    "neuron-order-activations",
    "neuron-order-weights",
    "unembedding-span",
    "weight-cka",
)


def values(case, suspect):
    """Return {measure: value} and {measure: why undefined}."""
    found = measure_pair(load_pair(case, "reference", suspect), seed=0, resamples=0, names=NAMES)
    values = {one.measure.partition("@")[0]: one.value for one in found}
    return values, {one.measure.partition("@")[0]: one.undefined for one in found}


def edited(root, folder, change):
    """Return a copy of a model folder whose module `change` has been at."""
    from transformers import AutoModelForCausalLM

    shutil.copytree(folder, root)
    module = AutoModelForCausalLM.from_pretrained(folder)
    module.save_pretrained(change(module) or root)
    return root


@pytest.fixture(scope="module")
def folders(models, recorded, tmp_path_factory):
    import torch

    root = tmp_path_factory.mktemp("subjects")

    @torch.no_grad()
    def damage(module):
        module.model.layers[0].self_attn.k_proj.weight[0, 0] = float("nan")

    @torch.no_grad()
    def flip(module):
        # The same function: dimensions of the residual stream in reverse, every other negated.
        width = module.config.hidden_size
        sign = torch.where(torch.arange(width) % 2 == 0, 1.0, -1.0)
        for name, weight in module.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.copy_(weight.flip(0) * sign[:, None])
            elif weight.ndim == 2:
                weight.copy_(weight.flip(1) * sign)

    return {
        "reference": models.reference,
        "itself": models.reference,
        "other": models.other,
        "foreign": models.foreign,
        "wide": save_model(root / "wide", 5, width=48),
        "flipped": edited(root / "flipped", models.reference, flip),
        "damaged": edited(root / "damaged", models.reference, damage),
        "recorded": recorded,
    }


@pytest.fixture(scope="module")
def plan(folders):
    return plan_of(folders)


@pytest.fixture(scope="module")
def case(plan, tmp_path_factory):
    return collected(tmp_path_factory.mktemp("weights") / "case", plan)


def test_the_reference_itself_is_a_copy(case):
    found, _ = values(case, "itself")
    assert max(found[name] for name in NAMES[:3]) < -500
    assert found["unembedding-span"] == pytest.approx(1.0, abs=1e-9)
    assert found["weight-cka"] == pytest.approx(1.0, abs=1e-9)
    rows = load_pair(case, "reference", "itself").neurons
    assert rows.dtype == NEURON
    assert (rows["gate"] == rows["neuron"]).all()
    np.testing.assert_allclose(rows["weight_cosine"], 1.0)


def test_another_model_is_not(case):
    found, _ = values(case, "other")
    assert min(found[name] for name in NAMES[:3]) > -4
    assert found["unembedding-span"] == pytest.approx(32 / 258, abs=0.05)  # d / (V - 1)
    assert abs(found["weight-cka"]) < 0.2


def test_reordered_dimensions_are_aligned_by_the_embeddings(case):
    found, _ = values(case, "flipped")
    assert found["weight-cka"] == pytest.approx(1.0, abs=1e-6)
    assert found["unembedding-span"] == pytest.approx(1.0, abs=1e-6)
    assert found["neuron-matching"] < -500


def test_weight_cka_is_that_of_each_pair_of_layers(case, folders):
    from transformers import AutoModelForCausalLM

    sides = [AutoModelForCausalLM.from_pretrained(folders[n]) for n in ("reference", "flipped")]
    found = load_pair(case, "reference", "flipped").weight_cka
    assert found.shape == (2, 2, 2)
    sign = np.where(np.arange(32) % 2 == 0, 1.0, -1.0)
    for ours in range(2):
        for theirs in range(2):
            for what, name in enumerate(("q_proj", "k_proj")):
                x, y = (
                    getattr(side.model.layers[layer].self_attn, name).weight.detach().double().T
                    for side, layer in zip(sides, (ours, theirs), strict=True)
                )
                expected = cka_stream([(x.numpy(), y.flip(0).numpy() * sign[::-1, None])])
                assert found[ours, theirs, what] == pytest.approx(expected, abs=1e-9)


def test_what_cannot_be_compared_says_why(case):
    found, why = values(case, "wide")
    assert why["neuron-matching"] == (
        "wide: different widths: layer 0 has 64 neurons in the reference, 96 here"
    )
    assert found["unembedding-span"] is not None
    assert found["weight-cka"] is not None
    found, why = values(case, "foreign")
    assert "different vocabularies" in why["neuron-matching"]
    assert "different vocabularies" in why["unembedding-span"]
    assert abs(found["weight-cka"]) < 0.2  # the tokens that both have are enough
    found, why = values(case, "damaged")
    assert found == dict.fromkeys(NAMES)
    assert "NaN" in why["neuron-matching"]
    assert why["weight-cka"] == ("damaged: the attention weights of layer 0 hold NaN or infinity")
    found, why = values(case, "recorded")
    assert found == dict.fromkeys(NAMES)
    assert "offers TEXT access only, WEIGHTS is needed" in why["weight-cka"]


def test_a_complete_case_keeps_nothing_of_the_reference(case):
    assert not [path for path in case.work.rglob("*") if path.suffix in (".npz", ".npy")]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Return a plain model, and a deeper one, beside a gated reference."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

    root = tmp_path_factory.mktemp("shapes")
    reference = save_model(root / "reference", 0)
    tokenizer = AutoTokenizer.from_pretrained(reference)
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    plain = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_inner=64,
        n_positions=512,
        **ids,
    )
    GPT2LMHeadModel(plain).save_pretrained(root / "plain")
    tokenizer.save_pretrained(root / "plain")
    config = LlamaForCausalLM.from_pretrained(reference).config
    config.num_hidden_layers = 3
    LlamaForCausalLM(config).save_pretrained(root / "deep")
    tokenizer.save_pretrained(root / "deep")
    return {"reference": reference, "plain": root / "plain", "deep": root / "deep"}


def test_other_shapes_are_undefined(shapes, tmp_path):
    # One text is not enough for the neurons of anybody; the shapes are looked at first.
    case = collected(tmp_path / "case", plan_of(shapes, probes=6))
    assert values(case, "plain")[1]["neuron-matching"] == (
        "plain: different MLPs: gated in the reference, plain here"
    )
    assert values(case, "deep")[1]["neuron-matching"] == (
        "deep: different depths: 2 layers of the reference, 3 here"
    )
    assert load_pair(case, "reference", "deep").weight_cka.shape == (2, 3, 2)
    assert load_pair(case, "reference", "plain").weight_cka.shape == (2, 2, 2)


def test_plain_models_are_compared_by_what_their_neurons_write(shapes, tmp_path):
    names = {"reference": shapes["plain"], "itself": shapes["plain"]}
    case = collected(tmp_path / "case", plan_of(names, probes=6))
    found, _ = values(case, "itself")
    assert max(found[name] for name in NAMES[:3]) < -100


def test_few_positions_are_undefined(models, tmp_path):
    decoding = {"max_new_tokens": 1, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
    names = {"reference": models.reference, "other": models.other}
    plan = plan_of(names, probes=2, suites=("reasoning",), repeats=1, decoding=decoding)
    case = collected(tmp_path / "case", plan)
    assert values(case, "other")[1]["neuron-matching"] == (
        "other: of the reference: 2 token positions; at least 16 are needed"
    )


def test_span_from_logits_equals_the_span_from_weights(case, models, tmp_path):
    names = {"reference": models.reference, "itself": models.reference, "other": models.other}
    by_logits = collected(tmp_path / "case", plan_of(names, access="LOGITS"))
    for name in ("itself", "other"):
        ours, theirs = (load_pair(one, "reference", name).span for one in (case, by_logits))
        np.testing.assert_allclose(theirs, ours, atol=1e-4)
    why = values(by_logits, "other")[1]
    assert "the plan allows LOGITS access only, WEIGHTS is needed" in why["neuron-matching"]
    assert not list(by_logits.work.rglob("*.npy"))


@pytest.mark.parametrize("kept", ["stage", "weights", "arrays"])
def test_cut_run_gives_the_same_bytes(case, plan, tmp_path, kept):
    root = tmp_path / "case"
    shutil.copytree(case.root, root)
    shutil.rmtree(root / "data" / "collected")
    # Nothing in work/ is left; of the arrays all, none, or one is cut inside a layer.
    if kept == "weights":
        for kind in KINDS:
            shutil.rmtree(root / "data" / "arrays" / kind)
    elif kept == "arrays":
        path = root / "data" / "arrays" / "neurons" / "other.npy"
        path.with_name("other.npy.part").write_bytes(path.read_bytes()[:-300])
        path.unlink()
    again = collected(root, plan)
    assert digests(again) == digests(case)


def digests(case: Case):
    found = directory_digests(case.data)
    found.pop("custody.jsonl")
    missing = {
        path.stem: json.loads(path.read_bytes())["missing"]
        for path in (case.data / "collected").iterdir()
    }
    return found, missing
