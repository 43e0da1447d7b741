"""Proofs that a text was among the samples, or that none was equal to it."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from distill_world import listed_rows, random_sequences
from traced_memory import peak

from auditor.canon import digest
from auditor.distill.documents import Sources, document_digest, prompt_digest, split_holdout
from auditor.distill.ledger_samples import (
    batch_digest,
    iterate_samples,
    prove,
    read_samples,
    read_sequences,
    refutation,
    sample_digests,
    samples_root,
    text_digest,
    write_samples,
    write_sequences,
)
from auditor.errors import InputError
from auditor.types import Message, Probe, Sample


def digests_of(count: int) -> list[str]:
    return sorted(digest(f"text {number}".encode()) for number in range(count))


@pytest.mark.parametrize("count", range(1, 34))
def test_every_leaf_and_every_gap_has_a_proof(count: int) -> None:
    digests = digests_of(count)
    root = samples_root(digests)
    for sample in digests:
        proof = json.loads(json.dumps(prove(digests, sample)))
        assert proof["kind"] == "inclusion"
        assert refutation(proof, root) is None
    lowest, highest = "sha256:" + "0" * 64, "sha256:" + "f" * 64
    for sample in [lowest, highest, *(digest(f"absent {n}".encode()) for n in range(8))]:
        proof = json.loads(json.dumps(prove(digests, sample)))
        assert proof["kind"] == "exclusion"
        assert refutation(proof, root) is None


def test_nothing_is_among_no_samples() -> None:
    proof = prove([], digest(b"a"))
    assert proof["leaves"] == []
    assert refutation(proof, {"count": 0, "root": hashlib.sha256().hexdigest()}) is None


@pytest.mark.parametrize("place", [0, 3, 6])
def test_no_exclusion_of_a_leaf_that_is_there(place: int) -> None:
    digests = digests_of(7)
    root, sample = samples_root(digests), digests[place]
    gap = prove([item for item in digests if item != sample], sample)
    assert refutation(gap, root) == "it is about another tree than the lineage names"
    # The leaves around it, with their true paths: they are no neighbours.
    around = [prove(digests, digests[i])["leaves"][0] for i in (place - 1, place + 1) if 0 <= i < 7]
    forged = {**prove(digests, digest(b"absent")), "sample": sample, "leaves": around}
    assert refutation(forged, root) == "its leaves are not neighbours"
    itself = {**prove(digests, sample), "kind": "exclusion"}
    assert "both sides" in str(refutation(itself, root))


def test_one_side_is_enough_at_the_ends_alone() -> None:
    digests = digests_of(7)
    middle = digests[3][:-1] + ("0" if digests[3][-1] != "0" else "1")
    proof = prove(digests, middle)
    assert len(proof["leaves"]) == 2
    for kept in (0, 1):
        forged = {**proof, "leaves": [proof["leaves"][kept]]}
        assert refutation(forged, samples_root(digests)) == "its leaves are not neighbours"
    assert refutation({**proof, "leaves": []}, samples_root(digests)) is not None


def changed(proof: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = copy.deepcopy(proof)
    part: Any = result
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return result


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("schema",), "x/1", "schema"),
        (("kind",), "maybe", "neither"),
        (("kind",), "exclusion", "both sides"),
        (("sample",), digest(b"another"), "not the sample"),
        (("sample",), "text 1", "schema"),
        (("root",), "0" * 64, "another tree"),
        (("count",), 8, "another tree"),
        (("leaves", 0, "index"), 3, "does not lead"),
        (("leaves", 0, "index"), None, "malformed"),
        (("leaves", 0, "digest"), digest(b"another"), "does not lead"),
        (("leaves", 0, "path", 0), "0" * 64, "does not lead"),
        (("leaves", 0, "path", 0), "zz", "malformed"),
        (("leaves",), [], "not the sample"),
        (("leaves",), None, "malformed"),
    ],
)
def test_a_changed_proof_does_not_hold(place: tuple[Any, ...], value: Any, reason: str) -> None:
    digests = digests_of(7)
    proof = changed(prove(digests, digests[2]), place, value)
    assert reason in str(refutation(proof, samples_root(digests)))


@pytest.mark.parametrize("proof", [None, [], "x", {}, 3])
def test_what_is_no_proof_does_not_hold(proof: Any) -> None:
    assert "malformed" in str(refutation(proof, samples_root(digests_of(2))))


@pytest.mark.parametrize("sample", ["", "sha256:12", "md5:" + "0" * 64, "sha256:" + "G" * 64])
def test_no_proof_about_what_is_no_digest(sample: str) -> None:
    with pytest.raises(InputError, match="is not a digest"):
        prove(digests_of(2), sample)


@pytest.mark.parametrize(
    "content",
    [
        lambda d: d[::-1],
        lambda d: [d[0], d[0], d[1]],
        lambda d: [*d, "sha256:xyz"],
        lambda d: [*d, "ü"],
        lambda d: [*d, "x" * 5000],
    ],
    ids=["unsorted", "twice", "no digest", "no ascii", "long"],
)
def test_a_list_that_is_not_sorted_digests_is_refused(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "samples.txt"
    path.write_text("".join(item + "\n" for item in content(digests_of(3))))
    with pytest.raises(InputError, match=r"samples\.txt"):
        read_samples(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_samples(tmp_path / "absent.txt")


def test_a_torn_end_is_no_digest_and_no_list_has_no_digest(tmp_path: Path) -> None:
    path, digests = tmp_path / "samples.txt", digests_of(3)
    path.write_text("\n".join(digests))  # the last line was not ended
    assert read_samples(path) == digests[:2]
    path.write_text("")
    assert read_samples(path) == []
    assert samples_root(iterate_samples(path)) == {"count": 0, "root": hashlib.sha256().hexdigest()}


def test_a_file_without_line_breaks_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "samples.txt"
    path.write_bytes(b"a" * (1 << 24))

    def refused() -> None:
        with pytest.raises(InputError, match="not a list"):
            read_samples(path)

    assert peak(refused) < 1 << 20


def test_the_root_of_a_file_is_had_without_its_digests_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "samples.txt"
    write_samples(path, digests := digests_of(5000))
    expected = samples_root(digests)
    del digests
    found: dict[str, Any] = {}
    # 5,000 digests of 72 characters take 0.6 MB as strings.
    assert peak(lambda: found.update(samples_root(iterate_samples(path)))) < 100_000
    assert found == expected
    assert found["count"] == 5000


def test_samples_are_texts_turns_answers_and_prompts_of_the_training_part(tmp_path: Path) -> None:
    documents = tuple(f"document {number}" for number in range(20))
    prompts = tuple(
        Probe(
            id=str(n),
            category="prompt",
            messages=(
                Message(role="system", content="Be brief."),
                Message(role="user", content=f"Ask {n}"),
            ),
        )
        for n in range(9)
    )
    answers = [
        Sample(
            probe_id=str(n),
            repeat=repeat,
            prompt="",
            prompt_ids=(),
            token_ids=(1,),
            text=f"answer {n} {repeat}",
            finish_reason="stop",
        )
        for n in range(9)
        for repeat in range(2)
    ]
    sources = Sources(
        documents=listed_rows(documents, document_digest),
        prompts=listed_rows(prompts, prompt_digest),
        digests={},
        repeated=0,
    )
    held = split_holdout([digest(text.encode()) for text in documents], 0.3).holdout
    asked = split_holdout([prompt_digest(probe) for probe in prompts], 0.3)
    assert len(held)
    assert len(asked.holdout)
    found = sample_digests(sources, answers, 0.3)
    expected = [text for n, text in enumerate(documents) if n not in held]
    for n in asked.train:
        expected += ["Be brief.", f"Ask {n}", f"answer {n} 0", f"answer {n} 1"]
    whole = {prompt_digest(prompts[n]) for n in asked.train}
    assert list(found) == sorted({*(digest(text.encode()) for text in expected), *whole})
    write_samples(tmp_path / "samples.txt", found)
    assert read_samples(tmp_path / "samples.txt") == list(found)


def test_the_last_line_break_of_a_file_is_not_part_of_its_text(tmp_path: Path) -> None:
    for content in (b"caf\xc3\xa9", b"caf\xc3\xa9\n"):
        (tmp_path / "text").write_bytes(content)
        assert text_digest(tmp_path / "text") == digest("café".encode())
    (tmp_path / "text").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        text_digest(tmp_path / "text")


def test_sequences_are_listed_with_key_length_and_targets(tmp_path: Path) -> None:
    store = random_sequences([5, 3, 7])
    path = tmp_path / "sequences.jsonl"
    write_sequences(path, store)
    listed = read_sequences(path)
    assert listed.lengths.tolist() == [5, 3, 7]
    assert listed.targets.tolist() == [5, 3, 7]
    # The key by hand: SHA-256 of the first target (1) and the ids, little-endian 32-bit.
    raw = store.row(1).astype("<i4").tobytes()
    key = hashlib.sha256((1).to_bytes(4, "little") + raw).digest()
    assert listed.keys[1] == key
    expected = "sha256:" + hashlib.sha256(key + listed.keys[0]).hexdigest()
    assert batch_digest(listed.keys, [1, 0]) == expected
    path.write_text('{"inputs": 5}\n')
    with pytest.raises(InputError, match="cannot be read"):
        read_sequences(path)


def test_reading_sequences_keeps_little_beside_what_it_returns(tmp_path):
    path, rows = tmp_path / "sequences.jsonl", 20_000
    with path.open("w") as lines:
        for number in range(rows):
            row = {"sequence": f"{number:064x}", "inputs": 7, "targets": 6}
            lines.write(json.dumps(row) + "\n")
        lines.write('{"sequence": "torn')
    read = []
    most = peak(lambda: read.append(read_sequences(path)))
    (listed,) = read
    assert len(listed.keys) == rows
    assert listed.keys[-1] == (rows - 1).to_bytes(32, "big")
    assert (listed.lengths.sum(), listed.targets.sum()) == (7 * rows, 6 * rows)
    # A key takes 65 bytes and 8 in the list, two numbers 16, twice while they are copied.
    assert most < 150 * rows


@pytest.mark.parametrize("number", [2**63, "many", None])
def test_a_sequence_of_no_possible_length_is_refused(tmp_path, number):
    path = tmp_path / "sequences.jsonl"
    path.write_text(json.dumps({"sequence": "00", "inputs": number, "targets": 1}) + "\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_sequences(path)
