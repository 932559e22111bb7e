"""What can be switched while the simulator runs: quirks, fills and latency of one venue.

Every field can be set through `POST /_sim/config`; a name that is not here is refused, so a
misspelt quirk cannot make a test pass by doing nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

DEAD_TOKEN_FORMS = ("e-session-0007", "e-token-0001", "e-session-0005", "200", "401")
DATE_FORMATS = ("dmy", "iso", "iso7", "iso-zone", "mdy")


@dataclass(slots=True)
class Quirks:
    """How this venue spells things; the defaults are what live Jainam servers send.

    rate_limit_status: 400 or 429; rate_limit_nested wraps the body in `data`.
    dead_token: one of DEAD_TOKEN_FORMS (§3.6).
    date_format: one of DATE_FORMATS, for order and trade rows (§5.6).
    loose_numbers: average prices as text, with thousands commas, "" where none (§5.5).
    order_ids_as_text: AppOrderID as a JSON string.
    mtm: "zero" as live servers do, or "computed".
    empty_dealer_orders / empty_dealer_positions: "error" (400) or "success" with an empty list.
    subscription_limit: instruments a market-data session may subscribe to.
    token_seconds: life of a token.
    """

    rate_limit_status: int = 400
    rate_limit_nested: bool = False
    rate_limit_code: str = "e-apirl-0004"
    cancel_as_list: bool = False
    holdings_shape: str = "isin"
    product_type_shape: str = "map"
    date_format: str = "dmy"
    positions_bare: bool = False
    place_omits_identifier: bool = False
    loose_numbers: bool = False
    order_ids_as_text: bool = False
    order_type_upper: bool = False
    dead_token: str = "e-session-0007"  # noqa: S105 - a code, not a password
    require_unique_key: bool = False
    empty_dealer_orders: str = "error"
    empty_dealer_positions: str = "success"
    mtm: str = "zero"
    shuffle_books: bool = False
    cancelled_keeps_leaves: bool = False
    ctcl_answer: bool = False
    tick_base_1970: bool = False
    subscription_limit: int = 50
    token_seconds: int = 86_400
    new_columns: bool = True


@dataclass(slots=True)
class Behaviour:
    """How orders live on this venue.

    fill: "auto" matches on the moving price; "manual" waits for `/_sim/orders/<id>/fill`.
    partial_probability: chance that an execution takes only a part; executions: parts at most.
    latency: "off" or "realistic" (20-80 ms to acknowledge, §17.2).
    market_protection: unused market quantity rests at the last level when true.
    """

    fill: str = "auto"
    partial_probability: float = 0.0
    executions: int = 2
    latency: str = "off"
    stop_market_in_fo: bool = True


CHOICES: dict[str, tuple[Any, ...]] = {
    "rate_limit_status": (400, 429),
    "holdings_shape": ("isin", "list"),
    "product_type_shape": ("map", "list"),
    "date_format": DATE_FORMATS,
    "dead_token": DEAD_TOKEN_FORMS,
    "empty_dealer_orders": ("error", "success"),
    "empty_dealer_positions": ("error", "success"),
    "mtm": ("zero", "computed"),
    "fill": ("auto", "manual"),
    "latency": ("off", "realistic"),
}


def apply(target: Quirks | Behaviour, changes: dict[str, Any]) -> None:
    """Set fields by name; ValueError names the first field that is unknown or wrongly typed."""
    known = {f.name for f in fields(target)}
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"unknown setting {name!r}; known: {', '.join(sorted(known))}")
        current = getattr(target, name)
        if isinstance(current, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(current):
            raise ValueError(f"{name} must be a {type(current).__name__}")
        if name in CHOICES and value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(map(str, CHOICES[name]))}")
        checked[name] = value
    for name, value in checked.items():
        setattr(target, name, value)


def shown(target: Quirks | Behaviour) -> dict[str, Any]:
    """All fields and their values."""
    return asdict(target)
