"""What a run was given to train on, as digests: which texts, and which token sequences.

RUN/samples.txt      sorted digests, one a line, of every text offered for training
RUN/sequences.jsonl  a line for each training sequence, in the order that batches number them

The Merkle root over samples.txt is in lineage.json. A proof shows with a few hashes that a text was
among them, or that none was equal to it, without showing the others.
"""

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from auditor.canon import canonical_json, digest
from auditor.case import atomic_stream
from auditor.distill.cache import key_of
from auditor.distill.digests import Digests, digests_of
from auditor.distill.documents import Sources, split_holdout
from auditor.distill.sequences import Sequences
from auditor.errors import InputError
from auditor.merkle import inclusion_path, leads_to_root, merkle_root, text_leaf
from auditor.types import Array, Probe, Sample

PROOF = "auditor/sample-proof/1"
_LONGEST = 1 << 10
"""Characters read at once: more than a line has."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceList:
    """S training sequences as sequences.jsonl lists them."""

    keys: list[bytes]
    """(S) `sequence_key` of each."""
    lengths: Array
    """(S,) int64 inputs."""
    targets: Array
    """(S,) int64 targets that enter the loss."""


def sample_digests(
    sources: Sources,
    answers: Sequence[Sample],
    holdout: float,
    filtered: frozenset[int] = frozenset(),
) -> Digests:
    """Return the sorted digests of the texts offered for training, each once.

    Of each document, of each turn of a prompt and of each answer the digest of its UTF-8 text; of
    each prompt also the digest of the whole. Nothing held out is among them. A short training may
    end before it reached them all.

    Args:
        sources: documents and prompts.
        answers: in order of (prompt, repeat), none missing; empty where no prompt is answered.
        holdout: share held out.
        filtered: positions of answers that a filter left out.
    """
    documents, prompts = sources.documents, sources.prompts
    repeats = len(answers) // len(prompts) if len(prompts) else 0
    of_texts = documents.digests.pick(split_holdout(documents.digests, holdout).train)
    asked = split_holdout(prompts.digests, holdout).train

    def said() -> Iterator[str]:
        for index in asked.tolist():
            yield prompts.digests[index]
            places = range(index * repeats, (index + 1) * repeats)
            written = [answers[place].text for place in places if place not in filtered]
            yield from (digest(text.encode()) for text in [*_turns(prompts[index]), *written])

    return Digests(np.concatenate([of_texts.raw, digests_of(said()).raw])).unique()


def text_digest(path: Path) -> str:
    """Return the digest of the text in a file; one line break at its end is not part of the text.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="give the name of a file that is there"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text: {error}", hint="give the digest with --digest"
        ) from error
    return digest(text.removesuffix("\n").encode())


def _turns(probe: Probe) -> Iterator[str]:
    yield from (message.content for message in probe.messages)
    if probe.text is not None:
        yield probe.text


def samples_root(digests: Iterable[str]) -> dict[str, Any]:
    """Return ``{"count", "root"}`` of sorted digests: what a proof is checked against."""
    seen = count()
    # zip takes a number only where there is a digest, so the next one is how many there were.
    root = merkle_root(text_leaf(item) for item, _ in zip(digests, seen, strict=False))
    return {"count": next(seen), "root": root}


def write_samples(path: Path, digests: Sequence[str]) -> None:
    """Write samples.txt.

    Raises:
        StorageError: it cannot be written.
    """
    with atomic_stream(path) as stream:
        stream.writelines(f"{item}\n".encode() for item in digests)


def iterate_samples(path: Path) -> Iterator[str]:
    """Yield the digests of a samples.txt, of which a line is in memory at a time.

    Raises:
        InputError: missing, or not sorted digests, each once: no proof can rest on it.
    """
    before = ""
    try:
        with path.open(encoding="ascii") as stream:
            # A bound, for a file without line breaks would be one line; a torn end is no digest.
            while (line := stream.readline(_LONGEST)) and (whole := line.endswith("\n")):
                item = line[:-1]
                if not (before < item and is_digest(item)):
                    break
                yield item
                before = item
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="name the folder of a run") from (
            error
        )
    if line and (whole or len(line) == _LONGEST):
        raise InputError(
            f"{path} is not a list of sorted digests, each once",
            hint="restore the file as the run wrote it",
        )


def read_samples(path: Path) -> list[str]:
    """Return all digests of a samples.txt; InputError as `iterate_samples`."""
    return list(iterate_samples(path))


