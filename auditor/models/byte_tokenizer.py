"""The tokenizer of the tiny models: one token a byte."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"

_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] + ': ' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' }}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{{ 'assistant: ' if add_generation_prompt }}"
)


def byte_alphabet() -> tuple[str, ...]:
    """Return the character that stands for each byte in a byte-level vocabulary, 256 of them.

    The convention of GPT-2: printable Latin-1 characters stand for themselves, the 68 other
    bytes take the code points from 256 on, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return tuple(chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256))


def byte_tokenizer() -> "PreTrainedTokenizerFast":
    """Return a tokenizer of 259 ids: a byte's id is its value, then start, end and padding.

    No merges, no normaliser: every UTF-8 text comes back unchanged. A text gets the start token
    in front; the chat template writes ``role: content`` lines, with the end token after each turn
    of the assistant, and ``assistant: `` where a reply is due.
    """
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    build: Any = transformers.PreTrainedTokenizerFast
    vocabulary = {character: byte for byte, character in enumerate(byte_alphabet())}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in (BOS, EOS, PAD)]
    )
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, core.token_to_id(BOS))]
    )
    tokenizer: PreTrainedTokenizerFast = build(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer
