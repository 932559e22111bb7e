"""One method an endpoint: wire in, wire out, no logic (XTS reference §7.1, §8.1).

Reads are paced and repeated (`broker.retry`); submits are sent exactly once, under a slot that the
caller holds. Which is which stands in the endpoint's declaration below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from broker.base import Deadline, Operation, Priority, Runtime, Slot
from broker.breaker import Breaker
from broker.errors import BrokerError, ConnectFailed, LoginFailed, SessionExpired
from broker.models import Secret
from broker.pacing import Pacer
from broker.payload import decode
from broker.retry import retry_reads
from broker.transport import Reply, StreamReply, Transport
from broker.xts.envelope import (
    Acknowledgement,
    Api,
    Endpoint,
    Parse,
    acknowledgement_of,
    result_of,
)


def _codes(*codes: str) -> frozenset[str]:
    return frozenset(codes)


_I, _M = Api.INTERACTIVE, Api.MARKET
_LOGIN, _LOGOUT = Operation.LOGIN, Operation.LOGOUT

HOST_LOOKUP = Endpoint("host look-up", _LOGIN, Api.LOOKUP, "POST", "")
INTERACTIVE_LOGIN = Endpoint("login", _LOGIN, _I, "POST", "/user/session")
MARKET_LOGIN = Endpoint("market data login", _LOGIN, _M, "POST", "/auth/login")
INTERACTIVE_LOGOUT = Endpoint("logout", _LOGOUT, _I, "DELETE", "/user/session")
MARKET_LOGOUT = Endpoint("market data logout", _LOGOUT, _M, "DELETE", "/auth/logout")

PLACE = Endpoint("place", Operation.PLACE, _I, "POST", "/orders", submits=True)
MODIFY = Endpoint("modify", Operation.MODIFY, _I, "PUT", "/orders", submits=True, names_order=True)
CANCEL = Endpoint(
    "cancel", Operation.CANCEL, _I, "DELETE", "/orders", submits=True, names_order=True
)

# "Empty" is an error on this wire (§4.3): these codes, or the words "Data Not Available".
_NO_ORDERS = _codes("e-orders-0005")
_NO_TRADES = _codes("e-tradeBook-0005")
_NO_POSITIONS = _codes("e-portfolio-0005")
_NO_HOLDINGS = _codes("e-holdings-0005")
_ORDERS, _TRADES, _POSITIONS = Operation.ORDERS, Operation.TRADES, Operation.POSITIONS

ORDER_BOOK = Endpoint("order book", _ORDERS, _I, "GET", "/orders", empty=_NO_ORDERS, listing=True)
DEALER_ORDER_BOOK = Endpoint(
    "order book", _ORDERS, _I, "GET", "/orders/dealerorderbook", empty=_NO_ORDERS, listing=True
)
ORDER_HISTORY = Endpoint(
    "order history",
    _ORDERS,
    _I,
    "GET",
    "/orders",
    missing=_codes("e-orders-0001", "e-orders-0005"),
    names_order=True,
)
TRADE_BOOK = Endpoint(
    "trade book", _TRADES, _I, "GET", "/orders/trades", empty=_NO_TRADES, listing=True
)
DEALER_TRADE_BOOK = Endpoint(
    "trade book", _TRADES, _I, "GET", "/orders/dealertradebook", empty=_NO_TRADES, listing=True
)
POSITIONS = Endpoint(
    "positions", _POSITIONS, _I, "GET", "/portfolio/positions", empty=_NO_POSITIONS, listing=True
)
DEALER_POSITIONS = Endpoint(
    "positions",
    _POSITIONS,
    _I,
    "GET",
    "/portfolio/dealerpositions",
    empty=_NO_POSITIONS,
    listing=True,
)
HOLDINGS = Endpoint(
    "holdings",
    Operation.HOLDINGS,
    _I,
    "GET",
    "/portfolio/holdings",
    empty=_NO_HOLDINGS,
    listing=True,
)
BALANCE = Endpoint("balance", Operation.FUNDS, _I, "GET", "/user/balance")

QUOTES = Endpoint("quotes", Operation.QUOTES, _M, "POST", "/instruments/quotes")
CANDLES = Endpoint("history", Operation.HISTORY, _M, "GET", "/instruments/ohlc")
CLIENT_CONFIG = Endpoint("client config", Operation.QUOTES, _M, "GET", "/config/clientConfig")
MASTER = Endpoint("master contract", Operation.MASTER, _M, "POST", "/instruments/master")
INDEX_LIST = Endpoint(
    "index list",
    Operation.MASTER,
    _M,
    "GET",
    "/instruments/indexlist",
    empty=_codes("e-instrument-0001"),
    listing=True,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One API of one account: where it is, its circuit, and the token, once there is one.

    `refused`: there is no token because the venue refused the login.
    """

    transport: Transport
    prefix: str
    breaker: Breaker
    token: Secret | None = None
    refused: bool = False


