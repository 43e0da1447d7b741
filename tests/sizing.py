"""What an audit of many large models takes, from the inputs in reports/benchmarks/sizing.md.

``python tests/sizing.py`` prints the table of that page.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parent.parent / "reports" / "benchmarks" / "sizing.md"


def inputs(page: str) -> dict[str, Any]:
    """Return the numbers of the page's YAML block, all groups together."""
    block = page.partition("```yaml\n")[2].partition("```")[0]
    return {key: value for group in yaml.safe_load(block).values() for key, value in group.items()}


def hours(given: dict[str, Any]) -> dict[str, float]:
    """Return GPU hours by kind of work."""
    models = 1 + given["suspects"] + given["controls"]
    scorers = 1 + given["controls"]
    probes, reply = given["probes"], given["reply_tokens"]
    whole = given["prompt_tokens"] + reply
    flop_per_token = 2 * given["parameters"]
    flop_per_s = given["peak_flop_per_s"] * given["utilisation"]
    at_once = given["batch_tokens"] // whole
    steps = models * probes / at_once * reply
    prefill = models * probes * given["prompt_tokens"] * flop_per_token / flop_per_s
    read = models * probes * whole * flop_per_token / flop_per_s
    cross = scorers * models * probes * reply * flop_per_token / flop_per_s
    loads = (2 * models + scorers) * given["parameters"] * 2 / given["disk_bytes_per_s"]
    seconds = {
        "write the replies": prefill + steps * given["step_s"],
        "read the reference's texts": read,
        "score all replies by the reference and the controls": cross,
        "load the weights": loads,
    }
    return {what: value / 3600 for what, value in seconds.items()}


def gigabytes(given: dict[str, Any]) -> dict[str, float]:
    """Return 10^9 bytes of a finished case by kind of file."""
    models, scorers = 1 + given["suspects"] + given["controls"], 1 + given["controls"]
    replies = models * given["probes"]
    tokens = given["prompt_tokens"] + given["reply_tokens"]
    line = given["record_bytes"] + given["record_bytes_per_token"] * tokens
    position = given["agreement_bytes"] + given["topk_bytes"] + given["score_bytes"]
    found = {
        "records": replies * line,
        "agreement, top tokens, scores": replies * given["reply_tokens"] * position,
        "mean hidden states": replies * 4 * given["width"],
        "embeddings": replies * 4 * given["embedding_width"],
        "crossed scores": scorers * replies * given["crossing_bytes"],
    }
    return {what: value / 1e9 for what, value in found.items()}


def table(given: dict[str, Any]) -> str:
    """Return the rows of the page's table."""
    rows = [f"| {what} | {value:,.0f} GPU h |" for what, value in hours(given).items()]
    total = sum(hours(given).values())
    rows.append(f"| all work | {total:,.0f} GPU h, {total * given['price_per_hour']:,.0f} USD |")
    rows += [f"| {what} | {value:,.1f} GB |" for what, value in gigabytes(given).items()]
    rows.append(f"| all files | {sum(gigabytes(given).values()):,.0f} GB |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.stdout.write(table(inputs(PAGE.read_text(encoding="utf-8"))) + "\n")
