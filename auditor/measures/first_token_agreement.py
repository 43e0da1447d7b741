"""How often a suspect begins its reply as the reference does where the reference stands alone."""

from auditor.measures._alone import (
    alone_and_followed,
    first_choices,
    share_followed,
    shares_followed,
)
from auditor.measures._first_tokens import common_lists
from auditor.measures._registry import measure
from auditor.outputs import Pair
from auditor.types import Access, Array


def subset_agreements(pair: Pair, chosen: Array) -> Array:
    """Return (B,): the agreement on each of B subsets of the probes, (B, P); NaN: undefined."""
    return shares_followed(_counts(pair), chosen)


@measure(
    "first-token-agreement",
    version=1,
    group="idiosyncrasy",
    unit="share",
    bounds=(0.0, 1.0),
    identical=1.0,
    closer="higher",
    symmetric=False,
    needs=("answers", "pool"),
    reduce="pooled",
    access=Access.TOPK,
    subsets=subset_agreements,
)
def first_token_agreement(pair: Pair) -> float:
    """Share of the replies that the reference begins as no other that the suspect begins alike.

    Formula: that of idiosyncratic-agreement, at the first token of the reply to each probe: D =
    {probes: the reference's likeliest first token is none of those that most controls put first};
    the value is the mean over D of 1[the suspect's likeliest first token is the reference's].
    A server shows it beside its own replies; no text need be given to it.

    Range: [0, 1]. Not symmetric.
    Degenerate: undefined with fewer than 3 controls of the reference's vocabulary, or where the
    reference never stands alone.

    Pitfalls: one position a probe, of which the reference stands alone at a few: with 64 probes no
    tiny student was told from unlinked models, with 256 four of six. No reading rests on it. The
    level depends on the pool, as that of idiosyncratic-agreement. A server's own chat template or
    system prompt changes the first token of every reply.
    """
    return share_followed(_counts(pair))


def _counts(pair: Pair) -> Array:
    ours, theirs, lists = common_lists(pair)
    return alone_and_followed(first_choices((ours, theirs), lists), len(pair.probes))