def is_digest(value: Any) -> bool:
    """Say whether `value` is written ``sha256:`` and 64 hex digits."""
    if not isinstance(value, str) or not value.startswith("sha256:"):
        return False
    rest = value.removeprefix("sha256:")
    return len(rest) == 64 and _HEX.issuperset(rest)


def write_sequences(path: Path, store: Sequences) -> None:
    """Write sequences.jsonl.

    Raises:
        StorageError: it cannot be written.
    """
    lengths, targets = store.lengths, store.targets
    with atomic_stream(path) as stream:
        for row in range(len(store)):
            line = {
                "inputs": int(lengths[row]),
                "sequence": key_of(store, row).hex(),
                "targets": int(targets[row]),
            }
            stream.write(canonical_json(line) + b"\n")


def read_sequences(path: Path) -> SequenceList:
    """Return what a sequences.jsonl lists.

    Raises:
        InputError: missing or malformed.
    """
    keys: list[bytes] = []
    lengths, targets = array("q"), array("q")
    try:
        # A row as an object takes ten times what is kept of it.
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # a torn end is no row
                    row = json.loads(line)
                    keys.append(bytes.fromhex(row["sequence"]))
                    lengths.append(int(row["inputs"]))
                    targets.append(int(row["targets"]))
        return SequenceList(
            keys=keys,
            lengths=np.array(lengths, dtype=np.int64),
            targets=np.array(targets, dtype=np.int64),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path} cannot be read: {error}", hint="restore the file as the run wrote it"
        ) from error


def batch_digest(keys: Sequence[bytes], rows: Iterable[int]) -> str:
    """Return the digest of a step's sequences in the order in which they were drawn."""
    return digest(b"".join(keys[row] for row in rows))


def prove(digests: Sequence[str], sample: str) -> dict[str, Any]:
    """Return the proof that `sample` is among sorted `digests`, or that it is not.

    Inclusion: the leaf and its path. Exclusion: the leaves on both sides of the place where it
    would stand, which are neighbours; at an end there is one.

    Raises:
        InputError: `sample` is not a digest.
    """
    if not is_digest(sample):
        raise InputError(
            f"{sample!r} is not a digest", hint="write sha256: and 64 lower-case hex digits"
        )
    hashes = [text_leaf(item) for item in digests]
    place = bisect_left(digests, sample)
    there = place < len(digests) and digests[place] == sample
    shown = [place] if there else [i for i in (place - 1, place) if 0 <= i < len(digests)]
    return {
        "schema": PROOF,
        "kind": "inclusion" if there else "exclusion",
        "sample": sample,
        **samples_root(digests),
        "leaves": [
            {"index": index, "digest": digests[index], "path": inclusion_path(hashes, index)}
            for index in shown
        ],
    }


def refutation(proof: Any, samples: Any) -> str | None:
    """Return why a proof does not hold for the ``{"count", "root"}`` of a lineage; None if it does.

    Needs nothing else. That the leaves under the root are sorted, on which an exclusion rests, is
    what `auditor lineage verify` checks where samples.txt is at hand.
    """
    try:
        return _refutation(proof, samples)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"it is malformed: {error!r}"


def _refutation(proof: dict[str, Any], samples: dict[str, Any]) -> str | None:
    if proof["schema"] != PROOF or not is_digest(proof["sample"]):
        return f"it is not of schema {PROOF}"
    count, root = int(samples["count"]), samples["root"]
    if (proof["count"], proof["root"]) != (count, root):
        return "it is about another tree than the lineage names"
    leaves = [(leaf["index"], leaf["digest"], leaf["path"]) for leaf in proof["leaves"]]
    for index, value, path in leaves:
        if not is_digest(value) or not leads_to_root(text_leaf(value), index, count, path, root):
            return f"the path of leaf {index} does not lead to the root"
    if proof["kind"] == "inclusion":
        same = len(leaves) == 1 and leaves[0][1] == proof["sample"]
        return None if same else "its leaf is not the sample"
    if proof["kind"] != "exclusion":
        return "it is neither an inclusion nor an exclusion"
    return _gap(proof["sample"], [(index, value) for index, value, _ in leaves], count)


def _gap(sample: str, leaves: list[tuple[int, str]], count: int) -> str | None:
    """Return why `leaves` leave room for a leaf equal to `sample` between them; None if not."""
    below = [(index, value) for index, value in leaves if value < sample]
    above = [(index, value) for index, value in leaves if value > sample]
    if len(below) + len(above) != len(leaves) or len(below) > 1 or len(above) > 1:
        return "its leaves do not lie on both sides of the sample"
    before = below[0][0] if below else -1
    after = above[0][0] if above else count
    return None if after == before + 1 else "its leaves are not neighbours"
