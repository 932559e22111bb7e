"""A scripted venue for the XTS adapter: no network, every request recorded."""

from __future__ import annotations

import json as json_codec
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.base import AccountConfig, Deadline, Runtime
from broker.models import Secret, Session
from broker.slots import MemorySlotStore
from broker.testing.clocks import ManualClock
from broker.transport import Reply, StreamReply
from broker.xts.broker import XtsBroker

CREDENTIALS = {
    "interactive_api_key": Secret("IKEY-canary-1"),
    "interactive_api_secret": Secret("ISEC#canary$2"),
    "market_api_key": Secret("MKEY-canary-3"),
    "market_api_secret": Secret("MSEC@canary$4"),
}

ORDER_ROW: dict[str, Any] = {
    "LoginID": "DEALER1",
    "ClientID": "Pro",
    "AppOrderID": 1210000042,
    "OrderReferenceID": "",
    "GeneratedBy": "TWSAPI",
    "ExchangeOrderID": "1300000012345678",
    "OrderCategoryType": "NORMAL",
    "ExchangeSegment": "NSEFO",
    "ExchangeInstrumentID": 41000,
    "TradingSymbol": "NIFTY 25AUG2026 CE 25000",
    "OrderSide": "BUY",
    "OrderType": "Limit",
    "ProductType": "NRML",
    "TimeInForce": "DAY",
    "OrderPrice": 112.5,
    "OrderQuantity": 130,
    "OrderStopPrice": 0,
    "OrderStatus": "New",
    "OrderAverageTradedPrice": "",
    "LeavesQuantity": 130,
    "CumulativeQuantity": 0,
    "OrderDisclosedQuantity": 0,
    "OrderGeneratedDateTime": "03-08-2026 10:15:00",
    "ExchangeTransactTime": "03-08-2026 10:15:00",
    "LastUpdateDateTime": "03-08-2026 10:15:01",
    "OrderExpiryDate": "01-01-1980 00:00:00",
    "CancelRejectReason": "",
    "OrderUniqueIdentifier": "S1-000042",
    "OrderLegStatus": "SingleOrderLeg",
    "BoLegDetails": 0,
    "IsSpread": False,
    "BoEntryOrderId": "",
    "MessageCode": 9004,
    "MessageVersion": 4,
    "TokenID": 0,
    "ApplicationType": 146,
    "SequenceNumber": 7,
}
TRADE_ROW: dict[str, Any] = {
    **ORDER_ROW,
    "OrderStatus": "PartiallyFilled",
    "LastTradedPrice": 112.45,
    "LastTradedQuantity": 65,
    "LastExecutionTransactTime": "03-08-2026 10:15:02",
    "ExecutionID": "400123",
    "ExecutionReportIndex": 2,
    "MessageCode": 9005,
}
POSITION_ROW: dict[str, Any] = {
    "AccountID": "*****",
    "TradingSymbol": "NIFTY 25AUG2026 CE 25000",
    "ExchangeSegment": "NSEFO",
    "ExchangeInstrumentId": "41000",
    "ProductType": "NRML",
    "Marketlot": "65",
    "Multiplier": "1",
    "BuyAveragePrice": "112.45",
    "SellAveragePrice": "0.00",
    "OpenBuyQuantity": "130",
    "OpenSellQuantity": "0",
    "Quantity": "130",
    "UnrealizedMTM": "0.00",
    "RealizedMTM": "0.00",
    "MTM": "0.00",
    "SumOfTradedQuantityAndPriceBuy": "14618.50",
    "SumOfTradedQuantityAndPriceSell": "0.00",
}

QUOTE: dict[str, Any] = {
    "MessageCode": 1501,
    "ExchangeSegment": 1,
    "ExchangeInstrumentID": 2885,
    "LastTradedPrice": 1254.5,
    "LastTradedQunatity": 4,
    "TotalBuyQuantity": 488449,
    "TotalSellQuantity": 710644,
    "TotalTradedQuantity": 6332534,
    "AverageTradedPrice": 1247.79,
    "LastTradedTime": 1470219300,
    "PercentChange": 0.27,
    "Open": 1253.95,
    "High": 1262,
    "Low": 1231.6,
    "Close": 1251.15,
    "TotalValueTraded": None,
    "AskInfo": {"Size": 1419, "Price": 1254.5, "TotalOrders": 3},
    "BidInfo": {"Size": 62, "Price": 1254.15, "TotalOrders": 3},
}
_HEADER = ("MessageCode", "ExchangeSegment", "ExchangeInstrumentID")
NESTED_QUOTE: dict[str, Any] = {
    **{name: QUOTE[name] for name in _HEADER},
    "Touchline": {name: value for name, value in QUOTE.items() if name not in _HEADER},
}
_LEVELS = [{"Size": 10 * n, "Price": 1254 - n, "TotalOrders": n} for n in range(1, 6)]
DEPTH: dict[str, Any] = {
    **NESTED_QUOTE,
    "MessageCode": 1502,
    "Bids": _LEVELS,
    "Asks": _LEVELS[::-1],
}
# Rows of the master contract, as the reference prints them (§9).
ROW_NSE_EQUITY = (
    "NSECM|12018|8|SUZLON|SUZLON-EQ|EQ|SUZLON-EQ|1100100012018|65.33|59.1|1596737|0.01|1|1|SUZLON"
    "|INE040H01021|1|1|SUZLON ENERGY LIMITED-EQ|0|-1|-1"
)
ROW_BSE_EQUITY = (
    "BSECM|540403|8|CLEDUCATE|CLEDUCATE-B|B|CLEDUCATE-B|11100100540403|137.15|91.45|0|0.05|1|1"
    "|CLEDUCATE|INE201M01029|1|1|CL Educate Limited|100|-1|-1"
)
ROW_FUTURE = (
    "NSEFO|35839|1|CDSL|CDSL25FEBFUT|FUTSTK|CDSL-FUTSTK|2505800035839|1958.4|1602.35|14001|0.05"
    "|350|1|1100100021174|CDSL|2025-02-27T14:30:00|CDSL 27FEB2025|1|1|CDSL25FEBFUT"
)
ROW_SPREAD = (
    "BSEFO|824336|4|SENSEX|SENSEX25JAN25FEBFUT|IF|SENSEX-IF|12100100824336|3906.95|-2344.15|500"
    "|0.05|20|1|-1||2025-01-14T00:00:00|SENSEX 14JAN25FEB SPD|1|1|SENSEX25JAN25FEBFUT"
)
ROW_OPTION = (
    "NSEFO|119476|2|NATIONALUM|NATIONALUM26JAN335PE|OPTSTK|NATIONALUM-OPTSTK|2602700119476|76.45"
    "|36.45|112501|0.05|3750|1|1100100006364|NATIONALUM|2026-01-27T14:30:00|335|4"
    "|NATIONALUM 27JAN2026 PE 335|1|1|NATIONALUM26JAN335PE"
)
ROW_BSE_OPTION = (
    "BSEFO|824627|2|SENSEX|SENSEX2510384700CE|IO|SENSEX-IO|12500300824627|100|0.05|1000|0.05|20|1"
    "|-1|SENSEX|2025-01-03T00:00:00|84700|3|SENSEX 03JAN2025 CE 84700|1|1|SENSEX2510384700CE"
)


