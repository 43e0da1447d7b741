"""The results of a pack in Markdown: what was found on its locked half, and what failed."""

from collections.abc import Iterator, Sequence
from typing import Any

Results = dict[str, Any]


BLIND = (
    "The rules `reading/3`, their thresholds, the fusions and the dose curves were fixed with an "
    "earlier population, made by this recipe with another seed, and with the calibration half of "
    "this one, before a score of the locked half was looked at. Everything below is of that half."
)
"""What a reader must know of the rules before believing an error rate of the pack."""


def evaluation_markdown(results: Results, title: str) -> str:
    """Return the results of `auditor.controls.pack_evaluation.evaluate` as tables."""
    parts = (
        f"# {title}",
        BLIND,
        "Intervals are at 95 %, over families.",
        "## Models",
        *_table(("role", "models", "families"), _models(results)),
        "## Readings",
        *_table(("truth", "reading", "models"), _readings(results)),
        _false_links(results["false_links"]),
        "## Seen at each access to the suspect",
        "Beyond every control family by a decisive test of that access, predictive p under 0.01; "
        "with weights, read as linked. A linked family counts where all of its models are seen, "
        "one without a link where any is.",
        *_table(_ACCESS, _access(results["access"])),
        "## Separation",
        *_table(_SEPARATION, _separation(results["separation"])),
        "## Rejection rates of unlinked models",
        *_table(("test", "nominal", "rejected", "models", "95 % band", "inside"), _nulls(results)),
        "## Likelihood ratios",
        *_table(_FUSION, _fusion(results["fusion"])),
        "## Groups",
        "Both halves. Lowest, median and highest score: -log10 p of neuron matching, and z of the "
        "unembedding span, the sample LLR and idiosyncratic agreement.",
        *_table(("group", "models", "readings", *_SCORES), _groups(results["groups"])),
    )
    return "\n\n".join(parts) + "\n"


_ACCESS = ("access", "tests", "models", "seen", "families", "share", "95 % interval")
_SEPARATION = (
    "question",
    "score",
    "linked",
    "others",
    "undefined",
    "AUC",
    "interval",
    "TPR at 1 % FPR",
    "interval",
)
_FUSION = ("scores", "question", "models", "Cllr", "interval", "Cllr_min", "AUC", "bounds, log10")
_SCORES = ("replication", "span", "sample", "idiosyncrasy")


def _table(head: Sequence[str], rows: Iterator[Sequence[Any]]) -> tuple[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return ("\n".join(lines),)


def _models(results: Results) -> Iterator[Sequence[Any]]:
    for role, counts in results["models"].items():
        yield role, counts["models"], counts["families"]


def _readings(results: Results) -> Iterator[Sequence[Any]]:
    for role, words in results["readings"].items():
        for word, count in words.items():
            yield role, word, count


def _false_links(found: Results) -> str:
    models, families = found["models"], found["families"]
    which = ", ".join(found["which"]) or "none"
    return (
        f"Unlinked models read as linked: {models['count']} of {models['families']} models "
        f"({_percent(models['interval'])}), {families['count']} of {families['families']} families "
        f"({_percent(families['interval'])}): {which}."
    )


def _percent(interval: Sequence[float]) -> str:
    return f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def _access(rows: Sequence[Results]) -> Iterator[Sequence[Any]]:
    for row in rows:
        found, (count, total) = row["families"], row["seen"]
        yield (
            row["access"],
            ", ".join(row["tests"]),
            row["models"],
            f"{count} of {total}",
            f"{found['count']} of {found['families']}",
            f"{found['value']:.2f}",
            _interval(found["interval"]),
        )


def _separation(rows: Sequence[Results]) -> Iterator[Sequence[Any]]:
    for row in rows:
        yield (
            row["question"],
            row["score"],
            row["linked"],
            row["others"],
            row["undefined"],
            f"{row['auc']:.3f}",
            _interval(row["auc_interval"]),
            f"{row['tpr_at_1_percent']:.2f}",
            _interval(row["tpr_interval"]),
        )


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0]:.3f} to {ends[1]:.3f}"


def _nulls(results: Results) -> Iterator[Sequence[Any]]:
    for row in results["null_tests"]:
        low, high = row["band"]
        inside = "yes" if row["inside"] else "**no**"
        yield (
            row["test"],
            row["nominal"],
            row["rejected"],
            row["models"],
            f"{low} to {high}",
            inside,
        )


def _fusion(found: Results) -> Iterator[Sequence[Any]]:
    for scores, pairs in found.items():
        if "undefined" in pairs:
            yield scores, pairs["undefined"], *[""] * 6
            continue
        for pair, row in pairs.items():
            if "undefined" in row:
                yield scores, pair, row["undefined"], *[""] * 5
                continue
            yield (
                scores,
                pair,
                row["models"],
                f"{row['cllr']:.3f}",
                _interval(row["cllr_interval"]),
                f"{row['cllr_min']:.3f}",
                f"{row['auc']:.3f}",
                f"{row['bounds'][0]:.2f} to {row['bounds'][1]:.2f}",
            )


def _groups(groups: Results) -> Iterator[Sequence[Any]]:
    for name, found in groups.items():
        words = ", ".join(f"{word} {count}" for word, count in found["readings"].items())
        yield name, found["models"], words, *(_spread(found[score]) for score in _SCORES)


def _spread(values: Sequence[float] | None) -> str:
    return "undefined" if values is None else " / ".join(f"{value:.1f}" for value in values)


def robustness_markdown(rows: Sequence[Results]) -> str:
    """Return the share of served models that were detected, by group and way of serving."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    head = ("way of serving", "probes", "refusals a model", *groups)
    return "\n\n".join(
        (
            "## Served by a host, examined by text alone",
            "Models over the threshold of `imitation` (beyond every control and predictive p under "
            "0.01). Refusals are replies: they are scored, not dropped.",
            *_table(head, _served(rows, groups)),
        )
    )


def _served(rows: Sequence[Results], groups: Sequence[str]) -> Iterator[Sequence[Any]]:
    for way, probes in dict.fromkeys((row["way"], row["probes"]) for row in rows):
        some = [row for row in rows if (row["way"], row["probes"]) == (way, probes)]
        refused = sum(row["refusals"] for row in some) / len(some)
        yield way, probes, f"{refused:.1f}", *(_share(some, group) for group in groups)


def _share(rows: Sequence[Results], group: str) -> str:
    found = [row["detected"] for row in rows if row["group"] == group]
    return f"{sum(found)} of {len(found)}"
