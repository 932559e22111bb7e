"""The risk rules: one function each, and the table that says which need what.

A rule sees the order as it shall stand (`Wish`), the account's limits and what can be read of the
account (`Facts`). It answers "" when it has nothing against the order, and otherwise the figures,
as the end of a sentence that begins with the rule's name. A rule never guesses: what it needs and
cannot read raises, and that is a refusal (docs/risk.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from broker.base import BrokerInfo
from broker.models import Order, OrderType, Product, Side
from services.accounts import Account
from services.order_validation import Record
from services.risk_limits import RiskLimits

_HUNDRED = Decimal(100)


class Priced(Record, Protocol):
    """What is needed of a row of the master contract."""

    @property
    def multiplier(self) -> Decimal: ...


@dataclass(frozen=True, slots=True)
class Wish:
    """An order as it shall stand, of the user who wants it.

    With `replaces` it is a modification of that open order.
    """

    account: Account
    record: Priced
    info: BrokerInfo
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    price: Decimal
    trigger_price: Decimal
    replaces: Order | None = None
    user_id: int | None = None

    @property
    def remaining(self) -> int:
        """Units that are still to be traded."""
        return self.quantity - (self.replaces.filled_quantity if self.replaces else 0)

    @property
    def own_price(self) -> Decimal:
        """The price that the order names: its limit, else its trigger; 0 for a MARKET order."""
        return self.price or self.trigger_price

    def worth(self, quantity: int, price: Decimal) -> Decimal:
        """Rupees that so many units (as the venue counts them) are worth at a price."""
        record = self.record
        in_lots = self.info.quantity_units.get(record.ref.exchange) == "lots"
        units = quantity * max(1, record.lotsize) if in_lots else quantity
        return units * price * record.multiplier

    @property
    def enlarges(self) -> bool:
        """Whether a modification asks for more: quantity, value, another product, or to be filled
        sooner.
        """
        row = self.replaces
        if row is None:
            return True
        return (
            self.quantity > row.quantity
            or self.product is not row.product
            or self.order_type is not row.order_type
            or self.quantity * self.own_price > row.quantity * (row.price or row.trigger_price)
            or self._comes_nearer(row)
        )

    def _comes_nearer(self, row: Order) -> bool:
        """Whether the new prices are nearer to the market: a limit that gives, a stop that takes
        less to be triggered.
        """
        price, trigger = self.price - row.price, self.trigger_price - row.trigger_price
        if self.side is Side.SELL:
            price, trigger = -price, -trigger
        return price > 0 or trigger < 0

    @property
    def reprices(self) -> bool:
        """Whether a modification names another price or trigger."""
        row = self.replaces
        return row is None or (row.price, row.trigger_price) != (self.price, self.trigger_price)


class Facts(Protocol):
    """What rules read of an account, each at most once an order. Raises what cannot be read."""

    def last_price(self) -> Decimal:
        """The instrument's last price, above 0."""

    def capital(self) -> Decimal:
        """Rupees: what is available and what is used as margin."""

    def reach(self, side: Side) -> int:
        """Units that the position may come to on this side, with this order and all others."""

    def open_orders(self) -> int:
        """Working orders, those in flight included, without this one."""

    def orders_today(self) -> int:
        """Orders of the trading day, those in flight included, without this one."""

    def result(self) -> Decimal:
        """Profit or loss of the day in rupees, realised and not."""

    def best_result(self) -> Decimal:
        """The best result of the day, at least 0."""

    def stop_price(self) -> Decimal | None:
        """The trigger of a working stop that would close what this order opens."""


