"""What a cheap look at a model's files keeps of it: digests, sketches, its vocabulary."""

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from auditor.canon import tree_digest
from auditor.errors import AccessError, SubjectError
from auditor.models.loading import check_architecture, load_tokenizer
from auditor.models.source import Source, locate
from auditor.models.specifier import identify, parse
from auditor.models.vocabulary import Vocabulary, vocabulary_of
from auditor.models.weight_files import WeightFiles, open_weights
from auditor.registry.positions import Place
from auditor.registry.sample import SKETCH, RangeReader, sampled
from auditor.types import Array

_NO_FILES = ("records", "openai")
"""Schemes whose weights and vocabulary are out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """What the byte ranges of a model's weights gave."""

    digest: str
    """Over the digests of all samples by tensor name."""
    whole: bool
    """Whether every byte of every tensor was read."""
    contents: Counter[str]
    """Digests of the ends of its matrices, without their names."""
    places: tuple[Place, ...]
    """Of its matrices, sorted."""
    sketches: Array
    """(M, 128) float32, one row for each of `places`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """A model as the prefilter keeps it: some 512 bytes for each matrix, and its vocabulary."""

    spec: str
    weights: Weights | None = None
    vocabulary: Vocabulary | None = None
    bytes_read: int = 0
    bytes_stored: int = 0
    """Of all tensors."""
    undefined: dict[str, str] = field(default_factory=dict)
    """Why ``weights`` or ``vocabulary`` is missing, or what of it was not read."""

    def without_vocabulary(self) -> "Fingerprint":
        """Return the same without the tokens, of which there may be 200,000."""
        return replace(self, vocabulary=None)


def fingerprint(spec: str, seed: int, *, runnable: bool = False) -> Fingerprint:
    """Return the fingerprint of a model: headers, byte ranges and the tokenizer are read.

    Args:
        spec: of the model.
        seed: of the positions.
        runnable: refuse a model that cannot be run, so that it does not stop a scan later.

    Raises:
        SubjectError, MissingExtraError, RecordsError: the model cannot be examined at all.
    """
    specifier = parse(spec)
    if specifier.scheme in _NO_FILES:
        identify(spec)
        reason = "only replies of it are at hand"
        return Fingerprint(spec=spec, undefined={"weights": reason, "vocabulary": reason})
    try:
        source = locate(specifier)
        if not source.tensors:
            raise SubjectError(f"{source.path} holds no tensor", hint="copy or download it again")
        if runnable:
            check_architecture(source)
        vocabulary = vocabulary_of(load_tokenizer(source), source.rows)
        return _of_files(spec, source, vocabulary, seed)
    except OSError as error:
        raise SubjectError(
            f"{spec} cannot be read: {error.strerror or error}", hint="check the files' rights"
        ) from error


def _of_files(spec: str, source: Source, vocabulary: Vocabulary, seed: int) -> Fingerprint:
    weights, undefined = None, {}
    stored = sum(tensor.size for tensor in source.tensors)
    with RangeReader() as reader:
        try:
            files = open_weights(spec)
            undefined = _packed(files)
            weights = _weights(files, reader, seed)
        except AccessError as error:  # a form that cannot be read tensor by tensor
            undefined["weights"] = error.message
        return Fingerprint(
            spec=spec,
            weights=weights,
            vocabulary=vocabulary,
            bytes_read=reader.bytes_read,
            bytes_stored=stored,
            undefined=undefined,
        )


def _packed(files: WeightFiles) -> dict[str, str]:
    """Return what is said of weights that are packed into integers; nothing where none are.

    Raises:
        AccessError: most of the model is: its norms and embeddings alone say too little of it.
    """
    if 2 * files.packed > files.size:
        raise AccessError(files.unread)
    return {"weights": files.unread} if files.packed else {}


def _weights(files: WeightFiles, reader: RangeReader, seed: int) -> Weights:
    samples = list(sampled(files, reader, seed))
    matrices = [(one.place, one.sketch) for one in samples if one.sketch is not None]
    matrices.sort(key=lambda pair: pair[0])
    sketches = np.zeros((len(matrices), SKETCH), dtype=np.float32)
    for row, (_, sketch) in zip(sketches, matrices, strict=True):
        row[:] = sketch
    return Weights(
        digest=tree_digest({one.name: one.digest for one in samples}),
        whole=all(one.whole for one in samples) and not any(one.size for one in files.others),
        contents=Counter(one.content for one in samples if one.content is not None),
        places=tuple(place for place, _ in matrices),
        sketches=sketches,
    )
