"""What is refused after acceptance: the order answers success, then shows up Rejected (§7.2.9)."""

from __future__ import annotations

from simulator.clock import Clock
from simulator.market.instruments import SPREAD, Instrument
from simulator.market.prices import PriceBook
from simulator.oms.accounts import Account
from simulator.oms.orders import BUY, LIMIT, MARKET, STOP_LIMIT, STOP_MARKET, Order
from simulator.oms.rows import number
from simulator.profiles import Profile
from simulator.settings import Behaviour


def products_of(segment: str) -> tuple[str, ...]:
    """Products a segment offers, as the login's `exchangeInfo` says."""
    return ("MIS", "NRML", "CNC") if segment in ("NSECM", "BSECM") else ("MIS", "NRML")


def money(value: float) -> str:
    """A number as the RMS prints it."""
    return str(number(round(value, 2)))


def margin_text(account: Account, required: float) -> str:
    """The margin refusal of §7.2.9."""
    available = account.available
    return (
        f"OEMS:RMS : Margin Exceeds :  - Set Limit:[{money(account.cash)}] Total Required "
        f"Margin:[{money(required)}] Available Margin[{money(available)}] Margin "
        f"Shortfall[{money(required - available)}] for entity [Client]-"
        f"[{account.request_client}] across [ALL|ALL|ALL]"
    )


def units(profile: Profile, instrument: Instrument, quantity: int) -> int:
    """Contract units of an order quantity: lots are multiplied where the venue counts in lots."""
    if instrument.segment in profile.lot_quantities:
        return quantity * instrument.lot
    return quantity


def terms_refusal(
    order: Order, profile: Profile, behaviour: Behaviour, clock: Clock, prices: PriceBook
) -> str:
    """Why gateway or exchange refuse these terms; empty when they do not."""
    instrument = order.instrument
    if order.product not in products_of(instrument.segment):
        return f"OEMS:RMS : Product [{order.product}] is not allowed for {instrument.segment}"
    if not clock.is_open(instrument.segment):
        return f"Gateway:Market is closed for {instrument.segment}"
    limit = instrument.freeze_limit
    quantity = units(profile, instrument, order.quantity)
    if limit > 0 and quantity > limit:
        return f"Gateway:Freeze Quantity: Required Limit[{quantity}] Freeze Quantity Limit[{limit}]"
    if (
        order.order_type == STOP_MARKET
        and instrument.segment in ("NSEFO", "BSEFO")
        and not behaviour.stop_market_in_fo
    ):
        return "16388"
    if order.order_type in (LIMIT, STOP_LIMIT):
        price = order.price
        if not instrument.low <= price <= instrument.high:
            return (
                f"Gateway:Price Band: Price[{number(price)}] is outside the day's range"
                f"[{number(instrument.low)}-{number(instrument.high)}]"
            )
        if off_tick(price, instrument):
            return "16283"
    if order.order_type in (STOP_LIMIT, STOP_MARKET):
        return _stop_refusal(order, prices)
    return ""


def _stop_refusal(order: Order, prices: PriceBook) -> str:
    instrument, stop = order.instrument, order.stop_price
    if instrument.kind != SPREAD and stop <= 0:
        return "Gateway:Trigger price is missing"
    if off_tick(stop, instrument):
        return "16283"
    buying = order.side == BUY
    if order.order_type == STOP_LIMIT and (stop > order.price if buying else stop < order.price):
        return "Gateway:Trigger price is beyond the limit price"
    last = prices.last(instrument)
    if not order.triggered and (stop <= last if buying else stop >= last):
        return f"Gateway:Trigger price is on the wrong side of the last price[{number(last)}]"
    return ""


def off_tick(price: float, instrument: Instrument) -> bool:
    """True when a price is not a multiple of the tick."""
    steps = price / instrument.tick
    return abs(steps - round(steps)) > 1e-6


def reference_price(order: Order, prices: PriceBook) -> float:
    """The price that margin is computed at."""
    if order.order_type in (LIMIT, STOP_LIMIT):
        return order.price
    if order.order_type == MARKET:
        return prices.last(order.instrument)
    return order.stop_price


def block(order: Order, account: Account, profile: Profile, prices: PriceBook) -> str:
    """Block margin for what is still open of an order; returns the refusal when it is short."""
    instrument = order.instrument
    quantity = units(profile, instrument, order.leaves)
    if order.product == "CNC" and order.sign < 0:
        sellable = account.sellable(instrument)
        if quantity > sellable:
            return (
                f"OEMS:RMS : Holding Quantity Exceeds :  - Required Quantity:[{quantity}] "
                f"Available Quantity:[{sellable}] for entity [Client]-[{account.request_client}]"
            )
    price = reference_price(order, prices)
    required = account.required(instrument, order.product, order.sign, quantity, price)
    account.blocked -= order.blocked
    order.blocked = 0.0
    if required > account.available:
        return margin_text(account, required)
    order.blocked = required
    account.blocked += required
    return ""
