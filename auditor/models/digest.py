"""What identifies a subject: digests over its tensors, its vocabulary and its chat template.

Every tensor is bound to its name: two swapped tensors are another model. How a model is cut into
files does not matter; how its numbers are stored does.
"""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from auditor.canon import canonical_json, digest, tree_digest
from auditor.errors import SubjectError
from auditor.models.checkpoint import StoredTensor
from auditor.models.loading import load_tokenizer
from auditor.models.source import Source, locate
from auditor.models.specifier import Specifier
from auditor.models.vocabulary import vocabulary_of
from auditor.types import Access, ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tensor_digest(tensor: StoredTensor) -> str:
    """Return ``sha256:<hex>`` over a tensor's name, type, shape and bytes, read in chunks."""
    label = {"dtype": tensor.dtype, "name": tensor.name, "shape": list(tensor.shape)}
    hasher = hashlib.sha256(canonical_json(label))
    for chunk in tensor.chunks():
        hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def tensor_digests(source: Source) -> dict[str, str]:
    """Return ``{tensor name: digest}`` of a source, sorted by name; reads every byte."""
    return {tensor.name: tensor_digest(tensor) for tensor in stored(source)}


def stored(source: Source) -> list[StoredTensor]:
    """Return the tensors of a source as they are stored, sorted by name; no weights are read."""
    return list(source.tensors)


def weights_digest(digests: dict[str, str]) -> str:
    """Return the digest of a model from those of its tensors."""
    return tree_digest(digests)


def template_digest(tokenizer: "PreTrainedTokenizerFast") -> str | None:
    """Return the digest of the chat template (or of all, where there are several), or None."""
    template = tokenizer.chat_template
    if not template:
        return None
    if isinstance(template, str):
        return digest(template.encode())
    return tree_digest({name: digest(text.encode()) for name, text in template.items()})


def reference(
    specifier: Specifier,
    *,
    source: Source | None = None,
    tokenizer: "PreTrainedTokenizerFast | None" = None,
) -> ModelRef:
    """Return the identity of a subject, from its files; `source` and `tokenizer` where known.

    Raises:
        SubjectError, MissingExtraError, RecordsError: as `auditor.models.open_model`.
    """
    if specifier.scheme == "records":
        return recorded_reference(specifier)
    if specifier.scheme == "openai":
        # Not asked: an identity costs no call. The server hides the rest.
        return ModelRef(spec=specifier.canonical, access=Access.TEXT)
    source = source or locate(specifier)
    if not source.tensors:
        raise SubjectError(f"{source.path} holds no tensor", hint="copy or download it again")
    tokenizer = tokenizer or load_tokenizer(source)
    vocabulary = vocabulary_of(tokenizer, source.rows)
    return ModelRef(
        spec=_resolved(specifier, source).canonical,
        access=Access.WEIGHTS,
        digest=weights_digest(tensor_digests(source)),
        tokenizer_digest=vocabulary.digest,
        template_digest=template_digest(tokenizer),
        parameters=sum(tensor.elements for tensor in source.tensors),
        architecture=_architecture(source),
        vocabulary=vocabulary.size,
    )


def recorded_reference(specifier: Specifier) -> ModelRef:
    """Return the identity of a file of recorded outputs: the digest is that of the file.

    Raises:
        RecordsError: it is missing or malformed.
    """
    from auditor.models.recorded import open_recorded

    model = open_recorded(specifier)
    model.close()
    return model.ref


def _resolved(specifier: Specifier, source: Source) -> Specifier:
    """Return the specifier with the commit that a hub revision stands for."""
    commit = source.path.name  # of the cache: .../snapshots/<commit>
    if specifier.scheme != "hf" or len(commit) != 40:
        return specifier
    return replace(specifier, revision=commit)


def _architecture(source: Source) -> str:
    if source.header is not None:
        return str(source.header.metadata.get("general.architecture", "unknown"))
    config = source.config or {}
    names = config.get("architectures") or [config.get("model_type", "unknown")]
    return str(names[0])
