"""A made-up population of controls with the scores that the toy zoo of statistics.md showed."""

import numpy as np

from auditor.judge.scores import ScoreRow

SIZES = {"independent": 24, "imitation": 20, "replication": 20}


def score_rows(seed=0, sizes=None, **columns):
    """Return rows; `columns` replace the draw of a score, by name."""
    random = np.random.RandomState(seed)
    rows = []
    for proposition, count in (sizes or SIZES).items():
        for number in range(count):
            scores = drawn(random, proposition, number)
            scores.update({name: draw(proposition, number) for name, draw in columns.items()})
            name = f"{proposition[:3]}{number:02d}"
            rows.append(
                ScoreRow(
                    subject=name, family=f"family-{name}", proposition=proposition, scores=scores
                )
            )
    return rows


def drawn(random, proposition, number):
    by_chance = float(-np.log10(random.uniform()))
    if proposition == "independent":
        return {
            "replication": by_chance,
            "span": random.normal(),
            "sample": random.standard_t(5),
        }
    if proposition == "imitation":
        span = random.normal(15, 4) if number % 2 else random.normal()  # logits, text
        return {"replication": by_chance, "span": span, "sample": random.normal(12, 5)}
    return {
        "replication": min(300.0, 8 + random.exponential(60)),
        "span": random.normal(30, 8),
        "sample": random.normal(40, 20),
    }
