"""Small random models, wide enough in their weights that every unit matters."""

import torch


def llama(seed, *, width=32, layers=2, tied=False, bias=False, kind="llama"):
    """Return a Llama with 4 query heads on 2 keys."""
    import transformers as t

    config = {"llama": t.LlamaConfig, "qwen3": t.Qwen3Config, "gemma2": t.Gemma2Config}[kind](
        vocab_size=259,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        attention_bias=bias,
        initializer_range=0.1,
        tie_word_embeddings=tied,
        bos_token_id=256,
        eos_token_id=257,
        pad_token_id=258,
    )
    return _jittered(t.AutoModelForCausalLM, config, seed)


def gpt2(seed, *, width=32, layers=2):
    import transformers as t

    config = t.GPT2Config(
        vocab_size=259, n_embd=width, n_layer=layers, n_head=4, n_positions=64, bos_token_id=256,
        eos_token_id=257, pad_token_id=258, initializer_range=0.1,
    )  # fmt: skip
    return _jittered(t.AutoModelForCausalLM, config, seed)


def _jittered(models, config, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = models.from_config(config).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim == 1:  # norms of ones and biases of zeros would hide a mistake
                    parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def logits(module):
    """Return the (2, 12, V) logits of fixed texts."""
    ids = torch.arange(24).reshape(2, 12) * 7 % 259
    with torch.inference_mode():
        return module(input_ids=ids).logits


def weights(module):
    return {name: value.detach() for name, value in module.named_parameters()}
