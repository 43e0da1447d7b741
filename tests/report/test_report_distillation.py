"""The report of a distillation run says what the lineage says."""

import json

import pytest
from run_fixture import STEPS, write_run
from test_report_html import text_of, tree
from test_report_result import assert_follows

from auditor.errors import CaseError
from auditor.report.distillation import summary, thinned, write_run_report


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("run") / "run", spec="local:/<b>\u202eevil")
    write_run_report(folder)
    return folder


def test_lineage_follows_its_schema(tmp_path):
    for teacher in (True, False):
        folder = write_run(tmp_path / str(teacher), teacher=teacher)
        assert_follows("lineage-1", json.loads((folder / "lineage.json").read_bytes()))


def test_report_is_strict_inert_html(run):
    page = tree(run / "report.html")
    assert "\u202e" not in (run / "report.html").read_text()
    assert {"script", "b", "img"} & {str(e.tag) for e in page.iter()} == set()
    body = text_of(page)
    assert "local:/<b>⟦U+202E⟧evil" in body


def test_report_names_permission_dose_digests_and_how_to_repeat(run):
    lineage = json.loads((run / "lineage.json").read_bytes())
    body = text_of(tree(run / "report.html"))
    for expected in (
        "permit-with-duties (as declared), licence Apache-2.0, scope research",
        "name the teacher; keep the licence",
        "1,024,000 tokens",
        # share 0.9 of the loss
        "90 %",
        "layers 0, 2, 5 of the teacher",
        lineage["teacher"]["digest"],
        lineage["student"]["digest"],
        lineage["files"]["metrics.jsonl"].removeprefix("sha256:"),
        "auditor distill recipe.yaml --out REPEATED",
        # 0.995^500 = 0.0816
        "0.0816 of its value before training",
    ):
        assert expected in body


def test_curves_start_before_training_and_end_after_it(run):
    page = tree(run / "report.html")
    titles = [text_of(e) for e in page.findall(".//p[@class='title']")]
    assert titles == [
        "Exhibit 1: Training loss",
        "Exhibit 2: KL divergence of the student from the teacher, held-out part",
        "Exhibit 3: Same likeliest token, held-out part",
        "Exhibit 4: Held-out loss",
    ]
    # 1.5 at the start, 1.5 * 0.995^500 = 0.1224 at the end
    assert "1.5 before training, 0.1224 after 500 steps" in text_of(page)
    steps = [text_of(th) for th in page.findall(".//figure[@id='exhibit-2']//tbody//th")]
    assert steps == ["0", "100", "200", "300", "400", "500"]


def test_run_without_a_teacher_needs_no_permission(tmp_path):
    folder = write_run(tmp_path / "run", teacher=False)
    body = text_of(tree(write_run_report(folder)))
    assert "none needed: no teacher was used" in body
    assert "How well did the student learn the text?" in body
    assert "KL divergence" not in body


def test_run_without_a_held_out_part_shows_the_training_loss(tmp_path):
    folder = write_run(tmp_path / "run", teacher=False)
    lineage = json.loads((folder / "lineage.json").read_bytes())
    lineage["results"]["holdout"] = None
    (folder / "lineage.json").write_text(json.dumps(lineage))
    rows = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(row for row in rows if "holdout" not in row))
    page = tree(write_run_report(folder))
    # 2 + 3 * 0.99 = 4.97 at the first step, 2 + 3 * 0.99^500 = 2.01971 at the last
    assert text_of(page.find(".//li[@class='card']")) == (
        "Training loss 2.02 nats/token before training 4.97, 0.406 of that"
    )


def test_same_files_give_the_same_bytes(run):
    before = (run / "report.html").read_bytes()
    write_run_report(run)
    assert (run / "report.html").read_bytes() == before


def test_thinning_keeps_means_of_equal_stretches():
    points = [(float(i), float(10 * i)) for i in range(8)]
    assert thinned(points, 4) == [(0.5, 5.0), (2.5, 25.0), (4.5, 45.0), (6.5, 65.0)]
    assert thinned(points, 8) == points


def test_summary_is_one_sentence(run):
    lineage = json.loads((run / "lineage.json").read_bytes())
    lineage["teacher"]["spec"] = "tiny:teacher"
    assert summary(lineage) == (
        f"A student of 468,096 parameters was trained for {STEPS} steps on the teacher's "
        "probabilities (forward-kl), teacher tiny:teacher."
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lineage.json", None, r"lineage\.json is missing"),
        ("lineage.json", "{", "is not JSON"),
        ("lineage.json", "{}", "is malformed"),
        ("metrics.jsonl", None, r"metrics\.jsonl is missing"),
        ("metrics.jsonl", "{\n", "is not JSON lines"),
    ],
)
def test_broken_run_is_named_and_nothing_is_written(tmp_path, name, content, message):
    folder = write_run(tmp_path / "run")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(CaseError, match=message):
        write_run_report(folder)
    assert not (folder / "report.html").exists()
