"""`XtsBroker`: one account at a broker that speaks XTS.

Ties the package together: the declaration's rules (`profile`, `dealers`), the calls (`client`),
the translation (`codec`, `portfolio`), market data (`market`) and the login (`login`). It holds no
business and repeats no submit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from broker.base import (
    AccountConfig,
    Broker,
    BrokerInfo,
    Capabilities,
    Deadline,
    Operation,
    Priority,
    Runtime,
    Slot,
)
from broker.errors import (
    BrokerError,
    InvalidOrder,
    NotFound,
    Refused,
    SessionExpired,
)
from broker.models import (
    BadRow,
    Candle,
    Depth,
    Exchange,
    Found,
    Funds,
    Holding,
    Instrument,
    InstrumentRef,
    ModifyRequest,
    NotSeen,
    Order,
    OrderRequest,
    Position,
    Quote,
    Session,
    Trade,
)
from broker.xts import checks, codec, portfolio, requests, wire
from broker.xts import client as calls
from broker.xts.book_rows import BookRows
from broker.xts.client import Wire, XtsClient
from broker.xts.connection import Connection
from broker.xts.dealers import ClientIds, resolve, rules_for
from broker.xts.envelope import NOTHING, Acknowledgement, Api
from broker.xts.login import Login
from broker.xts.market import MarketData
from broker.xts.profile import DAY_WISE, XtsProfile
from broker.xts.segments import Segments


@dataclass(frozen=True, slots=True)
class _Attached:
    """A session with what follows from it; swapped as one, so that no thread sees a mixture."""

    session: Session
    ids: ClientIds


class XtsBroker(Broker):
    """See `Broker` for the promises. A subclass sets `profile`; the rest follows from it."""

    profile: ClassVar[XtsProfile]

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        profile = cls.__dict__.get("profile")
        if profile is not None:
            cls.info = profile.broker_info()
            cls.capabilities = profile.broker_capabilities()

    info: ClassVar[BrokerInfo]
    capabilities: ClassVar[Capabilities]

    def __init__(self, account: AccountConfig, runtime: Runtime) -> None:
        self.account = account
        self._runtime = runtime
        self._connection = Connection(self.profile, account, runtime)
        self._rules = rules_for(self.profile, account)
        self._segments = Segments(self.profile.segments, self.profile.index_segments)
        self._client = XtsClient(
            account.label, runtime, self._connection.pacers, account.retry_count
        )
        self._market = MarketData(self.profile, account, runtime, self._client, self._segments)
        self._orders = BookRows(self._order)
        self._trades = BookRows(self._trade)
        self._attached: _Attached | None = None

    # Sessions ------------------------------------------------------------------------------

    def login(self, *, deadline: Deadline | None = None) -> Session:
        line = self._connection.line
        session = Login(self.profile, self.account, self._runtime, line, deadline).run()
        resolve(self._rules, self.account, session)  # a client id that can't be used fails here
        return session

    def logout(self, session: Session) -> None:
        failed: BrokerError | None = None
        one = Wire(self.account.label, self._runtime)
        deadline = Deadline(self._runtime.clock, self.account.api_timeout)
        lines = self._connection.session_lines(session)
        for api, endpoint in (
            (Api.INTERACTIVE, calls.INTERACTIVE_LOGOUT),
            (Api.MARKET, calls.MARKET_LOGOUT),
        ):
            if lines[api].token is None:
                continue
            try:
                with self._connection.pacers[api].reserve(
                    Operation.LOGOUT, priority=Priority.EXIT, deadline=deadline
                ):
                    one.read(lines[api], endpoint, deadline=deadline, exempt=True)
            except (SessionExpired, Refused):
                continue  # it is dead already
            except BrokerError as exc:
                failed = failed or exc
        if failed is not None:
            raise failed

    def attach(self, session: Session | None) -> None:
        if session is None:
            self._client.use({})
            self._attached = None
            return
        ids = resolve(self._rules, self.account, session)
        self._attached = _Attached(session, ids)
        self._client.use(self._connection.session_lines(session))

    @property
    def session(self) -> Session | None:
        attached = self._attached
        return attached.session if attached else None

    # Orders --------------------------------------------------------------------------------

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        return self._client.reserve(operation, priority, deadline, wait)

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        body = requests.place_body(order, tag, self._segments, self._ids().order)
        if order.product not in self.profile.products:
            raise InvalidOrder(
                f"{self.profile.title} has no product {order.product.value}.", field="product"
            )
        answer = self._client.submit(calls.PLACE, slot=slot, deadline=deadline, body=body)
        if answer.tag and answer.tag != tag:
            self._anomaly("tag_echo", f"order {answer.order_id} was acknowledged by another tag")
        return answer.order_id

    def modify(self, change: ModifyRequest, *, slot: Slot, deadline: Deadline) -> str:
        body = requests.modify_body(change, self._ids().amend(change.client))
        answer = self._client.submit(calls.MODIFY, slot=slot, deadline=deadline, body=body)
        return self._amended(answer, str(body["appOrderID"]))

    def cancel(self, order_id: str, *, client: str | None, slot: Slot, deadline: Deadline) -> str:
        params = requests.cancel_params(order_id, self._ids().amend(client))
        answer = self._client.submit(calls.CANCEL, slot=slot, deadline=deadline, params=params)
        return self._amended(answer, params["appOrderID"])

    def _amended(self, answer: Acknowledgement, order_id: str) -> str:
        if answer.order_id != order_id:
            self._anomaly("order_id_echo", f"{order_id} was acknowledged as {answer.order_id}")
        return order_id

    # Books ---------------------------------------------------------------------------------

    def orders(self, *, deadline: Deadline) -> list[Order]:
        ids = self._ids()
        rows = self._order_rows(ids, deadline)
        return self._orders.read(row for row in rows if ids.is_ours(_client_of(row, "ClientID")))

    def order_history(self, order_id: str, *, deadline: Deadline) -> list[Order]:
        params = {"appOrderID": requests.order_id_text(order_id)}
        client = self._ids().order
        if client:
            params["clientID"] = client
        result = self._client.read(calls.ORDER_HISTORY, deadline=deadline, params=params)
        listed = portfolio.rows_of(result, "order history")
        reports = [self._order(row) for row in sorted(listed, key=codec.sequence_of)]
        own = [report for report in reports if report.order_id == params["appOrderID"]]
        if not own:
            raise NotFound(f"The broker does not know order {params['appOrderID']}.")
        return own

    def trades(self, *, deadline: Deadline) -> list[Trade]:
        ids = self._ids()
        endpoint = calls.DEALER_TRADE_BOOK if ids.dealer_books else calls.TRADE_BOOK
        result = self._client.read(
            endpoint, deadline=deadline, params=_client_params(ids.book), parse=self._trades.parse
        )
        if result is NOTHING:
            return []
        rows = portfolio.rows_of(result, "trades")
        found: dict[tuple[str, str], Trade] = {}
        for trade in self._trades.read(
            row for row in rows if ids.is_ours(_client_of(row, "ClientID"))
        ):
            found.setdefault((trade.trade_id, trade.order_id), trade)
        return list(found.values())

    def positions(self, *, deadline: Deadline, day: bool = False) -> list[Position]:
        ids = self._ids()
        endpoint = calls.DEALER_POSITIONS if ids.dealer_books else calls.POSITIONS
        params = _client_params(ids.book)
        params["dayOrNet"] = DAY_WISE if day else self.profile.position_mode
        result = self._client.read(endpoint, deadline=deadline, params=params)
        if result is NOTHING:
            return []
        return [
            portfolio.position_from_row(row, self._segments, self._anomaly)
            for row in portfolio.position_rows(result)
            if ids.is_ours(_client_of(row, "AccountID"))
        ]

    def holdings(self, *, deadline: Deadline) -> list[Holding]:
        params = _client_params(self._ids().holdings)
        result = self._client.read(calls.HOLDINGS, deadline=deadline, params=params)
        return [] if result is NOTHING else portfolio.holdings_from(result)

    def funds(self, *, deadline: Deadline) -> Funds:
        params = _client_params(self._ids().balance)
        return portfolio.funds_from(
            self._client.read(calls.BALANCE, deadline=deadline, params=params)
        )

    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        """See `find_many`."""
        return self.find_many([tag], deadline=deadline)[tag]

    def find_many(
        self, tags: Sequence[str], *, deadline: Deadline
    ) -> dict[str, Found | NotSeen]:
        """Among all rows, whoever's client they name: a tag is ours and nobody else's.

        `as_of` is when the read began, the latest moment for which its silence is evidence.
        """
        as_of = self._runtime.clock.now()
        ids = self._ids()
        newest: dict[str, wire.Row] = {}
        wanted = set(tags)
        for row in self._order_rows(ids, deadline):
            tag = row.get("OrderUniqueIdentifier")
            if tag in wanted and (
                tag not in newest or codec.sequence_of(row) > codec.sequence_of(newest[tag])
            ):
                newest[tag] = row
        return {
            tag: Found(self._own_order(newest[tag], ids), as_of) if tag in newest
            else NotSeen(as_of)
            for tag in tags
        }

    def _order(self, row: wire.Row) -> Order:
        return codec.order_from_row(row, self._segments, self._anomaly)

    def _trade(self, row: wire.Row) -> Trade:
        return codec.trade_from_row(row, self._segments, self._anomaly)

    def _own_order(self, row: wire.Row, ids: ClientIds) -> Order:
        order = self._order(row)
        if not ids.is_ours(order.client):
            self._anomaly(
                "foreign_client_on_own_order",
                f"order {order.order_id} stands under client {order.client!r}",
            )
        return order

    def _order_rows(self, ids: ClientIds, deadline: Deadline) -> list[wire.Row]:
        endpoint = calls.DEALER_ORDER_BOOK if ids.dealer_books else calls.ORDER_BOOK
        result = self._client.read(
            endpoint, deadline=deadline, params=_client_params(ids.book), parse=self._orders.parse
        )
        return [] if result is NOTHING else portfolio.rows_of(result, "orders")

    def clients_in_book(self, *, deadline: Deadline) -> tuple[bool, dict[str, int]]:
        """Whether any order row is ours, and the clients of those that are not, with how many."""
        ids = self._ids()
        ours, others = False, dict[str, int]()
        for row in self._order_rows(ids, deadline):
            client = _client_of(row, "ClientID")
            if ids.is_ours(client):
                ours = True
            else:
                others[client] = others.get(client, 0) + 1
        return ours, others

    # Reference and market data ---------------------------------------------------------------

    def instruments(
        self, exchanges: Sequence[Exchange] | None = None
    ) -> Iterator[Instrument | BadRow]:
        return self._market.instruments(exchanges)

    def quotes(
        self, instruments: Sequence[InstrumentRef], *, deadline: Deadline
    ) -> dict[InstrumentRef, Quote]:
        return self._market.quotes(instruments, deadline)

    def depth(self, instrument: InstrumentRef, *, deadline: Deadline) -> Depth:
        return self._market.depth(instrument, deadline)

    def history(
        self,
        instrument: InstrumentRef,
        interval: str,
        start: date,
        end: date,
        *,
        deadline: Deadline,
    ) -> list[Candle]:
        return self._market.history(instrument, interval, start, end, deadline)

    # Health ----------------------------------------------------------------------------------

    def self_check(self, *, deadline: Deadline) -> list[str]:
        return checks.run(self, deadline)

    def circuits(self) -> dict[str, str]:
        return self._connection.circuits()

    def clock_offset(self) -> float | None:
        return self._connection.clock_offset()

    def close(self) -> None:
        self._connection.close()

    # Inside ----------------------------------------------------------------------------------

    def _ids(self) -> ClientIds:
        attached = self._attached
        if attached is None:
            raise SessionExpired("There is no session with the broker.")
        return attached.ids

    def _anomaly(self, what: str, detail: str) -> None:
        self._runtime.observer.anomaly(self.account.label, what, detail)


def _client_params(client_id: str) -> dict[str, str]:
    return {"clientID": client_id} if client_id else {}


def _client_of(row: wire.Row, column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""
