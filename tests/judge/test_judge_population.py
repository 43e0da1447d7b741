import json
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

from auditor.data import data_dir
from auditor.errors import InputError
from auditor.judge.population import CaseFacts, Population, outside, population_from_json
from auditor.types import Access, ModelRef

POPULATION = Population(
    name="tiny-2026",
    parameters=(150_000, 300_000),
    vocabulary=(256, 512),
    architectures=("gpt2", "llama"),
    tokenizers=("sha256:aa", "sha256:bb"),
    access=(Access.WEIGHTS, Access.TEXT),
    null_families=(12, 24),
    suites=("core@1",),
    measures=("sample-llr@1", "neuron-matching@1"),
)
MODEL = ModelRef(
    spec="tiny:a",
    access=Access.WEIGHTS,
    tokenizer_digest="sha256:aa",
    parameters=200_000,
    architecture="llama",
    vocabulary=300,
)
FACTS = CaseFacts(
    reference=MODEL,
    suspect=MODEL,
    null_families=19,
    suites=("core@1", "extra@3"),
    measures=("neuron-matching@1", "sample-llr@1", "text-chrf@1"),
)


def reasons(**changes):
    return outside(POPULATION, replace(FACTS, **changes))


def test_a_case_like_the_controls_is_inside():
    assert outside(POPULATION, FACTS) == ()


def test_a_pack_of_tiny_models_says_nothing_about_a_7b_model():
    large = replace(MODEL, parameters=7_000_000_000)
    assert reasons(suspect=large) == (
        "the suspect's number of parameters is 7,000,000,000, the controls have 150,000 to 300,000",
    )
    assert len(reasons(suspect=large, reference=large)) == 2


@pytest.mark.parametrize("count", [150_000, 300_000])
def test_the_ends_of_a_range_are_inside(count):
    assert reasons(suspect=replace(MODEL, parameters=count)) == ()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("vocabulary", 50_000, "vocabulary entries is 50,000"),
        ("architecture", "mamba", "architecture mamba is not among"),
        ("tokenizer_digest", "sha256:cc", "tokenizer sha256:cc is not among"),
        ("parameters", None, "number of parameters is unknown"),
        ("vocabulary", None, "number of vocabulary entries is unknown"),
        ("architecture", None, "architecture is unknown"),
        ("tokenizer_digest", None, "tokenizer is unknown"),
    ],
)
def test_what_differs_or_is_not_known_is_outside(field, value, reason):
    (found,) = reasons(suspect=replace(MODEL, **{field: value}))
    assert reason in found
    assert found.startswith("the suspect's")


def test_access_must_be_that_of_the_controls():
    (found,) = reasons(suspect=replace(MODEL, access=Access.TOPK))
    assert found == "access to the suspect is TOPK, the controls had WEIGHTS, TEXT"


@pytest.mark.parametrize("families", [11, 25])
def test_the_pool_must_be_as_large_as_the_controls_had(families):
    (found,) = reasons(null_families=families)
    assert found.startswith(f"{families} unlinked control families")


def test_suites_and_measures_must_be_the_same_versions():
    assert reasons(suites=("core@2",)) == ("suite core@1 of the controls was not used",)
    assert reasons(measures=("sample-llr@2", "neuron-matching@1")) == (
        "measure sample-llr@1 of the controls was not used",
    )


def test_what_is_not_limited_gives_no_reason():
    free = replace(
        POPULATION, parameters=None, vocabulary=None, architectures=None, tokenizers=None
    )
    unknown = ModelRef(spec="openai:x", access=Access.TEXT)
    assert outside(free, replace(FACTS, suspect=unknown)) == ()


def test_the_file_follows_its_schema_and_reads_back():
    schema = json.loads((data_dir("reports") / "schema" / "population-1.json").read_bytes())
    content = json.loads(json.dumps(POPULATION.as_json()))
    Draft202012Validator(schema).validate(content)
    assert population_from_json(content) == POPULATION


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "auditor/population/2"},
        {"parameters": [3, 1]},
        {"parameters": [1, 2, 3]},
        {"parameters": "many"},
        {"architectures": "llama"},
        {"access": ["EYES"]},
        {"null_families": None},
        {"suites": [1]},
    ],
)
def test_a_malformed_file_is_refused(change):
    with pytest.raises(InputError, match="population"):
        population_from_json({**POPULATION.as_json(), **change})


@pytest.mark.parametrize("content", [None, []])
def test_another_file_is_no_population(content):
    with pytest.raises(InputError, match="no population of schema"):
        population_from_json(content)
