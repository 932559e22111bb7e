"""The simulator as the contract suite sees it: a `BrokerHarness` for each profile of an XTS broker.

Only here do the suite's neutral words meet XTS names. The simulator's own catalog, built from the
same seed and date, says what the master contract must hold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from broker.base import AccountConfig, Broker, Operation
from broker.models import (
    Exchange,
    InstrumentKind,
    InstrumentRef,
    OptionType,
    OrderType,
    Product,
    Secret,
    Side,
)
from broker.testing.harness import BrokerHarness, Facts, Landmark, Listed, Received, Trouble
from simulator.market import catalog, instruments
from simulator.testing import Simulator, credential

WORDS = "OEMS:RMS : Margin Exceeds : Shortfall[1234.50] \u20b9 for entity"

SEGMENTS = {
    Exchange.NSE: "NSECM", Exchange.NFO: "NSEFO", Exchange.CDS: "NSECD",
    Exchange.MCX: "MCXFO", Exchange.BSE: "BSECM", Exchange.BFO: "BSEFO",
}
EXCHANGES = {segment: exchange for exchange, segment in SEGMENTS.items()}
KINDS = {
    instruments.EQUITY: InstrumentKind.EQUITY,
    instruments.FUTURE: InstrumentKind.FUTURE,
    instruments.OPTION: InstrumentKind.OPTION,
    instruments.SPREAD: InstrumentKind.SPREAD,
}
ORDER_TYPES = {
    "MARKET": OrderType.MARKET, "LIMIT": OrderType.LIMIT,
    "STOPLIMIT": OrderType.STOP_LIMIT, "STOPMARKET": OrderType.STOP_MARKET,
}
FAULTS: dict[Trouble, dict[str, Any]] = {
    Trouble.REFUSED: {"fault": "refuse", "text": WORDS},
    Trouble.ERROR_IN_SUCCESS: {"fault": "error_envelope_200", "text": WORDS},
    Trouble.RATE_LIMITED: {"fault": "rate_limit_400"},
    Trouble.RATE_LIMITED_UNDOCUMENTED: {"fault": "rate_limit_429", "code": "RATE_LIMIT_EXCEEDED"},
    Trouble.DEAD_TOKEN: {"fault": "dead_token"},
    Trouble.DISPLACED: {"fault": "displaced_session"},
    Trouble.SERVER_ERROR: {"fault": "error_500"},
    Trouble.SERVER_ERROR_AFTER: {"fault": "error_500_after_accept"},
    Trouble.GATEWAY_ERROR: {"fault": "error_502_html"},
    Trouble.HTML_PAGE: {"fault": "html_200"},
    Trouble.MALFORMED_AFTER: {"fault": "malformed_json"},
    Trouble.HALF_BODY_AFTER: {"fault": "half_body"},
    Trouble.EMPTY_BODY: {"fault": "empty_body"},
    Trouble.NO_ID_AFTER: {"fault": "success_without_id"},
    Trouble.CLOSED_BEFORE: {"fault": "close_before_accept"},
    Trouble.CLOSED_AFTER: {"fault": "accept_then_close"},
    Trouble.HANGS_BEFORE: {"fault": "hang_before_accept", "seconds": 0.8},
    Trouble.HANGS_AFTER: {"fault": "accept_then_hang", "seconds": 0.8},
    Trouble.DROPPED_AFTER: {"fault": "accept_then_drop"},
    Trouble.SLOW: {"fault": "slow", "seconds": 0.3},
}
COMMON_ROUTES = {
    Operation.PLACE: "POST /orders",
    Operation.MODIFY: "PUT /orders",
    Operation.CANCEL: "DELETE /orders",
    Operation.HOLDINGS: "GET /portfolio/holdings",
    Operation.FUNDS: "GET /user/balance",
    Operation.LOGIN: "POST /user/session",
    Operation.LOGOUT: "DELETE /user/session",
    Operation.QUOTES: "POST /instruments/quotes",
    Operation.HISTORY: "GET /instruments/ohlc",
    Operation.MASTER: "POST /instruments/master",
}
DEALER_ROUTES = COMMON_ROUTES | {
    Operation.ORDERS: "GET /orders/dealerorderbook",
    Operation.TRADES: "GET /orders/dealertradebook",
    Operation.POSITIONS: "GET /portfolio/dealerpositions",
}
INVESTOR_ROUTES = COMMON_ROUTES | {
    Operation.ORDERS: "GET /orders",
    Operation.TRADES: "GET /orders/trades",
    Operation.POSITIONS: "GET /portfolio/positions",
}


@dataclass(frozen=True, slots=True)
class Login:
    """One account of the simulator: profile, label of the credential, and what it trades for."""

    profile: str
    label: str
    cluster: str = ""
    account_type: str = ""
    client_id: str = ""


class XtsVenue(BrokerHarness):
    """The simulator, seen through its first login; the others are neighbours for C10."""

    def __init__(
        self, name: str, broker: type[Broker], simulator: Simulator, logins: tuple[Login, ...]
    ) -> None:
        self.name = name
        self.broker = broker
        self._simulator = simulator
        self._logins = logins
        self._profile = logins[0].profile
        self._dealer = self._profile.startswith("jainam")
        self._routes = DEALER_ROUTES if self._dealer else INVESTOR_ROUTES
        day = date.fromisoformat(simulator.control("health")["time"][:10])
        self._rows = _chosen(day)
        self._traded = [self._rows[name] for name in ("equity", "option", "future")]
        self.facts = Facts(
            accounts=len(logins),
            troubles=frozenset(Trouble),
            dead_token_forms=("e-session-0007", "e-token-0001", "e-session-0005", "200", "401"),
            landmarks=_landmarks(self._rows),
            kinds=frozenset({*KINDS.values(), InstrumentKind.INDEX}),
            refusal_words=WORDS,
        )

    # -- before and between ------------------------------------------------------------------

    def reset(self) -> None:
        self._simulator.reset()
        self._simulator.faults()
        self._simulator.control("limits", {"mode": "off"})
        self._simulator.control("config", {"behaviour": {"fill": "manual"}})
        for row in self._traded:
            self._simulator.control(
                "price", {"segment": row.segment, "token": row.token, "ltp": _middle(row)}
            )

    def account(self, number: int = 0) -> AccountConfig:
        login = self._logins[number]
        keys = credential(login.profile, login.label)
        return AccountConfig(
            label=f"{self.broker.info.name}-{number}",
            credentials={
                "interactive_api_key": Secret(keys["interactive_key"]),
                "interactive_api_secret": Secret(keys["interactive_secret"]),
                "market_api_key": Secret(keys["market_key"]),
                "market_api_secret": Secret(keys["market_secret"]),
            },
            cluster=login.cluster,
            account_type=login.account_type,
            client_id=login.client_id,
            base_url=self._simulator.url,
        )

    def with_wrong_secret(self, account: AccountConfig) -> AccountConfig:
        wrong = {**account.credentials, "interactive_api_secret": Secret("canary-not-the-secret")}
        return replace(account, credentials=wrong)

    def listed(self) -> tuple[Listed, ...]:
        return tuple(
            Listed(
                ref=_ref(row),
                kind=KINDS[row.kind],
                lot=row.lot,
                tick=Decimal(str(row.tick)),
                last=Decimal(str(_middle(row))),
                products=_products(row),
            )
            for row in self._traded
        )

    # -- what the venue saw --------------------------------------------------------------------

    def received(self, tag: str = "") -> list[Received]:
        return [
            _received(record)
            for record in self._simulator.orders(self._profile, tag or None)
        ]

    def requests(self, operation: Operation) -> int:
        return self._simulator.counts(self._profile).get(self._routes[operation], 0)

    def breaches(self) -> int:
        found = self._simulator.control("limits", None, profile=self._profile)
        return sum(len(each) for each in found.values())

    # -- trouble -----------------------------------------------------------------------------

    def trouble(
        self, trouble: Trouble, operation: Operation, *, times: int | None = None
    ) -> None:
        rule = {"route": self._routes[operation], "count": times, **FAULTS[trouble]}
        self._simulator.faults(rule)

    def calm(self) -> None:
        self._simulator.faults()

    def use_dead_token_form(self, form: str) -> None:
        self._quirk(dead_token=form)

    def end_sessions(self) -> None:
        self._simulator.control("sessions/kill", {"profile": self._profile})

    def malformed_master(self, rows: int) -> None:
        self._simulator.control("master", {"malformed": rows})

    def meter(self) -> None:
        self._simulator.control("limits", {"mode": "published"})

    def loose_numbers(self) -> None:
        self._quirk(
            loose_numbers=True, order_ids_as_text=True, date_format="iso-zone",
            product_type_shape="list", order_type_upper=True,
        )

    def _quirk(self, **quirks: object) -> None:
        self._simulator.control("config", {"profile": self._profile, "quirks": quirks})

    # -- orders and positions --------------------------------------------------------------------

    def fill(self, order_id: str, quantity: int, price: Decimal) -> None:
        self._act(order_id, "fill", {"quantity": quantity, "price": float(price)})

    def reject(self, order_id: str, reason: str) -> None:
        self._act(order_id, "reject", {"reason": reason})

    def odd_state(self, order_id: str) -> None:
        self._act(order_id, "status", {"status": "Frobnicated"})

    def _act(self, order_id: str, action: str, body: dict[str, Any]) -> None:
        self._simulator.control(f"orders/{order_id}/{action}", body)

    def fills_at_once(self) -> None:
        self._simulator.control("config", {"behaviour": {"fill": "auto"}})

    def set_position(
        self, account: int, ref: InstrumentRef, product: Product, quantity: int, price: Decimal
    ) -> None:
        login = self._logins[account]
        user = credential(login.profile, login.label)["user_id"]
        body = {
            "profile": login.profile, "user": user, "segment": SEGMENTS[ref.exchange],
            "token": int(ref.token), "product": product.value, "quantity": quantity,
            "price": float(price), "carried": True,
        }
        if login.client_id:
            body["client"] = login.client_id
        self._simulator.control("positions", body)

    def foreign_order(self, ref: InstrumentRef, tag: str = "") -> str:
        self._only_dealers("show another client's order")
        made = self._simulator.control(
            "order",
            {
                "profile": self._profile, "client": "OTHER99", "segment": SEGMENTS[ref.exchange],
                "token": int(ref.token), "tag": tag,
            },
        )
        return str(made["app_order_id"])

    def foreign_position(self, ref: InstrumentRef) -> None:
        self._only_dealers("show another client's position")
        self._simulator.control(
            "positions",
            {
                "profile": self._profile, "client": "OTHER99", "segment": SEGMENTS[ref.exchange],
                "token": int(ref.token), "quantity": 500,
            },
        )

    def _only_dealers(self, what: str) -> None:
        if not self._dealer:
            self._cannot(what)

    def without_data(self) -> InstrumentRef:
        return InstrumentRef(Exchange.NSE, "987654321")


@cache
def _chosen(day: date) -> dict[str, instruments.Instrument]:
    """The instruments that the cards trade and look up, from the simulator's own catalog."""
    built = catalog.build("small", 1, day, None)

    def first(segment: str, **wanted: object) -> instruments.Instrument:
        rows = (instruments.parse(row) for row in built.segments[segment].rows())
        return next(
            row for row in rows
            if all(getattr(row, name) == value for name, value in wanted.items())
        )

    fractional = next(
        row
        for row in map(instruments.parse, built.segments["NSEFO"].rows())
        if row.kind == instruments.OPTION and row.strike % 1
    )
    return {
        "equity": first("NSECM", name="RELIANCE", series="EQ"),
        "option": first("NSEFO", name="NIFTY", kind=instruments.OPTION),
        "future": first("NSEFO", name="NIFTY", kind=instruments.FUTURE),
        "ampersand": first("NSECM", name="M&M", series="EQ"),
        "hyphen": first("NSECM", name="BAJAJ-AUTO", series="EQ"),
        "fractional": fractional,
        "spread": first("NSEFO", name="NIFTY", kind=instruments.SPREAD),
        "bse": first("BSECM", name="RELIANCE"),
        "commodity": first("MCXFO", kind=instruments.FUTURE),
        "currency": first("NSECD", name="USDINR", kind=instruments.OPTION),
    }


