"""`XtsBroker` on a scripted venue: how many requests go out, what is read, what is filtered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from broker import errors
from broker.base import Operation, Priority
from broker.models import (
    BadRow,
    Exchange,
    Found,
    Instrument,
    InstrumentRef,
    ModifyRequest,
    NotSeen,
    OrderRequest,
    OrderState,
    OrderType,
    Product,
    Side,
)
from tests.support.xts import (
    DEPTH,
    ORDER_ROW,
    POSITION_ROW,
    QUOTE,
    ROW_FUTURE,
    ROW_NSE_EQUITY,
    TRADE_ROW,
    Rig,
    Venue,
    error,
    quotes_list,
    session,
    success,
)

Build = Callable[..., Rig]
REF = InstrumentRef(Exchange.NSE, "2885")
OPTION = InstrumentRef(Exchange.NFO, "41000")
ORDER = OrderRequest(OPTION, Side.BUY, OrderType.LIMIT, Product.NRML, 130, price=Decimal(112))
CHANGE = ModifyRequest("1210000042", OrderType.LIMIT, Product.NRML, 65, price=Decimal(111))
PLACE, MODIFY, CANCEL = (f"{m} /interactive/orders" for m in ("POST", "PUT", "DELETE"))
BOOK = "GET /interactive/orders/dealerorderbook"
TRADES = "GET /interactive/orders/dealertradebook"
POSITIONS = "GET /interactive/portfolio/dealerpositions"
QUOTES = "POST /apibinarymarketdata/instruments/quotes"
OHLC = "GET /apibinarymarketdata/instruments/ohlc"
MASTER = "POST /apibinarymarketdata/instruments/master"
DEAD = (400, error("e-session-0007", "Invalid Token"))
PLACED = success({"AppOrderID": 1210000042, "OrderUniqueIdentifier": "T1", "ClientID": "*****"})


@pytest.fixture
def rig(jainam: Build) -> Rig:
    built = jainam()
    built.attach()
    return built


def submit(rig: Rig, what: str, priority: Priority = Priority.ENTRY) -> str:
    deadline = rig.deadline()
    operation = Operation(what)
    slot = rig.broker.reserve(operation, priority=priority, deadline=deadline)
    if what == "place":
        return rig.broker.place(ORDER, "T1", slot=slot, deadline=deadline)
    if what == "modify":
        return rig.broker.modify(CHANGE, slot=slot, deadline=deadline)
    return rig.broker.cancel("1210000042", client="Pro", slot=slot, deadline=deadline)


ROUTES = {"place": PLACE, "modify": MODIFY, "cancel": CANCEL}


# Submits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ROUTES)
def test_a_submit_is_one_request(rig: Rig, what: str) -> None:
    rig.venue.on(ROUTES[what], PLACED)
    assert submit(rig, what) == "1210000042"
    (sent,) = rig.venue.requests
    assert sent["share"] == 1.0, "the caller's deadline is the limit"
    assert sent["headers"]["authorization"] == "ITOKEN-canary-5"
    client = sent["params"] if what == "cancel" else sent["json"]
    assert client["clientID"] == "*****"
    assert rig.observer.calls == [(what, "ok")]


@pytest.mark.parametrize("what", ROUTES)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (errors.ConnectFailed("no"), errors.ConnectFailed),
        (errors.OutcomeUnknown("cut"), errors.OutcomeUnknown),
        ((502, b"<html>"), errors.OutcomeUnknown),
        ((200, b"<html>"), errors.OutcomeUnknown),
        ((200, b"{half"), errors.OutcomeUnknown),
        (success({}), errors.OutcomeUnknown),
        (success({"AppOrderID": ""}), errors.OutcomeUnknown),
        (success({"AppOrderID": 0}), errors.OutcomeUnknown),
        (success({"AppOrderID": "x"}), errors.OutcomeUnknown),
        (success("Request sent"), errors.OutcomeUnknown),
        (success([]), errors.OutcomeUnknown),
        ((200, error("e-orders-0001", "RMS says no")), errors.Refused),
        ((400, error("e-orders-0001", "RMS says no")), errors.Refused),
        ((429, error("e-apirl-0004", "Rate limit")), errors.RateLimited),
        ((429, b"slow down"), errors.RateLimitedUnknown),
        (DEAD, errors.SessionExpired),
    ],
)
def test_a_submit_is_never_repeated(
    rig: Rig, what: str, answer: object, kind: type[errors.BrokerError]
) -> None:
    rig.venue.on(ROUTES[what], answer)
    with pytest.raises(errors.BrokerError) as caught:
        submit(rig, what)
    assert type(caught.value) is kind
    assert len(rig.venue.requests) == 1
    assert rig.observer.calls == [(what, kind.kind)]


def test_the_id_may_be_text_or_in_a_list(rig: Rig) -> None:
    rig.venue.on(PLACE, success({"AppOrderID": "1210000042"}))
    assert submit(rig, "place") == "1210000042"
    rig.venue.on(CANCEL, success([{"AppOrderID": 1210000042, "ClientID": "*****"}]))
    assert submit(rig, "cancel") == "1210000042"
    assert rig.observer.anomalies == []


def test_echoes_that_do_not_fit_are_told(rig: Rig) -> None:
    rig.venue.on(PLACE, success({"AppOrderID": 5, "OrderUniqueIdentifier": "OTHER"}))
    assert submit(rig, "place") == "5"
    rig.venue.on(CANCEL, success({"AppOrderID": 5}))
    assert submit(rig, "cancel") == "1210000042"
    assert rig.observer.told == ["tag_echo", "order_id_echo"]


@pytest.mark.parametrize("what", ROUTES)
def test_without_a_session_nothing_is_sent(jainam: Build, what: str) -> None:
    rig = jainam()
    assert rig.broker.session is None
    with pytest.raises(errors.SessionExpired):
        submit(rig, what)
    assert rig.venue.requests == []


def test_a_product_that_the_broker_has_not(rig: Rig) -> None:
    slot = rig.broker.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=rig.deadline())
    order = OrderRequest(REF, Side.BUY, OrderType.MARKET, Product.MTF, 1)
    with pytest.raises(errors.InvalidOrder) as caught:
        rig.broker.place(order, "T1", slot=slot, deadline=rig.deadline())
    assert caught.value.field == "product"
    assert rig.venue.requests == []


def test_when_the_time_is_up_nothing_is_sent(rig: Rig) -> None:
    slot = rig.broker.reserve(Operation.PLACE, priority=Priority.ENTRY, deadline=rig.deadline())
    with pytest.raises(errors.ConnectFailed, match="nothing was sent"):
        rig.broker.place(ORDER, "T1", slot=slot, deadline=rig.deadline(0))
    assert rig.venue.requests == []


def test_on_c_a_cancel_repeats_the_row_s_client(jainam: Build) -> None:
    rig = jainam(cluster="C")
    rig.attach()
    rig.venue.on(CANCEL, PLACED)
    slot = rig.broker.reserve(Operation.CANCEL, priority=Priority.EXIT, deadline=rig.deadline())
    rig.broker.cancel("1210000042", client="CLIENT8", slot=slot, deadline=rig.deadline())
    assert rig.venue.requests[0]["params"] == {"appOrderID": "1210000042", "clientID": "CLIENT8"}


# The circuit -----------------------------------------------------------------------------------


def break_circuit(rig: Rig) -> None:
    rig.venue.on(PLACE, (502, b"<html>"))
    for _ in range(5):
        with pytest.raises(errors.OutcomeUnknown):
            submit(rig, "place")


def test_an_open_circuit_holds_entries_and_lets_the_way_out_try(rig: Rig) -> None:
    break_circuit(rig)
    rig.venue.on(PLACE, PLACED)
    rig.venue.on(CANCEL, (502, b"<html>"))
    with pytest.raises(errors.CircuitOpen):
        submit(rig, "place")
    with pytest.raises(errors.OutcomeUnknown):
        submit(rig, "cancel")
    assert submit(rig, "place", Priority.EXIT) == "1210000042"
    assert submit(rig, "place") == "1210000042", "an exit that worked closes it"


def test_the_circuit_is_shared_by_the_accounts_of_a_host_and_no_others(
    jainam: Build, venue: Venue
) -> None:
    first, other = jainam(), jainam(cluster="C")
    second = type(first.broker)(first.broker.account, first.runtime)
    third = type(first.broker)(other.broker.account, first.runtime)
    for broker in (second, third):
        broker.attach(session())
    first.attach()
    break_circuit(first)
    venue.on(BOOK, success([]))
    with pytest.raises(errors.CircuitOpen):
        second.orders(deadline=first.deadline(0.1))
    assert third.orders(deadline=first.deadline()) == []
    venue.on(QUOTES, success({"listQuotes": []}))
    assert second.quotes([REF], deadline=first.deadline()) == {}, "market data is another API"


def test_refusals_do_not_open_the_circuit(rig: Rig) -> None:
    rig.venue.on(PLACE, (400, error("e-orders-0001", "no")))
    for _ in range(10):
        with pytest.raises(errors.Refused):
            submit(rig, "place")


# Pacing ----------------------------------------------------------------------------------------


def test_places_and_modifies_share_the_own_limit_cancels_do_not(jainam: Build) -> None:
    rig = jainam(orders_per_second=2)
    rig.attach()
    for route in ROUTES.values():
        rig.venue.on(route, PLACED)
    submit(rig, "place")
    submit(rig, "modify")
    assert rig.clock.slept == []
    submit(rig, "cancel")
    assert rig.clock.slept == []
    submit(rig, "place")
    assert sum(rig.clock.slept) == pytest.approx(1.0, abs=0.05)


def test_asking_without_waiting(jainam: Build) -> None:
    rig = jainam(orders_per_second=1)
    rig.attach()
    ask: dict[str, Any] = {"priority": Priority.ENTRY, "deadline": rig.deadline(), "wait": False}
    with rig.broker.reserve(Operation.PLACE, **ask), pytest.raises(errors.BrokerBusy):
        rig.broker.reserve(Operation.PLACE, **ask)
    assert rig.clock.slept == []


def test_two_accounts_with_one_key_share_their_limits(jainam: Build) -> None:
    rig = jainam(orders_per_second=1)
    twin = type(rig.broker)(rig.broker.account, rig.runtime)
    ask: dict[str, Any] = {"priority": Priority.ENTRY, "deadline": rig.deadline(), "wait": False}
    with rig.broker.reserve(Operation.PLACE, **ask), pytest.raises(errors.BrokerBusy):
        twin.reserve(Operation.PLACE, **ask)


def test_published_limits_can_be_left_out(jainam: Build) -> None:
    rig = jainam(published_limits=False)
    rig.attach()
    rig.venue.on(POSITIONS, success([]))
    for _ in range(3):
        rig.broker.positions(deadline=rig.deadline())
    assert rig.clock.slept == []
    paced = jainam()
    paced.attach()
    for _ in range(3):
        paced.broker.positions(deadline=paced.deadline())
    assert sum(paced.clock.slept) == pytest.approx(2.0, abs=0.1)


# Reads -----------------------------------------------------------------------------------------


def test_reads_are_repeated_and_say_so(rig: Rig) -> None:
    rig.venue.on(BOOK, [(502, b"<html>"), errors.ConnectFailed("no"), success([ORDER_ROW])])
    assert len(rig.broker.orders(deadline=rig.deadline())) == 1
    assert [outcome for _, outcome in rig.observer.calls] == [
        "outcome_unknown",
        "connect_failed",
        "ok",
    ]


@pytest.mark.parametrize(
    "answer", [DEAD, (400, error("e-trade-00002", "not mapped")), success({"x": 1})]
)
def test_reads_that_can_t_heal_are_not_repeated(rig: Rig, answer: object) -> None:
    rig.venue.on(BOOK, answer)
    with pytest.raises(errors.BrokerError):
        rig.broker.orders(deadline=rig.deadline())
    assert len(rig.venue.requests) == 1


def test_a_book_that_stays_unreadable_raises(rig: Rig) -> None:
    rig.venue.on(BOOK, (500, b"<html>"))
    with pytest.raises(errors.OutcomeUnknown):
        rig.broker.orders(deadline=rig.deadline())
    assert len(rig.venue.requests) == 4, "one read and three repetitions"


def test_rows_of_other_clients_are_left_out(rig: Rig) -> None:
    foreign = {**ORDER_ROW, "ClientID": "CLIENT9", "AppOrderID": 7}
    rig.venue.on(BOOK, success([foreign, ORDER_ROW, {**ORDER_ROW, "ClientID": "*****"}]))
    rig.venue.on(TRADES, success([{**TRADE_ROW, "ClientID": "CLIENT9"}, TRADE_ROW]))
    other = {**POSITION_ROW, "AccountID": "CLIENT9"}
    rig.venue.on(POSITIONS, success({"positionList": [other, POSITION_ROW]}))
    assert [o.client for o in rig.broker.orders(deadline=rig.deadline())] == ["Pro", "*****"]
    assert [t.client for t in rig.broker.trades(deadline=rig.deadline())] == ["Pro"]
    assert [p.client for p in rig.broker.positions(deadline=rig.deadline())] == ["*****"]


def test_an_unreadable_row_of_somebody_else_does_no_harm(rig: Rig) -> None:
    rig.venue.on(BOOK, success([{"ClientID": "CLIENT9"}, ORDER_ROW]))
    assert len(rig.broker.orders(deadline=rig.deadline())) == 1


@pytest.mark.parametrize(
    ("cluster", "params"), [("B", {"clientID": "*****"}), ("C", {}), ("A", {"clientID": "*****"})]
)
def test_books_are_asked_for_by_the_cluster_s_rule(
    jainam: Build, cluster: str, params: dict[str, str]
) -> None:
    rig = jainam(cluster=cluster)
    rig.attach()
    for route in (BOOK, TRADES, POSITIONS):
        rig.venue.on(route, success([]))
    rig.broker.orders(deadline=rig.deadline())
    rig.broker.trades(deadline=rig.deadline())
    rig.broker.positions(deadline=rig.deadline())
    rig.broker.positions(deadline=rig.deadline(), day=True)
    assert [request["params"] for request in rig.venue.requests] == [
        params,
        params,
        {**params, "dayOrNet": "NetWise"},
        {**params, "dayOrNet": "DayWise"},
    ]


def test_an_investor_reads_the_plain_books(wisdom: Build) -> None:
    rig = wisdom()
    rig.attach(isInvestorClient="true")
    rig.venue.on("GET /interactive/orders", (400, error("e-orders-0005", "Data Not Available")))
    rig.venue.on("GET /interactive/orders/trades", (400, error("e-tradeBook-0005", "")))
    rig.venue.on("GET /interactive/portfolio/positions", (400, error("e-portfolio-0005", "")))
    rig.venue.on("GET /interactive/portfolio/holdings", (400, error("e-holdings-0005", "")))
    deadline = rig.deadline()
    assert rig.broker.orders(deadline=deadline) == []
    assert rig.broker.trades(deadline=deadline) == []
    assert rig.broker.positions(deadline=deadline) == []
    assert rig.broker.holdings(deadline=deadline) == []
    assert rig.venue.requests[0]["params"] == {}


def test_the_same_execution_counts_once(rig: Rig) -> None:
    rig.venue.on(TRADES, success([TRADE_ROW, TRADE_ROW, {**TRADE_ROW, "ExecutionID": "400124"}]))
    assert len(rig.broker.trades(deadline=rig.deadline())) == 2


# Find ------------------------------------------------------------------------------------------


def test_a_tag_is_found_among_all_rows(rig: Rig) -> None:
    mine = {**ORDER_ROW, "ClientID": "CLIENT9", "OrderUniqueIdentifier": "MINE"}
    newer = {**mine, "OrderStatus": "Filled", "SequenceNumber": 99, "CumulativeQuantity": 130}
    rig.venue.on(BOOK, success([newer, ORDER_ROW, mine]))
    before = rig.clock.now()
    found = rig.broker.find("MINE", deadline=rig.deadline())
    assert isinstance(found, Found)
    assert found.order.state is OrderState.FILLED
    assert found.as_of == before
    assert rig.observer.told == ["foreign_client_on_own_order"]


@pytest.mark.parametrize(
    "answer", [success([ORDER_ROW]), (400, error("e-orders-0005", "Data Not Available"))]
)
def test_a_tag_that_a_complete_book_does_not_hold(rig: Rig, answer: object) -> None:
    rig.venue.on(BOOK, answer)
    assert isinstance(rig.broker.find("MINE", deadline=rig.deadline()), NotSeen)


@pytest.mark.parametrize("answer", [(500, b"<html>"), DEAD, success({}), (400, error("x", "no"))])
def test_a_book_that_can_t_be_read_decides_nothing(rig: Rig, answer: object) -> None:
    rig.venue.on(BOOK, answer)
    with pytest.raises(errors.BrokerError):
        rig.broker.find("MINE", deadline=rig.deadline())


def test_an_unreadable_row_of_ours_is_not_not_seen(rig: Rig) -> None:
    rig.venue.on(BOOK, success([{**ORDER_ROW, "OrderSide": "?"}]))
    with pytest.raises(errors.ProtocolError):
        rig.broker.find("S1-000042", deadline=rig.deadline())


# History of one order --------------------------------------------------------------------------

HISTORY = "GET /interactive/orders"


def test_reports_come_oldest_first(rig: Rig) -> None:
    states = ["PendingNew", "New", "Filled"]
    reports = [
        {**ORDER_ROW, "OrderStatus": state, "SequenceNumber": n, "GeneratedBy": None}
        for n, state in enumerate(states)
    ]
    rig.venue.on(HISTORY, success(reports[::-1]))
    found = rig.broker.order_history("1210000042", deadline=rig.deadline())
    assert [report.state_text for report in found] == states
    assert rig.venue.requests[0]["params"] == {"appOrderID": "1210000042", "clientID": "*****"}


def test_an_order_that_nobody_knows(rig: Rig) -> None:
    rig.venue.on(HISTORY, (400, error("e-orders-0001", "Order history not found")))
    with pytest.raises(errors.NotFound):
        rig.broker.order_history("5", deadline=rig.deadline())
    rig.venue.on(HISTORY, success([ORDER_ROW]))
    with pytest.raises(errors.NotFound):
        rig.broker.order_history("5", deadline=rig.deadline())
    with pytest.raises(errors.InvalidOrder):
        rig.broker.order_history("1&clientID=X", deadline=rig.deadline())


# Market data -----------------------------------------------------------------------------------


def test_quotes_by_identity_with_open_interest_for_derivatives(rig: Rig) -> None:
    future = {**QUOTE, "ExchangeSegment": 2, "ExchangeInstrumentID": 41000}
    oi = {**future, "MessageCode": 1510, "OpenInterest": 777}
    index = {**QUOTE, "ExchangeInstrumentID": 26000}
    stray = {**QUOTE, "ExchangeInstrumentID": 99}
    rig.venue.on(QUOTES, [success(quotes_list(oi)), success(quotes_list(index, stray, future))])
    nifty = InstrumentRef(Exchange.NSE_INDEX, "26000")
    found = rig.broker.quotes([REF, OPTION, nifty, nifty], deadline=rig.deadline())
    assert set(found) == {OPTION, nifty}, "an instrument without data is missing"
    assert found[OPTION].oi == 777
    assert found[nifty].oi is None
    assert rig.observer.told == ["quote_identity"]
    assert [request["json"]["xtsMessageCode"] for request in rig.venue.requests] == [1510, 1501]
    asked = rig.venue.requests[1]["json"]
    assert asked["publishFormat"] == "JSON"
    assert asked["instruments"] == [
        {"exchangeSegment": 1, "exchangeInstrumentID": 2885},
        {"exchangeSegment": 2, "exchangeInstrumentID": 41000},
        {"exchangeSegment": 1, "exchangeInstrumentID": 26000},
    ]
    assert rig.venue.requests[0]["headers"]["authorization"] == "MTOKEN-canary-6"


def test_quotes_go_in_batches_of_fifty(rig: Rig) -> None:
    rig.venue.on(QUOTES, success(quotes_list()))
    refs = [InstrumentRef(Exchange.NSE, str(n)) for n in range(1, 121)]
    assert rig.broker.quotes(refs, deadline=rig.deadline()) == {}
    assert [len(r["json"]["instruments"]) for r in rig.venue.requests] == [50, 50, 20]
    assert rig.broker.quotes([], deadline=rig.deadline()) == {}


def test_a_server_without_open_interest_has_quotes_all_the_same(rig: Rig) -> None:
    row = {**QUOTE, "ExchangeSegment": 2, "ExchangeInstrumentID": 41000}
    refusal = (400, error("e-quotes-0001", "bad code"))
    rig.venue.on(QUOTES, [refusal, success(quotes_list(row))])
    found = rig.broker.quotes([OPTION], deadline=rig.deadline())
    assert found[OPTION].oi is None
    assert rig.observer.told == ["open_interest"]


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        (InstrumentRef(Exchange.NCDEX, "1"), "exchange"),
        (InstrumentRef(Exchange.NSE, "MSECM:1"), "symbol"),
    ],
)
def test_an_instrument_that_is_not_the_broker_s(rig: Rig, ref: InstrumentRef, field: str) -> None:
    with pytest.raises(errors.InvalidOrder) as caught:
        rig.broker.quotes([ref], deadline=rig.deadline())
    assert caught.value.field == field


def test_depth(rig: Rig) -> None:
    rig.venue.on(QUOTES, success(quotes_list(DEPTH)))
    assert len(rig.broker.depth(REF, deadline=rig.deadline()).bids) == 5
    rig.venue.on(QUOTES, success(quotes_list()))
    with pytest.raises(errors.NotFound):
        rig.broker.depth(REF, deadline=rig.deadline())


def test_depth_of_a_derivative_has_open_interest(rig: Rig) -> None:
    row = {**DEPTH, "ExchangeSegment": 2, "ExchangeInstrumentID": 41000}
    oi = {**row, "MessageCode": 1510, "OpenInterest": 9}
    rig.venue.on(QUOTES, [success(quotes_list(oi)), success(quotes_list(row))])
    assert rig.broker.depth(OPTION, deadline=rig.deadline()).quote.oi == 9


def candles(text: str = "", token: str = "2885") -> bytes:
    return success({"exchangeSegment": "1", "exchangeInstrumentID": token, "dataReponse": text})


def test_history_is_asked_for_in_runs_without_gap(rig: Rig) -> None:
    rig.venue.on(
        OHLC,
        [
            candles("1785748559|1|2|0.5|1.5|10|0|,1785748619|1|2|0.5|1.5|10|0|"),
            candles("1786353359|1|2|0.5|1.5|10|0|"),
        ],
    )
    start, end = date(2026, 8, 3), date(2026, 8, 10)
    found = rig.broker.history(REF, "1m", start, end, deadline=rig.deadline())
    assert [f"{c.opened_at:%d %H:%M}" for c in found] == ["03 09:15", "03 09:16", "10 09:15"]
    asked = [(r["params"]["startTime"], r["params"]["endTime"]) for r in rig.venue.requests]
    assert asked == [
        ("Aug 03 2026 000000", "Aug 09 2026 235959"),
        ("Aug 10 2026 000000", "Aug 10 2026 235959"),
    ]


def test_an_empty_history_is_checked_against_a_dead_session(rig: Rig) -> None:
    config = "GET /apibinarymarketdata/config/clientConfig"
    rig.venue.on(OHLC, candles())
    rig.venue.on(config, success({}))
    day = date(2026, 8, 3)
    assert rig.broker.history(REF, "D", day, day, deadline=rig.deadline()) == []
    rig.venue.on(config, DEAD)
    with pytest.raises(errors.SessionExpired):
        rig.broker.history(REF, "D", day, day, deadline=rig.deadline())


def test_the_history_of_another_instrument_never_passes(rig: Rig) -> None:
    rig.venue.on(OHLC, candles("1785748559|1|2|0.5|1.5|10|0|", token="11536"))
    day = date(2026, 8, 3)
    with pytest.raises(errors.ProtocolError, match="another instrument"):
        rig.broker.history(REF, "1m", day, day, deadline=rig.deadline())


def test_an_interval_that_is_not_served(rig: Rig) -> None:
    day = date(2026, 8, 3)
    with pytest.raises(errors.NotSupported, match="1m, 3m, 5m"):
        rig.broker.history(REF, "7m", day, day, deadline=rig.deadline())


# Master contract -------------------------------------------------------------------------------


def test_the_master_is_streamed_segment_by_segment(rig: Rig) -> None:
    index = "GET /apibinarymarketdata/instruments/indexlist"
    rig.venue.on(index, success({"indexList": ["NIFTY 50_26000"]}))
    rig.venue.on(MASTER, success(f"{ROW_NSE_EQUITY}\nbroken\n{ROW_NSE_EQUITY}"))
    wanted = [Exchange.NSE, Exchange.NSE_INDEX]
    rows = list(rig.broker.instruments(wanted))
    assert [type(row) for row in rows] == [Instrument, BadRow, Instrument, Instrument]
    assert rig.venue.requests[0]["json"] == {"exchangeSegmentList": ["NSECM"]}
    assert rig.venue.requests[1]["params"] == {"exchangeSegment": "1"}
    assert rows[1] == BadRow("NSECM", 2, "broken", "1 columns")


def test_every_segment_is_asked_for_by_default(rig: Rig) -> None:
    rig.venue.on(MASTER, success(""))
    index = "GET /apibinarymarketdata/instruments/indexlist"
    rig.venue.on(index, (400, error("e-instrument-0001", "Instrument not found")))
    assert list(rig.broker.instruments()) == []
    assert [r["json"]["exchangeSegmentList"][0] for r in rig.venue.sent(MASTER)] == [
        "NSECM",
        "NSEFO",
        "NSECD",
        "MCXFO",
        "BSECM",
        "BSEFO",
    ]
    assert len(rig.venue.sent(index)) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (DEAD, errors.SessionExpired),
        ((502, b"<html>"), errors.OutcomeUnknown),
        ((400, error("e-instrument-0001", "bad segment")), errors.Refused),
        (success(ROW_FUTURE)[:-40], errors.OutcomeUnknown),
        (error("e-x", "no").replace(b"{}", b'"a|1\\nb|2"'), errors.Refused),
    ],
)
def test_a_download_that_failed_raises(
    rig: Rig, answer: object, kind: type[errors.BrokerError]
) -> None:
    rig.venue.on(MASTER, answer)
    with pytest.raises(kind):
        list(rig.broker.instruments([Exchange.NFO]))


def test_a_reader_that_stops_early_is_nobody_s_failure(rig: Rig) -> None:
    rig.venue.on(MASTER, success("\n".join([ROW_NSE_EQUITY] * 500)))
    for _ in range(7):
        stream = rig.broker.instruments([Exchange.NSE])
        assert isinstance(next(iter(stream)), Instrument)
        stream.close()  # type: ignore[attr-defined]
    assert len(list(rig.broker.instruments([Exchange.NSE]))) == 500


# Self-check ------------------------------------------------------------------------------------

BALANCE = "GET /interactive/user/balance"
LIMITS = {"netMarginAvailable": "5", "marginUtilized": "0", "collateral": 0}


def healthy(rig: Rig) -> None:
    limits = {"limitHeader": "ALL|ALL|ALL", "limitObject": {"RMSSubLimits": LIMITS}}
    rig.venue.on(BALANCE, success({"BalanceList": [limits]}))
    rig.venue.on(BOOK, success([ORDER_ROW]))
    rig.venue.on(TRADES, success([]))
    rig.venue.on(POSITIONS, success({"positionList": []}))
    rig.venue.on(QUOTES, success(quotes_list({**QUOTE, "ExchangeInstrumentID": 26000})))


def test_a_healthy_login(rig: Rig) -> None:
    healthy(rig)
    assert rig.broker.self_check(deadline=rig.deadline()) == []
    submits = {PLACE, MODIFY, CANCEL}
    assert not submits & {request["route"] for request in rig.venue.requests}


FOREIGN = (
    "Every row of the order book belongs to other clients and is left out: CLIENT9 (1). "
    "If one of them is yours, set the account option accepted_row_clients."
)


def test_what_is_wrong_is_said_in_sentences(rig: Rig) -> None:
    healthy(rig)
    rig.attach(isInvestorClient="true")
    rig.venue.on(BALANCE, (400, error("e-user-0001", "No RMS Limit assign to user")))
    rig.venue.on(POSITIONS, (400, error("e-trade-00002", "Supplied client not mapped")))
    rig.venue.on(BOOK, success([{**ORDER_ROW, "ClientID": "CLIENT9"}]))
    rig.venue.on(QUOTES, success(quotes_list()))
    faults = rig.broker.self_check(deadline=rig.deadline())
    assert faults == [
        "The broker says that this login is an investor's, but the account is set to PRO.",
        "The balance can't be read: No RMS Limit assign to user",
        "The positions can't be read: Supplied client not mapped",
        FOREIGN,
        "Market data answers, but has no quote of the NIFTY 50 index.",
    ]


def test_nothing_can_be_read(rig: Rig) -> None:
    for route in (BALANCE, BOOK, TRADES, POSITIONS, QUOTES):
        rig.venue.on(route, DEAD)
    faults = rig.broker.self_check(deadline=rig.deadline())
    assert len(faults) == 5
    assert all("session" in fault for fault in faults)


def test_a_session_can_be_taken_away(rig: Rig) -> None:
    assert rig.broker.session is not None
    rig.broker.attach(None)
    assert rig.broker.session is None
    with pytest.raises(errors.SessionExpired):
        rig.broker.funds(deadline=rig.deadline())