Check = Callable[[Wish, RiskLimits, Facts], str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `name` is its limit; `sums`: it adds up what concurrent orders change, so the
    account's orders are checked one after the other; `on_price`: it also holds for a modification
    that asks for no more but names another price.
    """

    name: str
    check: Check
    sums: bool = False
    on_price: bool = False


def _required(value: Decimal | int | None) -> Decimal:
    assert value is not None  # noqa: S101 - a rule is only asked when its limit is set
    return Decimal(value)


def money(value: Decimal) -> str:
    """Rupees for a sentence."""
    return f"₹{value:,.2f}"


def percent(part: Decimal, whole: Decimal) -> Decimal:
    """`part` in hundredths of `whole`; anything is too much of nothing."""
    return part * _HUNDRED / whole if whole > 0 else Decimal("Infinity")


def _share(part: Decimal, whole: Decimal) -> str:
    found = percent(part, whole)
    return f"{found:.2f} %" if found.is_finite() else "more than all"


def allowed_exchange(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    exchange = wish.record.exchange
    if exchange in limits.allowed_exchanges:
        return ""
    return f"it is for {exchange}, and allowed are {', '.join(limits.allowed_exchanges)}"


def allowed_product(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    if wish.product.value in limits.allowed_products:
        return ""
    return f"its product is {wish.product}, and allowed are {', '.join(limits.allowed_products)}"


def order_quantity(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_order_quantity)
    if wish.quantity <= most:
        return ""
    return f"its quantity is {wish.quantity}, and the most is {most}"


def order_value(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_order_value)
    price = wish.own_price or facts.last_price()
    value = wish.worth(wish.quantity, price)
    if value <= most:
        return ""
    return f"it is worth {money(value)} at {money(price)}, and the most is {money(most)}"


def price_band(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.price_band_percent)
    for what, price in (("price", wish.price), ("trigger", wish.trigger_price)):
        if price:
            last = facts.last_price()
            away = percent(abs(price - last), last)
            if away > most:
                return (
                    f"its {what} {money(price)} is {away:.2f} % away from the last price "
                    f"{money(last)}, and the most is {most} %"
                )
    return ""


def per_trade(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    """To the order's own trigger, else to a working stop; without either, all may be lost."""
    most = _required(limits.per_trade_percent)
    entry = wish.price or facts.last_price()
    stop = wish.trigger_price or facts.stop_price()
    distance = entry if stop is None else abs(entry - stop)
    at_risk = wish.worth(wish.remaining, distance)
    capital = facts.capital()
    if percent(at_risk, capital) <= most:
        return ""
    how = "with no stop" if stop is None else f"from {money(entry)} to its stop at {money(stop)}"
    return (
        f"it may lose {money(at_risk)} {how}, which is {_share(at_risk, capital)} of the capital "
        f"of {money(capital)}, and the most is {most} %"
    )


def open_orders(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_open_orders)
    working = facts.open_orders()
    if wish.replaces is not None or working < most:
        return ""
    return f"{working} orders are working already, and the most is {most}"


def orders_per_day(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_orders_per_day)
    if wish.replaces is not None or (today := facts.orders_today()) < most:
        return ""
    return f"the account had {today} orders today, and the most is {most}"


def position_quantity(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_position_quantity)
    reach = facts.reach(wish.side)
    if reach <= most:
        return ""
    return (
        f"the {_way(wish.side)} position in '{wish.record.symbol}' may come to {reach} with what "
        f"is working, and the most is {most}"
    )


def position_share(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_position_percent)
    reach, price, capital = facts.reach(wish.side), facts.last_price(), facts.capital()
    value = wish.worth(reach, price)
    if percent(value, capital) <= most:
        return ""
    return (
        f"the {_way(wish.side)} position in '{wish.record.symbol}' may come to {reach}, worth "
        f"{money(value)}, which is {_share(value, capital)} of the capital of {money(capital)}, "
        f"and the most is {most} %"
    )


def daily_loss(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_daily_loss)
    result = facts.result()
    if -result < most:
        return ""
    return f"the day's loss is {money(-result)}, and entries stop at {money(most)}"


def drawdown(wish: Wish, limits: RiskLimits, facts: Facts) -> str:
    most = _required(limits.max_drawdown_percent)
    result, best, capital = facts.result(), facts.best_result(), facts.capital()
    fall = best - result
    if fall <= 0 or percent(fall, capital) < most:
        return ""
    return (
        f"the day's result fell by {money(fall)} from {money(best)} to {money(result)}, which is "
        f"{_share(fall, capital)} of the capital of {money(capital)}, and entries stop at {most} %"
    )


def _way(side: Side) -> str:
    return "long" if side is Side.BUY else "short"


RULES: tuple[Rule, ...] = (
    Rule("allowed_exchanges", allowed_exchange),
    Rule("allowed_products", allowed_product),
    Rule("max_order_quantity", order_quantity),
    Rule("price_band_percent", price_band, on_price=True),
    Rule("max_order_value", order_value),
    Rule("per_trade_percent", per_trade),
    Rule("max_open_orders", open_orders, sums=True),
    Rule("max_orders_per_day", orders_per_day, sums=True),
    Rule("max_position_quantity", position_quantity, sums=True),
    Rule("max_position_percent", position_share, sums=True),
    Rule("max_daily_loss", daily_loss),
    Rule("max_drawdown_percent", drawdown),
)
"""In the order in which they are asked: the ones that read nothing first. The square-off time is
no rule, because it refuses nothing: see `services.risk`."""
