"""What XTS refuses at once (HTTP 400, no row): fields, enums, lots, unknown instruments (§17.2)."""

from __future__ import annotations

import math
from typing import Any

from simulator.envelope import XtsError, invalid
from simulator.market.catalog import Catalog
from simulator.market.instruments import Instrument
from simulator.oms.orders import BUY, LIMIT, MARKET, SELL, STOP_LIMIT, STOP_MARKET, Terms
from simulator.profiles import SEGMENT_NUMBERS, Profile

_TYPES = {
    "MARKET": MARKET,
    "Market": MARKET,
    "LIMIT": LIMIT,
    "Limit": LIMIT,
    "STOPMARKET": STOP_MARKET,
    "StopMarket": STOP_MARKET,
    "STOPLIMIT": STOP_LIMIT,
    "StopLimit": STOP_LIMIT,
}
PRODUCTS = ("MIS", "NRML", "CNC", "MTF")
TIMES = ("DAY", "IOC")
_MAX_TAG = 20


def _required(body: dict[str, Any], name: str) -> Any:
    if name not in body or body[name] is None:
        raise invalid(name, "is required")
    return body[name]


def number(body: dict[str, Any], name: str) -> float:
    """A finite number ≥ 0; numeric text is accepted as live servers do (§5.5)."""
    value = _required(body, name)
    if isinstance(value, str):
        try:
            value = float(value.replace(",", ""))
        except ValueError:
            raise invalid(name, "must be a number", kind="number.base") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(name, "must be a number", kind="number.base")
    try:
        made = float(value)
    except OverflowError:
        made = math.inf
    if not math.isfinite(made):
        raise invalid(name, "must be a number", kind="number.base")
    if made < 0:
        raise invalid(name, "must be larger than or equal to 0", kind="number.min")
    return made


def whole(body: dict[str, Any], name: str) -> int:
    """A whole number ≥ 0."""
    value = number(body, name)
    if value != int(value):
        raise invalid(name, "must be an integer", kind="number.integer")
    return int(value)


def choice(body: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """One of `allowed`, case as written."""
    value = _required(body, name)
    if value not in allowed:
        raise invalid(name, f"must be one of [{', '.join(allowed)}]", kind="any.allowOnly")
    return str(value)


def text(body: dict[str, Any], name: str) -> str:
    """Optional text; numbers are taken as text, anything else is refused."""
    value = body.get(name)
    if value is None:
        return ""
    if isinstance(value, bool | dict | list):
        raise invalid(name, "must be a string", kind="string.base")
    return str(value)


def tag(body: dict[str, Any]) -> str:
    """orderUniqueIdentifier: at most 20 characters, not checked for uniqueness (§5.7)."""
    value = text(body, "orderUniqueIdentifier")
    if len(value) > _MAX_TAG:
        raise invalid(
            "orderUniqueIdentifier",
            f"length must be less than or equal to {_MAX_TAG} characters long",
            kind="string.max",
        )
    return value


def order_type(body: dict[str, Any], name: str) -> str:
    value = _required(body, name)
    found = _TYPES.get(value) if isinstance(value, str) else None
    if found is None:
        raise invalid(name, f"must be one of [{', '.join(_TYPES)}]", kind="any.allowOnly")
    return found


def place_terms(body: dict[str, Any]) -> tuple[str, int, str, Terms]:
    """(segment, token, side, terms) of a `POST /orders` body (§7.2.1)."""
    segment = choice(body, "exchangeSegment", tuple(SEGMENT_NUMBERS))
    token = whole(body, "exchangeInstrumentID")
    product = choice(body, "productType", PRODUCTS)
    kind = order_type(body, "orderType")
    side = choice(body, "orderSide", (BUY, SELL))
    tif = choice(body, "timeInForce", TIMES)
    disclosed = whole(body, "disclosedQuantity")
    quantity = whole(body, "orderQuantity")
    price = number(body, "limitPrice")
    stop = number(body, "stopPrice")
    return (
        segment,
        token,
        side,
        Terms(kind, product, tif, quantity, disclosed, price, stop, tag(body)),
    )


def modify_terms(body: dict[str, Any]) -> Terms:
    """The terms of a `PUT /orders` body (§7.2.2): every `modified*` field is required."""
    return Terms(
        order_type(body, "modifiedOrderType"),
        choice(body, "modifiedProductType", PRODUCTS),
        choice(body, "modifiedTimeInForce", TIMES),
        whole(body, "modifiedOrderQuantity"),
        whole(body, "modifiedDisclosedQuantity"),
        number(body, "modifiedLimitPrice"),
        number(body, "modifiedStopPrice"),
        tag(body),
    )


def instrument_of(catalog: Catalog, segment: str, token: int) -> Instrument:
    """The tradable instrument, or the refusal for one that is not listed."""
    found = catalog.find(segment, token)
    if found is None or found.is_index:
        raise XtsError("e-instrument-0001", "Instrument not found")
    return found


def check_quantity(profile: Profile, instrument: Instrument, quantity: int, field: str) -> None:
    """Positive, and a multiple of the lot where the venue counts in units (§5.5)."""
    if quantity <= 0:
        raise invalid(field, "must be larger than or equal to 1", kind="number.min")
    if instrument.segment not in profile.lot_quantities and quantity % instrument.lot:
        raise XtsError("e-orders-0001", "Order quantity is not a multiple of lot size")


def as_id(value: Any) -> int:
    """An identifier from JSON or a query; -1 for what is none."""
    if isinstance(value, bool):
        return -1
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    return -1
