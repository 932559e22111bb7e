"""The self-check's last question: does an order of this account arrive, and can it be cancelled?

On one cluster an order with the wrong client id is accepted and silently dropped (XTS reference
§6.2), which no read can find out. So, only when a person asks for it: one limit order to buy the
smallest quantity far below the market, a look for it in the book, a cancel, a look again. It goes
through the order service like every other order: journalled, paced, sent once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from broker.base import Clock
from broker.errors import BrokerError
from broker.models import Exchange, OrderState, OrderType, Product, Side
from services.access import Principal
from services.accounts import Account
from services.errors import InvalidRequest, NotFoundHere, ServiceError
from services.market_data import MarketDataService
from services.order_models import OrderDraft
from services.orders import OrderService
from services.portfolio import PortfolioService
from services.portfolio_views import OrderView
from services.symbols import SymbolRecord

STRATEGY = "self-check"
_BELOW_MARKET = Decimal("0.9")


@dataclass(frozen=True, slots=True)
class Trial:
    """The order that would be sent: `quantity` in units, `price` and `last_price` in rupees."""

    draft: OrderDraft
    last_price: Decimal

    def in_words(self, account: Account) -> str:
        """What the person is asked to confirm."""
        draft = self.draft
        where = "the SANDBOX" if account.sandbox else "the REAL exchange"
        return (
            f"{draft.side} {draft.quantity} {draft.symbol} on {draft.exchange} at "
            f"{draft.price} (last price {self.last_price}), {draft.product}, for the account "
            f"'{account.label}', at {where}; it is cancelled right away"
        )


class TrialOrderService:
    """Plans and carries out the trial order.

    `patience` and `pause`: seconds to wait for a state in the book, and between two looks.
    """

    def __init__(
        self,
        orders: OrderService,
        portfolio: PortfolioService,
        market_data: MarketDataService,
        clock: Clock,
        *,
        patience: float = 10.0,
        pause: float = 1.0,
    ) -> None:
        self._orders = orders
        self._portfolio = portfolio
        self._market_data = market_data
        self._clock = clock
        self._patience = patience
        self._pause = pause

    def plan(self, account: Account, symbol: str, exchange: str) -> Trial:
        """The order that would be sent now. Reads a quote, sends nothing else."""
        view = self._market_data.quote(account, symbol, exchange)
        record, last = view.record, view.quote.last_price
        if not record.tradable or last <= 0:
            raise InvalidRequest(
                f"'{symbol}' on '{exchange}' can't be used for a trial: choose one that trades.",
                field="symbol",
            )
        price = far_below(record, last)
        if price <= 0 or price >= last:
            raise InvalidRequest(
                f"'{symbol}' at {last} leaves no room below the market: choose another symbol.",
                field="symbol",
            )
        product = Product.NRML if Exchange(record.exchange).is_derivative else Product.MIS
        draft = OrderDraft(
            symbol=record.symbol,
            exchange=record.exchange,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            product=product,
            quantity=max(1, record.lotsize),
            price=price,
            strategy=STRATEGY,
        )
        return Trial(draft, last)

    def run(
        self, principal: Principal, account: Account, trial: Trial, *, request_id: str
    ) -> list[str]:
        """Send the order, find it, cancel it, see it cancelled; what went wrong, in sentences.

        What the order itself meets is raised as by `OrderService.place`. An order that stays open
        is always named.
        """
        placed = self._orders.place(principal, account, trial.draft, request_id=request_id)
        seen = self._await(account, placed.order_id, lambda order: True)
        faults = []
        if seen is None:
            faults.append(
                f"Order {placed.order_id} was accepted, but the order book does not show it. "
                "Is the client id right?"
            )
        elif seen.state is OrderState.REJECTED:
            return [f"Order {placed.order_id} was rejected: {seen.reason}"]
        elif not seen.state.is_open:
            return [f"Order {placed.order_id} is {seen.state} before it could be cancelled."]
        try:
            self._orders.cancel(principal, account, placed.order_id, request_id=request_id)
        except (BrokerError, ServiceError) as error:
            return [*faults, f"Order {placed.order_id} could not be cancelled. {error.message}"]
        ended = self._await(account, placed.order_id, lambda order: not order.state.is_open)
        if ended is None:
            faults.append(f"Order {placed.order_id} still stands in the book: cancel it.")
        elif ended.filled_quantity:
            faults.append(f"Order {placed.order_id} was filled ({ended.filled_quantity}).")
        return faults

    def _await(
        self, account: Account, order_id: str, wanted: Callable[[OrderView], bool]
    ) -> OrderView | None:
        """The order once the book shows it as wanted; None when it does not in time."""
        end = self._clock.monotonic() + self._patience
        while True:
            try:
                order = self._portfolio.order(account, order_id, fresh=True)
                if wanted(order):
                    return order
            except NotFoundHere:
                pass  # the book may be a moment behind
            if self._clock.monotonic() >= end:
                return None
            self._clock.sleep(self._pause)


def far_below(record: SymbolRecord, last: Decimal) -> Decimal:
    """A price a tenth below the last one, on a tick, and not below the day's band."""
    tick = record.tick_size if record.tick_size > 0 else Decimal("0.05")
    price = (last * _BELOW_MARKET / tick).to_integral_value(ROUND_FLOOR) * tick
    if record.price_low is not None and price < record.price_low:
        price = (record.price_low / tick).to_integral_value(ROUND_CEILING) * tick
    return price
