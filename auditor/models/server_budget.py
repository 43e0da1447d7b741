"""Limits on the requests and the cost of a case, checked before each request is sent.

Every attempt is a request, refused ones and those of earlier runs too. A request is paid by the
tokens that the server counts; before the reply, and where it counts none, by the most that it can
be: a token for each byte of the body, and all new tokens that were allowed. An attempt whose
connection broke may have been answered and counts in full; one that the server refused costs
nothing. So a server that keeps to what it was allowed never passes the limit on cost.

One that counts more is expected to do so again: the most is then as many times as large as the
largest count so far. Only what is under way when such a count first comes can pass the limit: each
request by what the server counts beyond the most that was expected of it.
"""

import json
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from auditor.canon import canonical_json
from auditor.errors import BudgetError, InputError
from auditor.exchanges import body_bytes, reply_usage
from auditor.models.price_file import Price, Prices

_TEMPLATE_TOKENS = 32
"""That a chat template adds to a message, at most."""
_RESUME = "everything that was answered is kept: repeat the command with a larger limit to go on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be spent on the servers of a case, in all of its runs together."""

    requests: int | None = None
    cost: float | None = None
    """In the currency of `prices`."""
    prices: Prices | None = None

    def check(self, models: Iterable[str]) -> None:
        """Refuse a cost that is none or has no prices, and prices without one of the models.

        Raises:
            InputError: says which.
        """
        if self.cost is not None and not 0 <= self.cost < math.inf:
            raise InputError(
                f"--max-cost {self.cost} is no cost",
                hint="give a number from 0 on, or leave it out: without it nothing limits the cost",
            )
        if self.cost is not None and self.prices is None:
            raise InputError("--max-cost needs prices", hint="give --prices FILE")
        if self.prices is not None:
            for model in models:
                self.prices.of(model)


class Budget:
    """What was spent and what is under way; threads share it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self.requests = 0
        self.cost = 0.0
        self._under_way: list[float] = []
        self._beyond = (1.0, 1.0)
        """How many times the most of a prompt and of a reply were counted, where it was more."""

    def count(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add what an exchange log says of earlier runs."""
        for entry in entries:
            self.requests += 1
            self.cost += self._cost_of(entry["request"]["body"], entry)

    def reserve(self, body: dict[str, Any]) -> float:
        """Set the most that a request can cost aside, and return it; `settle` gives it back.

        Raises:
            BudgetError: the request would pass a limit; it must not be sent.
        """
        price = self._price(body["model"])
        tokens = (0, 0) if price is None else most_tokens(body)
        with self._changed:
            # What is under way mostly ends up cheaper than it may: wait before giving up.
            self._changed.wait_for(
                lambda: self._fits(self._most(price, tokens)) or not self._under_way
            )
            most, limits = self._most(price, tokens), self._limits
            if limits.requests is not None and self.requests >= limits.requests:
                raise BudgetError(
                    f"stopped after {self.requests} requests (--max-requests {limits.requests})",
                    hint=_RESUME,
                )
            if not self._fits(most):
                raise BudgetError(
                    f"stopped at a cost of {self.cost:.6g} {self._currency}: the next request may "
                    f"cost {most:.3g} more (--max-cost {limits.cost:g})",
                    hint=_RESUME,
                )
            self.requests += 1
            self._under_way.append(most)
        return most

    def settle(self, reserved: float, body: dict[str, Any], entry: dict[str, Any]) -> None:
        """Replace what was set aside for a request by what the attempt cost."""
        with self._changed:
            self._under_way.remove(reserved)
            self.cost += self._cost_of(body, entry)
            self._changed.notify_all()

    def _fits(self, most: float) -> bool:
        limit = self._limits.cost
        return limit is None or self.cost + math.fsum(self._under_way) + most <= limit

    @property
    def _currency(self) -> str:
        return "" if self._limits.prices is None else self._limits.prices.currency

    def _price(self, model: str) -> Price | None:
        prices = self._limits.prices
        return None if prices is None else prices.of(model)

    def _cost_of(self, body: dict[str, Any], entry: dict[str, Any]) -> float:
        price = self._price(body["model"])
        if price is None or ("status" in entry and not entry["answered"]):
            return 0.0
        tokens = most_tokens(body)
        usage = reply_usage(json.loads(body_bytes(entry))) if entry["answered"] else None
        if usage is None:
            return self._most(price, tokens)
        sent, drawn = (count / max(1, most) for count, most in zip(usage, tokens, strict=True))
        self._beyond = max(self._beyond[0], sent), max(self._beyond[1], drawn)
        return price.cost(*usage)

    def _most(self, price: Price | None, tokens: tuple[int, int]) -> float:
        if price is None:
            return 0.0
        sent, drawn = (
            math.ceil(most * times) for most, times in zip(tokens, self._beyond, strict=True)
        )
        return price.cost(sent, drawn)


def most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens a request and its reply can have: at most one for each byte sent.

    All of the body counts: what is added to a request (``extra_body``) may be shown to the model.
    """
    sent = len(canonical_json(body)) + _TEMPLATE_TOKENS * len(body.get("messages", [None]))
    return sent, int(body["max_tokens"])
