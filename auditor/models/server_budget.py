"""Limits on the requests and the cost of a case, checked before each request is sent.

Every attempt is a request, refused ones and those of earlier runs too. A request is paid by the
tokens that the server counts; before the reply, and where it counts none, by the most that it can
be: a token for each byte of the prompt, and all new tokens that were allowed. An attempt whose
connection broke may have been answered and counts in full; one that the server refused costs
nothing. So the limit on cost is never passed, whatever the server answers.
"""

import json
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

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
        """Refuse a cost without prices, and prices without one of the models.

        Raises:
            InputError: says which.
        """
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
        most = 0.0 if price is None else price.cost(*most_tokens(body))
        with self._changed:
            # What is under way mostly ends up cheaper than it may: wait before giving up.
            self._changed.wait_for(lambda: self._fits(most) or not self._under_way)
            limits = self._limits
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
        usage = reply_usage(json.loads(body_bytes(entry))) if entry["answered"] else None
        return price.cost(*(usage or most_tokens(body)))


def most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Return how many tokens a request and its reply can have: at most one for each byte sent."""
    messages = body.get("messages", [{"content": body.get("prompt", "")}])
    sent = sum(len(m["content"].encode()) + _TEMPLATE_TOKENS for m in messages)
    return sent, int(body["max_tokens"])
