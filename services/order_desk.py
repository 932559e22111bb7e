"""Puts the order services together: what submits, what reads, and what finds out afterwards.

    desk = build_order_desk(database=…, accounts=…, sessions=…, …)
    desk.orders.place(principal, account, draft, provenance=Provenance(request_id))

Nothing is connected and no thread is started here, so it may be built before a fork.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from broker.base import Clock
from broker.redis_link import RedisLink
from broker.waiting import WaitingRoom
from database.engine import Database
from services.accounts import AccountService
from services.alarms import AlarmService
from services.baskets import BasketService
from services.bearing_out import BearingOut
from services.books import Books
from services.changing import Changer
from services.closing import Closer
from services.dispatch import Dispatcher
from services.exposure import ExposureReader
from services.flags import FlagService
from services.idempotency import IdempotencyService
from services.locating import Locator
from services.locks import NamedLocks
from services.market_data import MarketDataService
from services.orders import OrderService
from services.placing import Placer
from services.portfolio import PortfolioService
from services.price_keeper import PriceKeeper
from services.reconciler import Reconciler
from services.recording import Recorder
from services.retelling import Reteller
from services.risk import EntryControl
from services.risk_facts import RiskReader
from services.risk_limits import RiskLimitService
from services.risk_watch import RiskWatch
from services.sessions import SessionService
from services.settling import Settler
from services.smart_orders import SmartOrderService
from services.symbols import SymbolService
from utils.ids import new_reference, new_tag


@dataclass(frozen=True, slots=True)
class OrderDesk:
    """The order services of one process."""

    books: Books
    portfolio: PortfolioService
    price_keeper: PriceKeeper
    orders: OrderService
    smart_orders: SmartOrderService
    baskets: BasketService
    idempotency: IdempotencyService
    reconciler: Reconciler
    recorder: Recorder
    risk_watch: RiskWatch


def build_order_desk(
    *,
    database: Database,
    accounts: AccountService,
    sessions: SessionService,
    symbols: SymbolService,
    market_data: MarketDataService,
    flags: FlagService,
    limits: RiskLimitService,
    alarms: AlarmService,
    locks: NamedLocks,
    clock: Clock,
    timeout: float = 10.0,
    reference: Callable[[], str] = new_reference,
    tag: Callable[[], str] = new_tag,
    late: Path | None = None,
    room: WaitingRoom | None = None,
    shared: RedisLink | None = None,
) -> OrderDesk:
    """Build them all. `timeout`: seconds that one request may spend on the broker in all; `late`: a
    folder for journal entries that wait for the database (None: they wait in memory alone);
    `room`: the seats of those of this process who wait; `shared`: what all hosts count in, if any.
    """
    books = Books(sessions, clock, room)
    recorder = Recorder(database, clock, late)
    settler = Settler(books, clock)
    dispatcher = Dispatcher(sessions, recorder, settler, clock)
    reteller = Reteller(recorder, settler)
    locator = Locator(accounts, books, recorder, clock)
    exposure = ExposureReader(books, recorder, clock)
    facts = RiskReader(books, market_data, recorder, database, clock)
    entries = EntryControl(
        accounts, flags, limits, facts, books, exposure, locks, clock, shared
    )
    placer = Placer(
        accounts, symbols, entries, books, dispatcher, reteller, clock, reference, tag
    )
    changer = Changer(
        accounts, symbols, entries, books, dispatcher, reteller, locator, clock, reference
    )
    orders = OrderService(
        placer, changer, locator, recorder, reteller, clock, timeout=timeout
    )
    keeper = PriceKeeper(market_data, clock)
    closer = Closer(orders, accounts, symbols, books, exposure, locks, clock)
    return OrderDesk(
        books=books,
        portfolio=PortfolioService(
            books, symbols, market_data, database, clock, keeper, timeout=timeout
        ),
        price_keeper=keeper,
        orders=orders,
        smart_orders=SmartOrderService(
            orders, accounts, symbols, exposure, recorder, locks, clock, reference=reference
        ),
        baskets=BasketService(orders, closer, recorder, clock, reference=reference),
        idempotency=IdempotencyService(database, locks, clock, reference=reference),
        reconciler=Reconciler(
            accounts, books, recorder, BearingOut(recorder, alarms, clock), alarms, locks, clock,
            timeout=timeout,
        ),
        recorder=recorder,
        risk_watch=RiskWatch(accounts, sessions, limits, facts, alarms, clock, timeout=timeout),
    )
