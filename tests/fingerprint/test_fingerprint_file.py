"""What a fingerprint holds, and what it must not hold."""

import json

import numpy as np
import pytest
from command_line import TINY, auditor, failure
from fingerprint_files import edited
from jsonschema import Draft202012Validator
from safetensors.numpy import load_file

from auditor.collect.suite import load_suite
from auditor.data import data_dir
from auditor.fingerprint.file import read_fingerprint
from auditor.models.replies_only import prompt_text

WINDOW = 12  # bytes of text; three weights


def windows(raw: bytes, step: int) -> set[bytes]:
    return {raw[i : i + WINDOW] for i in range(0, len(raw) - WINDOW + 1, step)}


def payload(path):
    """Return all bytes of a file that anybody can get out of it: as it is, and decoded."""
    found = read_fingerprint(path)
    return [path.read_bytes(), *(values.tobytes() for values in found.arrays.values())]


def leaks(path, secrets: set[bytes], step: int) -> set[bytes]:
    return {part for raw in payload(path) for part in windows(raw, step) & secrets}


def weight_windows() -> set[bytes]:
    found = set()
    for values in load_file(TINY / "teacher" / "model.safetensors").values():
        numbers = np.asarray(values, dtype="<f4")
        if len(np.unique(numbers)) > 3:
            found |= windows(numbers.tobytes(), 4)
    return found


def text_windows() -> set[bytes]:
    suites = map(load_suite, ("continuations", "ood"))
    texts = [prompt_text(probe).encode() for suite in suites for probe in suite.probes]
    return set().union(*(windows(text, 1) for text in texts))


def test_it_follows_the_published_schema(files):
    schema = json.loads((data_dir("reports") / "schema" / "fingerprint-1.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    for path in files.values():
        assert list(Draft202012Validator(schema).iter_errors(json.loads(path.read_bytes()))) == []


def test_no_text_of_a_probe_is_in_it(files):
    secrets = text_windows()
    assert len(secrets) > 5000
    assert leaks(files["teacher"], secrets, 1) == set()


def test_no_three_neighbouring_weights_are_in_it(files):
    secrets = weight_windows()
    assert len(secrets) > 100_000
    assert leaks(files["teacher"], secrets, 4) == set()


def test_the_search_finds_a_text_and_weights_that_were_put_in(files, tmp_path):
    from auditor.canon import digest
    from auditor.fingerprint.file import packed

    content = json.loads(files["teacher"].read_bytes())
    probe = load_suite("continuations").probes[0]
    content["name"] = prompt_text(probe)[:40]
    weights = np.asarray(
        load_file(TINY / "teacher" / "model.safetensors")["model.embed_tokens.weight"], "<f4"
    )
    held = read_fingerprint(files["teacher"]).arrays["logp"].copy()
    held[:3] = weights[0, :3]
    content["arrays"]["logp"] = packed(held)
    assert content["arrays"]["logp"]["digest"] == digest(held.tobytes())
    path = tmp_path / "leaking.json"
    path.write_text(json.dumps(content, ensure_ascii=False))
    assert leaks(path, text_windows(), 1)
    assert leaks(path, weight_windows(), 4)


def test_no_path_is_in_it(files, folder, made, merged):
    path = made(folder, merged, "merged-named")
    assert str(merged).encode() not in path.read_bytes()


def test_the_limit_is_true_a_receiver_can_read_the_likeliest_token(files):
    # Row t of the projection points where the sketch goes if token t has all probability.
    from auditor.kernels.sketches import gaussian
    from auditor.models import open_model

    arrays = read_fingerprint(files["teacher"]).arrays
    rows = gaussian(259, 256, 0, "hellinger").numpy()
    guessed = (arrays["hellinger"] @ rows.T).argmax(axis=1)
    model = open_model("tiny:teacher")
    from auditor.fingerprint.making import probe_rows
    from auditor.fingerprint.plan import probes_of

    probes = probes_of(json.loads(files["teacher"].read_bytes())["terms"])
    true = np.concatenate([one.logp.argmax(dim=1).numpy() for one in probe_rows(model, probes, 16)])
    model.close()
    assert np.mean(guessed == true) > 0.9


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda c: c.update(schema="auditor/fingerprint/9"), "wanted"),
        (lambda c: c.pop("terms"), "lacks"),
        (lambda c: c["terms"].update(seed=5), "do not have the digest"),
        (lambda c: c["arrays"]["js"].update(base64="!!"), "no base64"),
        (lambda c: c["arrays"]["js"].update(base64="AAAA"), "does not have the digest"),
        (lambda c: c["arrays"]["js"].update(shape=[1, 2, 3]), "does not hold"),
        (lambda c: c["arrays"].update(logp=c["arrays"]["hellinger"]), "shape"),
        (lambda c: c.update(extra=1), "unknown there"),
    ],
)
def test_a_broken_file_is_refused_and_named(files, tmp_path, change, complaint):
    path = edited(files["teacher"], tmp_path / "broken.json", change)
    error = failure(auditor("fingerprint", "compare", path, files["sibling"], "--json"))
    assert complaint in error["message"]
    assert "broken.json" in error["message"]
    assert "make" in error["hint"]


def test_numbers_that_are_none_are_refused(files, tmp_path):
    from auditor.fingerprint.file import packed

    content = json.loads(files["teacher"].read_bytes())
    held = read_fingerprint(files["teacher"]).arrays["logp"].copy()
    held[0] = np.nan
    content["arrays"]["logp"] = packed(held)
    path = tmp_path / "nan.json"
    path.write_text(json.dumps(content))
    error = failure(auditor("fingerprint", "compare", path, files["sibling"], "--json"))
    assert "NaN" in error["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_what_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert failure(auditor("fingerprint", "compare", path, path, "--json"))["hint"]


def test_nothing_is_replaced(files):
    done = auditor("fingerprint", "make", "tiny:teacher", "--out", files["teacher"], "--json")
    assert "exists" in failure(done)["message"]


def test_projections_that_do_not_divide_are_refused(tmp_path):
    done = auditor(
        "fingerprint",
        "make",
        "tiny:teacher",
        "--out",
        tmp_path / "f",
        "--projections",
        100,
        "--json",
    )
    assert "multiple of 256" in failure(done)["hint"]


def test_a_model_known_by_its_replies_alone_has_none(tmp_path):
    records = tmp_path / "r.jsonl"
    records.write_text('{"probe_id": "inst-0001", "text": "yes"}\n')
    done = auditor("fingerprint", "make", records, "--out", tmp_path / "f", "--json")
    error = failure(done)
    assert error["type"] == "AccessError"
    assert "weights are at hand" in error["hint"]
