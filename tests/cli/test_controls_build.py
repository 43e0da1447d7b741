import pytest

from auditor.cli.main import run
from auditor.controls.transforms_merging import parse_parents
from auditor.errors import InputError
from auditor.models.loading import load_transformers


def weights(spec):
    return {n: p.detach() for n, p in load_transformers(str(spec)).module.named_parameters()}


def build(*words):
    return run(["controls", "build", *(str(word) for word in words)])


def test_a_merge_takes_weights_and_leaves_the_rest_to_the_first(tmp_path, capsys):
    out = tmp_path / "m"
    assert build("merge", "tiny:teacher", "--with", "tiny:sibling=0.25", "--out", out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    a, b, found = (weights(spec) for spec in ("tiny:teacher", "tiny:sibling", out))
    assert all(bool((found[name] == 0.75 * a[name] + 0.25 * b[name]).all()) for name in found)


def test_every_kind_is_built(tmp_path):
    cases = {
        "prune": ["--share", "0.25"],
        "cast": ["--method", "bfloat16"],
        "permute": ["--method", "all", "--seed", "3"],
        "rotate": [],
        "quantise": ["--bits", "4"],
        "reinitialise": ["--seed", "1"],
        "merge": ["--method", "dare", "--with", "tiny:sibling", "--base", "tiny:independent"],
    }
    for kind, options in cases.items():
        assert build(kind, "tiny:teacher", "--out", tmp_path / kind, *options) == 0, kind
        assert (tmp_path / kind / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rotate", "--bits", "4"], "rotate has no use for --bits"),
        (["prune", "--with", "tiny:sibling"], "prune has no use for --with"),
        (["prune", "--share", "1"], "not in the range"),
        (["merge"], "1 parents for linear"),
        (["merge", "--with", "tiny:sibling=much"], "'much' is no weight"),
        (["merge", "--with", "tiny:sibling", "--method", "ties"], "ties needs a base"),
        (["permute", "--method", "ears"], "unknown parts 'ears'"),
        (["cast", "--method", "float8"], "no narrow type"),
    ],
)
def test_absurd_orders_are_exit_2_and_leave_nothing(tmp_path, capsys, words, said):
    out = tmp_path / "x"
    assert build(words[0], "tiny:teacher", "--out", out, *words[1:]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_weights_of_parents():
    assert parse_parents(["a", "b"]) == (("a", "b"), (1 / 3, 1 / 3, 1 / 3))
    assert parse_parents(["a=0.5", "b=0.25"]) == (("a", "b"), (0.25, 0.5, 0.25))
    with pytest.raises(InputError, match="some parents have a weight"):
        parse_parents(["a=0.5", "b"])
