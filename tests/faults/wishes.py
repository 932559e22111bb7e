"""What the clients of a fault run want: orders that can be told apart by their terms alone.

The simulator's truth is compared with what clients wanted by symbol, side, quantity and price, so
the comparison does not hang on any id that the gateway made.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from simulator.testing import Simulator

SYMBOL, SEGMENT, TOKEN = "RELIANCE", "NSECM", 2885
_PRICES = 200
_MARKET_EVERY = 6
_MARKET_QUANTITY = 50

Terms = tuple[str, int, Decimal]


class Manner(StrEnum):
    """How a client behaves."""

    PATIENT = "repeats with its key while the answer is no final one"
    HASTY = "sends the same call from two threads at once"
    DOUBTING = "repeats with its key whatever the answer was"
    KEYLESS = "has no key and sends once"


@dataclass(frozen=True, slots=True)
class Wish:
    """One order that a client wants exactly once. `price` 0 is a market order."""

    number: int
    manner: Manner
    key: str | None
    quantity: int
    price: Decimal

    @property
    def terms(self) -> Terms:
        """What identifies the order at the venue."""
        return ("BUY", self.quantity, self.price.normalize())

    def body(self, api_key: str) -> dict[str, object]:
        """The call."""
        fields: dict[str, object] = {
            "apikey": api_key, "strategy": "under fire", "symbol": SYMBOL, "exchange": "NSE",
            "action": "BUY", "product": "MIS", "quantity": self.quantity,
            "pricetype": "LIMIT" if self.price else "MARKET",
        }
        if self.price:
            fields["price"] = str(self.price)
        if self.key is not None:
            fields["client_order_id"] = self.key
        return fields


def wishes(simulator: Simulator, count: int, seed: int, run: str) -> list[Wish]:
    """`count` wishes with terms of their own: resting limit orders and some market orders.

    `run` keeps the keys of several runs on one gateway apart.
    """
    facts = simulator.control("price", None, segment=SEGMENT, token=TOKEN)
    tick = Decimal(str(facts["tick"]))
    lowest = (Decimal(str(facts["low"])) / tick).to_integral_value() * tick + tick
    chance = random.Random(seed)
    manners = chance.choices(list(Manner), weights=(50, 20, 15, 15), k=count)
    made = []
    for number, manner in enumerate(manners):
        if number % _MARKET_EVERY == 0:
            quantity, price = _MARKET_QUANTITY + number // _MARKET_EVERY, Decimal(0)
        else:
            quantity, price = 1 + number // _PRICES, lowest + number % _PRICES * tick
        key = None if manner is Manner.KEYLESS else f"{run}-{number}"
        made.append(Wish(number, manner, key, quantity, price))
    return made


def terms_at_venue(record: dict[str, object]) -> Terms:
    """The terms of an order request as the simulator received it (a dropped one has no order)."""
    sent = record["body"]
    if isinstance(sent, dict):
        kind, side, quantity, price = (
            sent[name] for name in ("orderType", "orderSide", "orderQuantity", "limitPrice")
        )
    else:
        kind, side, quantity, price = (
            record[name] for name in ("order_type", "side", "quantity", "price")
        )
    limit = Decimal(str(price)).normalize() if str(kind).upper() == "LIMIT" else Decimal(0)
    return (str(side), int(str(quantity)), limit)