class Wire:
    """One attempt at one call, with its circuit and its observer. Never repeats anything."""

    def __init__(self, label: str, runtime: Runtime) -> None:
        self._label = label
        self._runtime = runtime

    def read(
        self,
        line: Line,
        endpoint: Endpoint,
        *,
        deadline: Deadline,
        params: Mapping[str, str] | None = None,
        body: object = None,
        share: float = 1.0,
        exempt: bool = False,
        parse: Parse = decode,
    ) -> object:
        """The call's result, or `NOTHING`. `exempt` calls go out even while the circuit is open."""
        with self._attempt(line, endpoint, deadline, exempt):
            reply = self._send(line, endpoint, deadline, params, body, share)
            return result_of(reply, endpoint, parse)

    def submit(
        self,
        line: Line,
        endpoint: Endpoint,
        *,
        deadline: Deadline,
        params: Mapping[str, str] | None,
        body: object,
        exempt: bool,
    ) -> Acknowledgement:
        """What the venue acknowledged; an answer without an order id is an unknown outcome."""
        with self._attempt(line, endpoint, deadline, exempt):
            reply = self._send(line, endpoint, deadline, params, body, 1.0)
            return acknowledgement_of(reply, endpoint)

    def _send(
        self,
        line: Line,
        endpoint: Endpoint,
        deadline: Deadline,
        params: Mapping[str, str] | None,
        body: object,
        share: float,
    ) -> Reply:
        return line.transport.send(
            endpoint.method,
            line.prefix + endpoint.path,
            params=params,
            json=body,
            headers=self._headers(line),
            deadline=deadline,
            timeout_share=share,
        )

    @contextmanager
    def stream(
        self, line: Line, endpoint: Endpoint, *, deadline: Deadline, body: object
    ) -> Iterator[StreamReply]:
        """The call's answer, to be read in pieces; the reader judges it."""
        with (
            self._attempt(line, endpoint, deadline, exempt=False),
            line.transport.stream(
                endpoint.method,
                line.prefix + endpoint.path,
                json=body,
                headers=self._headers(line),
                deadline=deadline,
            ) as reply,
        ):
            yield reply

    @contextmanager
    def _attempt(
        self, line: Line, endpoint: Endpoint, deadline: Deadline, exempt: bool
    ) -> Iterator[None]:
        if deadline.expired:
            raise ConnectFailed(f"No time was left for {endpoint.name}; nothing was sent.")
        clock, outcome = self._runtime.clock, "ok"
        started = clock.monotonic()
        try:
            with line.breaker.watch(exempt):
                yield
        except BrokerError as exc:
            outcome = exc.kind
            raise
        except Exception as exc:
            outcome = type(exc).__name__
            raise
        finally:
            self._runtime.observer.call(
                self._label, endpoint.operation, outcome, clock.monotonic() - started
            )

    def _headers(self, line: Line) -> dict[str, str]:
        headers = {}
        if line.token is not None:
            headers["authorization"] = line.token.reveal()  # raw, without "Bearer" (§3.4)
        headers.update(self._runtime.trace_headers())
        return headers


class SubmitSlot(Slot):
    """A slot that knows whether its call must go out even while the circuit is open."""

    __slots__ = ("_slot", "exempt")

    def __init__(self, slot: Slot, exempt: bool) -> None:
        self._slot = slot
        self.exempt = exempt

    def __enter__(self) -> Self:
        self._slot.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._slot.__exit__(exc_type, exc, traceback)


class XtsClient:
    """The calls of one account, on the lines of the session that is attached."""

    def __init__(
        self, label: str, runtime: Runtime, pacers: Mapping[Api, Pacer], retries: int
    ) -> None:
        self._wire = Wire(label, runtime)
        self._runtime = runtime
        self._pacers = pacers
        self._retries = retries
        self._lines: Mapping[Api, Line] = {}

    def use(self, lines: Mapping[Api, Line]) -> None:
        """Make every call from now on over these lines; {} means that there is no session."""
        self._lines = lines

    def reserve(
        self, operation: Operation, priority: Priority, deadline: Deadline, wait: bool
    ) -> Slot:
        """A slot for one submit. Cancels and exits are not held back by an open circuit."""
        slot = self._pacers[Api.INTERACTIVE].reserve(
            operation, priority=priority, deadline=deadline, wait=wait
        )
        return SubmitSlot(slot, operation is Operation.CANCEL or priority is Priority.EXIT)

    def submit(
        self,
        endpoint: Endpoint,
        *,
        slot: Slot,
        deadline: Deadline,
        body: object = None,
        params: Mapping[str, str] | None = None,
    ) -> Acknowledgement:
        """Place, modify or cancel: one HTTP request, no repetition."""
        exempt = endpoint is CANCEL or (isinstance(slot, SubmitSlot) and slot.exempt)
        with slot:
            return self._wire.submit(
                self._line(endpoint.api),
                endpoint,
                deadline=deadline,
                params=params,
                body=body,
                exempt=exempt,
            )

    def read(
        self,
        endpoint: Endpoint,
        *,
        deadline: Deadline,
        params: Mapping[str, str] | None = None,
        body: object = None,
        parse: Parse = decode,
    ) -> object:
        """A read: paced, and repeated where that helps. `parse` reads its answer."""

        def attempt() -> object:
            line = self._line(endpoint.api)
            with self._pacers[endpoint.api].reserve(
                endpoint.operation, priority=Priority.READ, deadline=deadline
            ):
                return self._wire.read(
                    line, endpoint, deadline=deadline, params=params, body=body, parse=parse
                )

        return retry_reads(
            attempt,
            attempts=1 + self._retries,
            clock=self._runtime.clock,
            rand=self._runtime.rand,
            deadline=deadline,
        )

    def master(self, segment: str, *, deadline: Deadline) -> AbstractContextManager[StreamReply]:
        """The master contract of one segment, to be read in pieces (§9)."""
        return self._wire.stream(
            self._line(Api.MARKET),
            MASTER,
            deadline=deadline,
            body={"exchangeSegmentList": [segment]},
        )

    def _line(self, api: Api) -> Line:
        lines = self._lines
        if not lines:
            raise SessionExpired("There is no session with the broker.")
        line = lines[api]
        if line.token is not None:
            return line
        if line.refused:
            raise LoginFailed(
                "Market data is not available: the broker refused its login. Trading works. "
                "Correct the market-data credentials and connect the account again."
            )
        raise SessionExpired(
            "Market data is not available: its login did not succeed. Trading works.", partial=True
        )
