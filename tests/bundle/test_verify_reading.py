"""What verify reads once serves all checks, and quick looks find what the thorough ones do."""

from auditor.bundle.listing import list_folder
from auditor.bundle.scan import scan
from auditor.bundle.secret_scan import _SHAPES, _STARTS
from auditor.case import Case
from auditor.report.integrity import listed, listed_files


def test_digests_of_the_first_pass_are_those_that_a_report_lists(sealed):
    scanned = scan(sealed.root, list_folder(sealed.root).sizes)
    inside = {name[5:]: one for name, one in scanned.items() if name.startswith("data/")}
    files = listed({name: (one.size, one.sha256) for name, one in inside.items()})
    assert files == listed_files(Case(sealed.root))
    assert len(files) > 10


def test_files_are_listed_folder_by_folder():
    found = listed({"a-b/x": (1, "0"), "a/x": (1, "0"), "a/b": (1, "0"), "report.md": (1, "0")})
    assert [file.name for file in found] == ["a/b", "a/x", "a-b/x"]


def test_every_shape_of_a_key_has_a_start_that_is_looked_for():
    examples = {
        "a private key": b"-----BEGIN EC PRIVATE KEY-----",
        "an API key (sk-...)": b"sk-",
        "a Hugging Face token": b"hf_",
        "a GitHub token": b"ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        "an AWS key id": b"AKIA ASIA",
        "a Google API key": b"AIza",
        "a Slack token": b"xoxb-",
        "an authorization header": b"Bearer ",
    }
    assert examples.keys() == _SHAPES.keys()
    for text in examples.values():
        for word in text.split() if b"PRIVATE" not in text else [text]:
            assert any(start.strip() in word for start in _STARTS), word
