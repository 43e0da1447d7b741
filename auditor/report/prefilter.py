"""The prefilter of a scan as a figure with its table, a page of its own, and a bare SVG file."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from auditor.case import Case
from auditor.data import data_dir
from auditor.report.canvas import Canvas
from auditor.report.escape import visible
from auditor.report.lineage_tree import Leaf, tree_drawing
from auditor.report.plates import Plate, Table
from auditor.report.result import PREFILTER
from auditor.report.svg import labelled
from auditor.report.templates import html_templates
from auditor.report.words import counted

_CAPTION = (
    "Neighbour-joining tree (Saitou & Nei 1987) of the distances between samples of the weights, "
    "drawn from the reference; a tree of files has no root of its own. Filled dots: to be "
    "measured; open dots: left out. Which model came first it cannot say, nor whether two are "
    "linked: unrelated models and students trained on outputs lie near 1, copies with reordered "
    "neurons anywhere up to there."
)
_NO_TREE = "No tree: the weights of the reference, or of every suspect, cannot be read."
COLUMNS = (
    "Suspect",
    "Digest of what was read",
    "Tensors reused",
    "Tokenizer",
    "Vocabulary overlap",
    "Distance",
    "Read (MB)",
    "To measure",
)


def label_of(spec: str) -> str:
    """Return the last part of a specifier: a folder's, a file's or a hub model's own name.

    What follows a ``?`` is shown of a folder or a GGUF file: it may be part of its name.
    """
    stem, mark, rest = spec.partition("?")
    name = stem.rstrip("/").rpartition("/")[2].rpartition(":")[2] or spec
    return f"{name}{mark}{rest}" if spec.startswith(("local:", "gguf:")) else name


def table_rows(content: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row of text for each suspect, in the order given; see `COLUMNS`."""
    return [
        (
            label_of(row["spec"]),
            _digest_words(row),
            _share(row["tensor_reuse"]),
            _word(row["same_tokenizer"], "same", "other"),
            _share(row["vocabulary_overlap"]),
            "not known" if row["distance"] is None else f"{row['distance']:.3f}",
            f"{row['bytes_read'] / 1e6:,.1f} of {row['bytes_stored'] / 1e6:,.1f}",
            "yes" if row["measured"] else "no",
        )
        for row in content["suspects"]
    ]


def _digest_words(row: dict[str, Any]) -> str:
    if row["same_digest"] and row["read_whole"]:
        return "same, read whole"
    return _word(row["same_digest"], "same", "other")


def _word(value: bool | None, yes: str, no: str) -> str:
    if value is None:
        return "not known"
    return yes if value else no


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0%}"


def left_out_sentence(content: dict[str, Any]) -> str:
    """Return how many of the suspects were measured; of those left out nothing is said."""
    total, left_out = len(content["suspects"]), content["left_out"]
    if not left_out:
        return f"None of {counted(total, 'suspect')} is left out."
    return (
        f"{left_out} of {counted(total, 'suspect')} were left out as farther from the reference "
        "when those to be measured were chosen: nothing is concluded about them, and p-values are "
        "corrected for the number measured, not for the number looked at."
    )


def prefilter_plate(content: dict[str, Any]) -> Plate | None:
    """Return the tree with its table; None where there is no tree."""
    canvas = _tree(content)
    if canvas is None:
        return None
    rows = table_rows(content)
    alt = "; ".join(f"{row[0]}: distance {row[5]}" for row in rows)
    return Plate(
        svg=labelled(canvas.svg(), f"Tree of the reference and the suspects. {alt}."),
        title="Lineage graph: context, not evidence",
        caption=_CAPTION,
        table=Table(columns=COLUMNS, rows=tuple(rows)),
    )


def prefilter_page(content: dict[str, Any]) -> str:
    """Return a page about a prefilter alone."""
    template = html_templates().get_template("prefilter.html.j2")
    return template.render(context=prefilter_view(content))


def stored_prefilter(case: Case) -> dict[str, Any] | None:
    """Return the view of the prefilter that chose a case's suspects; None where there was none."""
    if not (case.data / PREFILTER).is_file():
        return None
    return prefilter_view(case.read_json(PREFILTER))


def prefilter_view(content: dict[str, Any]) -> dict[str, Any]:
    """Return what the section of a prefilter shows beside its figure."""
    return {
        "note": content["note"],
        "reference": label_of(content["reference"]["spec"]),
        "suspects": len(content["suspects"]),
        "left_out": left_out_sentence(content),
        "refused": content["refused"],
        "plate": prefilter_plate(content),
        "no_tree": _NO_TREE,
        "table": Table(columns=COLUMNS, rows=tuple(table_rows(content))),
    }


def prefilter_svg(content: dict[str, Any]) -> str | None:
    """Return the tree as an SVG file of its own, with colours for light and dark; None without."""
    drawn = _tree(content)
    if drawn is None:
        return None
    style = (data_dir("reports") / "templates" / "style.css").read_text()
    colours = style.partition("*,")[0]  # the variables of light and dark mode come first
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" style="{}" viewBox="{}"><title>{}</title>'
        "<desc>{}</desc><style>{}</style>"
    ).format(
        "width:100%;max-width:44rem;height:auto;background:var(--plate);font-family:sans-serif",
        f"0 0 {drawn.width:g} {drawn.height:g}",
        "Lineage graph: context, not evidence",
        visible(f"{content['note']} {_CAPTION}"),
        Markup(colours),  # noqa: S704 - our own style sheet
    )
    return f"{head}{drawn.svg().partition('>')[2]}\n"


def _tree(content: dict[str, Any]) -> Canvas | None:
    if content["tree"] is None:
        return None
    leaves = [Leaf(label=label_of(content["reference"]["spec"]), measured=True), *_leaves(content)]
    return tree_drawing(content["tree"]["nodes"], leaves)


def _leaves(content: dict[str, Any]) -> Sequence[Leaf]:
    return [
        Leaf(label=label_of(row["spec"]), measured=row["measured"]) for row in content["suspects"]
    ]
