import numpy as np
import pytest
import torch

TEXTS = ["héllo", "", "a", "the cat 🙂 sat", "zz" * 20]


def by_hand(model, ids):
    """Log-probability of each id after the first, one prefix at a time, unpadded, float64."""
    found = []
    for end in range(1, len(ids)):
        with torch.inference_mode():
            logits = model.module(torch.tensor([ids[:end]])).logits[0, -1, :259].double()
        found.append(float(torch.log_softmax(logits, 0)[ids[end]]))
    return np.array(found)


@pytest.mark.parametrize("name", ["llama", "gemma2", "cohere", "phi"])
def test_scores_are_those_of_one_prefix_at_a_time(opened, name):
    model = opened[name]
    for text, score in zip(TEXTS, model.score(TEXTS), strict=True):
        ids = [256, *text.encode()]
        np.testing.assert_allclose(score.logprobs, by_hand(model, ids), atol=5e-5)
        assert score.token_ids.tolist() == ids[1:]
        assert score.byte_ends.tolist() == list(range(1, len(ids)))
        assert score.first_byte == 0


def test_without_a_start_token_the_first_token_is_not_scored(folders, tmp_path):
    import shutil

    from auditor.models import open_model
    from auditor.models.byte_tokenizer import byte_tokenizer

    folder = shutil.copytree(folders["llama"], tmp_path / "m")
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.save_pretrained(folder)
    score = next(open_model(str(folder), device="cpu").score(["éa"]))
    # C3 has nothing before it; A9 and "a" are scored.
    assert score.token_ids.tolist() == [0xA9, 0x61]
    assert score.byte_ends.tolist() == [2, 3]
    assert score.first_byte == 1


def test_a_text_without_scorable_tokens_has_empty_arrays(llama):
    score = next(llama.score([""]))
    assert score.token_ids.shape == score.logprobs.shape == score.byte_ends.shape == (0,)
    assert score.first_byte == 0


def test_log_probabilities_are_never_positive_and_sum_to_one_over_the_vocabulary(llama):
    # The 13 padded rows of the head carry no probability: 256 bytes and 3 special tokens sum to 1.
    from auditor.models.unembedding import logits_of

    (hidden,) = llama.hidden_batch([[256, 97]])
    total = torch.softmax(logits_of(llama.head(), hidden[:1]).double(), 1)
    bytes_only = [next(llama.score([chr(b)])).logprobs[0] for b in range(0x20, 0x7F)]
    np.testing.assert_allclose(np.exp(bytes_only), total[0, 0x20:0x7F].numpy(), atol=1e-6)
    assert max(bytes_only) <= 0


def test_small_logit_chunks_give_the_same_scores(llama, monkeypatch):
    whole = [score.logprobs for score in llama.score(TEXTS)]
    monkeypatch.setattr("auditor.models.transformers_model._LOGIT_CHUNK", 600)  # 2 rows of 259
    parts = [score.logprobs for score in llama.score(TEXTS)]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