def _landmarks(rows: dict[str, instruments.Instrument]) -> tuple[Landmark, ...]:
    found = []
    for row in rows.values():
        expected: dict[str, object] = {
            "kind": KINDS[row.kind],
            "root": row.name,
            "lot_size": row.lot,
            "tick_size": Decimal(str(row.tick)),
            "multiplier": Decimal(str(row.multiplier)),
            "broker_segment": row.segment,
            "price_high": Decimal(str(row.high)),
            "price_low": Decimal(str(row.low)),
            "freeze_quantity": row.freeze_limit or None,
        }
        if row.kind == instruments.EQUITY:
            expected |= {"series": row.series, "isin": row.isin}
        else:
            expected["expiry"] = row.expiry
        if row.kind == instruments.OPTION:
            expected["strike"] = Decimal(str(row.strike))
            expected["option_type"] = (
                OptionType.CE if row.option_type == instruments.CALL else OptionType.PE
            )
        found.append(Landmark(_ref(row), expected))
    return tuple(found)


def _ref(row: instruments.Instrument) -> InstrumentRef:
    return InstrumentRef(EXCHANGES[row.segment], str(row.token))


def _products(row: instruments.Instrument) -> tuple[Product, ...]:
    if row.kind == instruments.EQUITY:
        return (Product.MIS, Product.NRML, Product.CNC)
    return (Product.MIS, Product.NRML)


def _middle(row: instruments.Instrument) -> float:
    """A price in the middle of the day's band, on the tick."""
    steps = round((row.low + row.high) / 2 / row.tick)
    return round(steps * row.tick, 4)


def _received(record: dict[str, Any]) -> Received:
    made = Received(
        tag=record["tag"],
        accepted=record["accepted"],
        order_id=str(record["app_order_id"] or ""),
        at=record["received_at"] / 1e9,
    )
    if record["status"] is None:
        return made
    return replace(
        made,
        side=Side(record["side"]),
        order_type=ORDER_TYPES[record["order_type"].upper()],
        product=Product(record["product"]),
        quantity=record["quantity"],
        price=Decimal(str(record["price"])),
        trigger_price=Decimal(str(record["stop_price"])),
    )
