import pytest
from registry_world import card, told

from auditor.registry.card import read_card
from auditor.registry.claim import KINDS


def test_the_front_matter_of_a_hub_card(tmp_path):
    found = card(
        tmp_path / "m",
        "---\nlicense: mit\nbase_model:\n- org/one\n- org/two\nbase_model_relation: merge\n"
        "datasets: [org/data]\nteacher: big/model\n---\n# Title\n",
    )
    assert told(found) == [
        ("base_model", "org/one", "merge"),
        ("base_model", "org/two", "merge"),
        ("teachers", "big/model", None),
        ("datasets", "org/data", None),
    ]
    assert found.problems == ()
    assert found.claims[0].source == "README.md, front matter"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_change_no_claim(tmp_path, end):
    lines = ["---", "base_model: org/one", "---", "# Title", "Trained from scratch.", ""]
    found = card(tmp_path / "m", end.join(lines).encode())
    assert told(found) == [("base_model", "org/one", None), ("from_scratch", None, None)]
    assert found.problems == ()


def test_front_matter_may_follow_blank_lines_as_on_the_hub(tmp_path):
    found = card(tmp_path / "m", "\ufeff\n \n---\nbase_model: org/one\n---\n")
    assert told(found) == [("base_model", "org/one", None)]


@pytest.mark.parametrize("text", ["---\nbase_model: a/b\n", "---", "---\nbase_model: a/b\n----\n"])
def test_front_matter_without_an_end_is_a_problem(tmp_path, text):
    found = card(tmp_path / "m", text)
    assert found.problems == ("the front matter of README.md has no end",)


def test_a_card_in_another_encoding_is_a_problem(tmp_path):
    found = card(tmp_path / "m", "---\nbase_model: a/b\n---\n".encode("utf-16"))
    assert found.problems == ("README.md is not in UTF-8",)


def test_a_quantised_base_is_a_claim_of_its_own(tmp_path):
    found = card(tmp_path / "m", "---\nbase_model: a/b\nbase_model_relation: quantized\n---\n")
    assert told(found) == [("quantised_from", "a/b", "quantized")]


def test_config_and_the_record_of_a_run_claim_too(tmp_path):
    digest = "sha256:" + "0" * 64
    found = card(
        tmp_path / "m",
        config={"_name_or_path": "org/base", "quantization_config": {"quant_method": "gptq"}},
        lineage={
            "teacher": {"spec": "hf:org/t@1", "digest": digest},
            "student": {"started_from": None},
            "dose": {"share": 0.5},
        },
    )
    assert told(found) == [
        ("base_model", "org/base", None),
        ("quantised_from", None, "quantized"),
        ("teachers", "hf:org/t@1", None),
    ]
    assert (found.claims[2].digest, found.claims[2].dose) == (digest, 0.5)
    assert found.problems == ("there is no model card (README.md)",)


# json.loads takes NaN and numbers of any length; a share is from 0 to 1.
@pytest.mark.parametrize(
    "share", ["1" + "0" * 400, "NaN", "Infinity", "-0.1", "1.5", "true", '"1"']
)
def test_a_dose_that_is_no_share_is_a_problem_and_the_teacher_still_counts(tmp_path, share):
    (tmp_path / "lineage.json").write_text(
        f'{{"teacher": {{"spec": "org/t"}}, "dose": {{"share": {share}}}}}'
    )
    found = card(tmp_path, "# x")
    assert [(claim.target, claim.dose) for claim in found.claims] == [("org/t", None)]
    assert found.problems == ("the dose in lineage.json is no share from 0 to 1",)


@pytest.mark.parametrize("path", ["/home/me/checkpoint", "./out", "../base"])
def test_a_local_path_in_the_config_is_no_claim(tmp_path, path):
    assert told(card(tmp_path / "m", "# x", config={"_name_or_path": path})) == []


def test_a_config_may_be_of_a_model_whose_weights_were_not_taken(tmp_path):
    # AutoConfig.from_pretrained(NAME) leaves it there, and training from scratch keeps it.
    (found,) = card(tmp_path / "m", "# x", config={"_name_or_path": "org/base"}).claims
    assert not found.plain


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("base_model: [a/b\nx: :", "is no YAML, line"),
        ("- a\n- b", "holds no keys"),
        ("base_model: !!python/object/apply:os.system ['true']", "is no YAML"),
        ("a: " + "[" * 5000, "is no YAML"),
        ("a: !!bool maybe", "is no YAML"),
        ("a: !!int ''", "is no YAML"),
        ("a: !!float ''", "is no YAML"),
        ("a: !!timestamp foo", "is no YAML"),
    ],
)
def test_broken_front_matter_is_a_problem_and_the_text_still_counts(tmp_path, front, problem):
    found = card(tmp_path / "m", f"---\n{front}\n---\nTrained from scratch.\n")
    assert problem in found.problems[0]
    assert told(found) == [("from_scratch", None, None)]


def test_aliases_of_yaml_do_not_explode(tmp_path):
    lines = ["a0: &a0 [x/y, x/y]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    front = "\n".join([*lines, "base_model: *a11"])
    assert told(card(tmp_path / "m", f"---\n{front}\n---\n")) == []


def test_odd_values_are_passed_over(tmp_path):
    found = card(
        tmp_path / "m",
        "---\nbase_model: [1, null, {a: b}, ' org/x ']\nbase_model_relation: [z]\n"
        "datasets: 2024-01-01\n---\n",
    )
    assert told(found) == [("base_model", "org/x", None)]


def test_a_card_of_bytes_and_a_huge_one(tmp_path):
    assert told(card(tmp_path / "a", b"\xff\xfeTrained from scratch.")) == [
        ("from_scratch", None, None)
    ]
    found = card(tmp_path / "b", b"x" * 4_000_001)
    assert found.claims == ()
    assert "larger than" in found.problems[0]


def test_quotes_are_short(tmp_path):
    found = card(tmp_path / "m", "Trained from scratch on " + "x " * 400)
    assert len(found.claims[0].quote) == 160


def test_a_gguf_file_names_its_base_model(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_string("general.base_model.0.repo_url", "https://huggingface.co/org/base")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert told(read_card(tmp_path / "m.gguf")) == [("base_model", "org/base", None)]


def test_every_kind_has_a_name():
    assert len(KINDS) == len(set(KINDS)) == 5
