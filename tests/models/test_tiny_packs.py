"""The shipped tiny models: what they are, that they work, and that their records are true."""

import json
import math
import re
from hashlib import sha256
from pathlib import Path

import pytest

from auditor.canon import file_digest, json_digest
from auditor.data import data_dir
from auditor.distill.corpus import CORPORA, generate_corpus
from auditor.distill.recipe import load_recipe, recipe_from
from auditor.models.specifier import identify, open_model
from auditor.models.tiny import tiny_models
from auditor.types import Decoding, Message, Probe

CORPUS_OF = {"teacher": "stories", "sibling": "stories", "independent": "almanac"}
# No recipe uses this seed.
FRESH_SEED = 4096
# The best code without context needs more than 4 bits for a byte of this text (checked below).
BITS_PER_BYTE = 1.2


@pytest.fixture(scope="module")
def pack() -> Path:
    return data_dir("probes") / "packs" / "tiny"


@pytest.fixture(scope="module")
def lineages(pack) -> dict[str, dict]:
    return {name: json.loads((pack / name / "lineage.json").read_bytes()) for name in CORPUS_OF}


@pytest.fixture(scope="module")
def bits() -> dict[tuple[str, str], float]:
    """Bits per byte of each model on fresh documents of each corpus."""
    fresh = {name: list(generate_corpus(name, seed=FRESH_SEED, documents=24)) for name in CORPORA}
    found = {}
    for name in CORPUS_OF:
        model = open_model(f"tiny:{name}", device="cpu")
        for corpus, texts in fresh.items():
            nats = -sum(float(score.logprobs.sum()) for score in model.score(texts))
            found[name, corpus] = nats / math.log(2) / sum(len(t.encode()) for t in texts)
        model.close()
    return found


def test_the_three_models_of_the_documentation_ship():
    assert {name for name in tiny_models() if "/" not in name} == set(CORPUS_OF)


@pytest.mark.parametrize("name", CORPUS_OF)
def test_a_model_with_its_tokenizer_and_lineage_stays_below_a_megabyte(name, pack):
    assert sum(path.stat().st_size for path in (pack / name).iterdir()) < 1_000_000


@pytest.mark.parametrize("name", CORPUS_OF)
def test_every_file_has_the_digest_of_the_published_list(name, pack):
    listed = dict(
        reversed(line.split("  ")) for line in (pack / "SHA256SUMS").read_text().splitlines()
    )
    shipped = {p.relative_to(pack).as_posix(): p for p in (pack / name).iterdir()}
    assert set(shipped) == {entry for entry in listed if entry.startswith(f"{name}/")}
    assert {e: sha256(p.read_bytes()).hexdigest() for e, p in shipped.items()} == {
        entry: listed[entry] for entry in shipped
    }


def test_the_recipes_and_the_description_are_in_the_published_list(pack):
    text = (pack / "SHA256SUMS").read_text()
    for path in pack.glob("*.*"):
        assert f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" in text


@pytest.mark.parametrize("name", CORPUS_OF)
def test_the_lineage_describes_the_shipped_files(name, pack, lineages):
    student = {
        entry.removeprefix("student/"): value
        for entry, value in lineages[name]["files"].items()
        if entry.startswith("student/")
    }
    assert student["model.safetensors"]
    assert student == {entry: file_digest(pack / name / entry) for entry in student}
    assert lineages[name]["student"]["digest"] == identify(f"tiny:{name}").digest


@pytest.mark.parametrize("name", CORPUS_OF)
def test_the_lineage_holds_the_shipped_recipe(name, pack, lineages):
    recorded = lineages[name]["recipe"]
    assert json_digest(recorded["content"]) == recorded["digest"]
    # A recipe key added since then has its default on both sides.
    assert recipe_from(recorded["content"]).digest == load_recipe(pack / f"{name}.yaml").digest


