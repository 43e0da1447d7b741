from types import SimpleNamespace

import numpy as np
import pytest
import torch

from auditor.errors import AccessError, SubjectError
from auditor.models import open_model
from auditor.models.unembedding import head_of, logits_of

ARCHITECTURES = ("llama", "gpt2", "gemma2", "granite", "cohere", "phi")
SEQUENCES = [[256, 104, 105], [5], [7, 8, 9, 10, 11, 12, 13, 200, 201], [256, 1], []]


def own_logits(model, ids):
    """(T, V) logits by the module's own forward, in float64, real vocabulary only."""
    with torch.inference_mode():
        return model.module(torch.tensor([ids])).logits[0, :, :259].double()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_head_times_hidden_is_what_the_module_computes(opened, name):
    model = opened[name]
    head = model.head()
    assert head.vocabulary == 259
    states = list(model.hidden(SEQUENCES))
    for ids, hidden in zip(SEQUENCES, states, strict=True):
        assert hidden.shape == (len(ids), 32)
        if ids:
            found = logits_of(head, hidden).double()
            torch.testing.assert_close(found, own_logits(model, ids), atol=2e-5, rtol=1e-5)


def test_scale_and_softcap_are_read_from_the_config(opened):
    # Granite divides by logits_scaling = 4, Cohere multiplies by logit_scale = 1/4.
    assert opened["granite"].head().scale == 0.25
    assert opened["cohere"].head().scale == 0.25
    assert opened["gemma2"].head().softcap == 3.0
    assert opened["phi"].head().bias.shape == (259,)
    assert opened["llama"].head().softcap is None


def test_a_scaling_that_multiplies_is_recognised_by_the_logits(folders):
    module = open_model(str(folders["llama"]), device="cpu").module
    module.config.logits_scaling = 4.0  # as HyperCLOVA X: lm_head(h) * logits_scaling
    own = module.forward
    module.forward = lambda **inputs: SimpleNamespace(logits=own(**inputs).logits * 4)
    assert head_of(module, 259).scale == 4.0


def test_a_head_of_another_kind_is_refused(folders):
    module = open_model(str(folders["llama"]), device="cpu").module
    own = module.forward
    module.forward = lambda **inputs: SimpleNamespace(logits=own(**inputs).logits * 1.01)
    with pytest.raises(AccessError, match="not a plain unembedding"):
        head_of(module, 259)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_padding_on_either_side_changes_no_state_beyond_rounding(opened, name):
    model = opened[name]
    right = model.hidden_batch(SEQUENCES)
    left = model.hidden_batch(SEQUENCES, padding_side="left")
    for index, ids in enumerate(SEQUENCES):
        (alone,) = model.hidden_batch([ids])
        torch.testing.assert_close(right[index], alone, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(left[index], alone, atol=2e-5, rtol=1e-4)


def test_one_batch_gives_the_same_bits_twice_and_as_the_stream(llama):
    batch = [SEQUENCES[2], SEQUENCES[0], SEQUENCES[1]]  # longest first: one planned batch
    first, again, stream = llama.hidden_batch(batch), llama.hidden_batch(batch), llama.hidden(batch)
    for a, b, c in zip(first, again, stream, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_states_come_in_the_order_given_whatever_the_batches(folders):
    small = open_model(str(folders["llama"]), device="cpu", batch_tokens=4)
    large = open_model(str(folders["llama"]), device="cpu", batch_tokens=4096)
    for a, b in zip(small.hidden(SEQUENCES), large.hidden(SEQUENCES), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)
    assert list(small.hidden([])) == []


def test_states_do_not_share_memory_with_their_batch(llama):
    states = llama.hidden_batch([[1, 2, 3], [4]])
    assert all(state.untyped_storage().nbytes() == state.numel() * 4 for state in states)


def test_more_tokens_than_learned_positions_are_refused(opened):
    with pytest.raises(SubjectError, match="65 tokens do not fit the 64 positions"):
        opened["gpt2"].hidden_batch([[1] * 65])
    assert opened["gpt2"].hidden_batch([[1] * 64])[0].shape == (64, 32)


def test_an_id_without_embedding_is_refused(opened):
    with pytest.raises(SubjectError, match="id 259 is beyond the 259 embeddings"):
        opened["gpt2"].hidden_batch([[1, 259]])


def test_overflow_is_an_error_and_not_a_number(folders):
    model = open_model(str(folders["llama"]), device="cpu")
    with torch.no_grad():
        model.module.model.norm.weight.fill_(float("inf"))
        model.module.model.norm.weight[0] = float("nan")
    with pytest.raises(SubjectError, match="computes NaN"):
        model.hidden_batch([[1, 2]])


def test_tensors_are_sorted_copies_in_float32_each_once(opened):
    model = opened["gpt2"]  # its head is tied to its embeddings
    found = dict(model.tensors())
    assert list(found) == sorted(found)
    assert "transformer.wte.weight" in found
    assert "lm_head.weight" not in found
    assert sum(a.size for a in found.values()) == model.ref.parameters
    found["transformer.wte.weight"][:] = 0
    assert model.module.transformer.wte.weight.abs().max() > 0
    assert all(a.dtype == np.float32 for a in found.values())


def test_bfloat16_runs_and_is_recorded(folders):
    model = open_model(str(folders["llama"]), device="cpu", dtype="bf16")
    assert model.ref.dtype == "bfloat16"
    assert next(model.hidden([[1, 2]])).dtype == torch.bfloat16
    assert model.head().weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "int4"}, "unknown type 'int4'"),
        ({"device": "nonsense"}, "device 'nonsense'"),
        ({"device": "hpu"}, "device 'hpu' cannot be used"),
        ({"device": "meta"}, "device 'meta' cannot be used"),
    ],
)
def test_unknown_types_and_devices_are_refused(folders, options, said):
    with pytest.raises(SubjectError, match=said):
        open_model(str(folders["llama"]), **options)


def test_a_closed_model_says_so(folders):
    model = open_model(str(folders["llama"]), device="cpu")
    model.close()
    with pytest.raises(AccessError, match="was closed"):
        model.hidden_batch([[1]])
    with pytest.raises(AccessError, match="was closed"):
        model.head()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_on_a_gpu_the_type_is_bfloat16_and_float32_agrees_with_the_cpu(folders, llama):
    assert open_model(str(folders["llama"])).ref.dtype == "bfloat16"
    gpu = open_model(str(folders["llama"]), device="cuda", dtype="float32")
    for a, b in zip(gpu.hidden(SEQUENCES), llama.hidden(SEQUENCES), strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-3, rtol=1e-3)


def test_a_body_that_shows_no_states_is_refused(folders):
    model = open_model(str(folders["llama"]), device="cpu")
    model.module.model.forward = lambda **_inputs: SimpleNamespace()
    with pytest.raises(AccessError, match="does not show its final hidden states"):
        model.hidden_batch([[1]])