def quotes_list(*items: object, text: bool = True) -> dict[str, object]:
    return {"mdp": 1501, "listQuotes": [json_codec.dumps(i) if text else i for i in items]}


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.waits: list[tuple[str, float]] = []
        self.anomalies: list[tuple[str, str]] = []

    def call(self, account: str, operation: str, outcome: str, seconds: float) -> None:
        self.calls.append((str(operation), outcome))

    def waited(self, account: str, operation: str, seconds: float) -> None:
        self.waits.append((str(operation), seconds))

    def anomaly(self, account: str, what: str, detail: str) -> None:
        self.anomalies.append((what, detail))

    @property
    def told(self) -> list[str]:
        return [what for what, _ in self.anomalies]


def success(result: object, code: str = "s-orders-0001", kind: object = "success") -> bytes:
    body = {"type": kind, "code": code, "description": "Request sent", "result": result}
    return json_codec.dumps(body).encode()


def error(code: str, description: str, result: object = None) -> bytes:
    body = {"type": "error", "code": code, "description": description, "result": result or {}}
    return json_codec.dumps(body).encode()


class Venue:
    """Answers by "METHOD /path"; an answer may be bytes, (status, bytes), an exception or a list.

    A list is used up one by one; its last element stays.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[dict[str, Any]] = []
        self.closed = 0

    def on(self, route: str, answer: Any) -> None:
        self.answers[route] = answer

    def sent(self, route: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["route"] == route]

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        answer = self.answers[request["route"]]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return 200, {}, answer
        status, body, *rest = answer
        return status, (rest[0] if rest else {}), body

    def transport(self, base_url: str, **_: object) -> FakeTransport:
        return FakeTransport(self, base_url)


class FakeTransport:
    """Stands where `broker.transport.Transport` would."""

    def __init__(self, venue: Venue, base_url: str) -> None:
        self._venue = venue
        self._base_url = base_url

    def _ask(self, method: str, path: str, options: dict[str, Any]) -> Any:
        return self._venue.answer({"route": f"{method} {path}", "root": self._base_url, **options})

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        deadline: Deadline,
        timeout_share: float = 1.0,
    ) -> Reply:
        options = {"params": params, "json": json, "headers": headers, "share": timeout_share}
        status, found, body = self._ask(method, path, options)
        return Reply(status, found, body, 0.001)

    @contextmanager
    def stream(
        self, method: str, path: str, *, json: object, headers: object, deadline: Deadline
    ) -> Iterator[StreamReply]:
        status, found, body = self._ask(method, path, {"json": json, "headers": headers})
        yield StreamReply(status, found, iter([body[i : i + 37] for i in range(0, len(body), 37)]))

    def close(self) -> None:
        self._venue.closed += 1


class Rig:
    """One broker with its clock, observer and scripted venue."""

    def __init__(self, broker_class: type[XtsBroker], venue: Venue, **account: Any) -> None:
        self.venue = venue
        self.clock = ManualClock()
        self.observer = Recorder()
        self.runtime = Runtime(
            self.clock, MemorySlotStore(self.clock), self.observer,
            trace_headers=lambda: {"x-request-id": "req-7"},
        )
        settings = {"label": "test", "credentials": CREDENTIALS, **account}
        self.broker = broker_class(AccountConfig(**settings), self.runtime)

    def deadline(self, seconds: float = 10.0) -> Deadline:
        return Deadline(self.clock, seconds)

    def attach(self, **details: str) -> None:
        self.broker.attach(session(**details))


def session(**details: str) -> Session:
    """An open session at both APIs."""
    known = {"user_id": "DEALER1", "clientCodes": "CLIENT1", "isInvestorClient": "false"}
    opened = datetime(2026, 11, 16, 4, 0, tzinfo=UTC)
    return Session(
        {"interactive": Secret("ITOKEN-canary-5"), "market_data": Secret("MTOKEN-canary-6")},
        {**known, **details},
        opened,
        opened + timedelta(hours=12),
    )