@pytest.mark.parametrize("name", CORPUS_OF)
def test_the_corpus_that_a_model_was_trained_on_can_still_be_written(name, pack, lineages):
    choice = load_recipe(pack / f"{name}.yaml").data.corpus
    assert choice.name == CORPUS_OF[name]
    written = list(generate_corpus(choice.name, seed=choice.seed, documents=choice.documents))
    key = f"corpus:{choice.name}@{CORPORA[choice.name].version}"
    assert lineages[name]["data"]["sources"] == {key: json_digest(written)}


def test_the_sibling_saw_the_same_documents_and_the_independent_model_others(lineages):
    data = {name: lineage["data"]["documents"] for name, lineage in lineages.items()}
    assert data["teacher"] == data["sibling"]
    assert data["teacher"] != data["independent"]
    assert lineages["teacher"]["seed"] != lineages["sibling"]["seed"]


@pytest.mark.parametrize("name", CORPUS_OF)
def test_no_file_names_a_place_on_a_machine(name, pack):
    def places(value):
        if isinstance(value, dict):
            return [p for item in value.values() for p in places(item)]
        if isinstance(value, list):
            return [p for item in value for p in places(item)]
        return [value] if isinstance(value, str) and re.match(r"/\w|~/|[A-Z]:\\", value) else []

    for path in (pack / name).glob("*.json"):
        assert places(json.loads(path.read_bytes())) == []
    assert not re.search(rb"/(tmp|home|root|usr|work)\b", (pack / "README.md").read_bytes())


@pytest.mark.parametrize("name", CORPUS_OF)
def test_weights_are_half_precision_and_of_one_shape(name, pack):
    from safetensors import safe_open

    with safe_open(pack / name / "model.safetensors", "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
        count = sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    # 259 x 96 embedding, tied; 4 layers of 4 x 96^2 + 3 x 96 x 256 + 2 x 96; 96 at the end.
    assert count == 259 * 96 + 4 * (4 * 96**2 + 3 * 96 * 256 + 2 * 96) + 96
    assert kinds == {"F16"}


def test_teacher_sibling_and_independent_differ_in_weights_and_share_the_tokenizer():
    refs = [identify(f"tiny:{name}") for name in CORPUS_OF]
    assert len({ref.digest for ref in refs}) == 3
    assert len({ref.tokenizer_digest for ref in refs}) == 1
    assert {ref.vocabulary for ref in refs} == {259}


@pytest.mark.parametrize("name", CORPUS_OF)
def test_a_model_predicts_fresh_documents_of_its_corpus(name, bits):
    assert bits[name, CORPUS_OF[name]] < BITS_PER_BYTE


def test_no_code_without_context_comes_near_that():
    text = "".join(generate_corpus("stories", seed=FRESH_SEED, documents=24))
    shares = [text.count(character) / len(text) for character in set(text)]
    assert -sum(share * math.log2(share) for share in shares) > 4.0


def test_a_model_predicts_the_other_corpus_much_worse(bits):
    assert bits["teacher", "almanac"] > 1.5 * bits["teacher", "stories"]
    assert bits["independent", "stories"] > 1.5 * bits["independent", "almanac"]


def test_the_sibling_is_as_good_as_the_teacher(bits):
    assert bits["sibling", "stories"] == pytest.approx(bits["teacher", "stories"], rel=0.1)


@pytest.mark.parametrize("name", ["teacher", "sibling"])
def test_a_model_of_the_stories_answers_a_sum_with_a_number_and_stops(name):
    model = open_model(f"tiny:{name}", device="cpu")
    asked = Probe(
        id="a", category="x", messages=(Message(role="user", content="What is 2 plus 3?"),)
    )
    (reply,) = model.sample((asked,), 1, Decoding(temperature=0.0, max_new_tokens=60), 0)
    model.close()
    # Which number is another matter: sums are beyond these models.
    assert re.fullmatch(r"(The answer is )?\d+\.?", reply.text)
    assert reply.finish_reason == "stop"
