"""The same answers in every spelling that servers use: the models must come out the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from broker import errors
from broker.jainam_prop.declaration import PROFILE, JainamProp
from broker.models import (
    BadRow,
    Exchange,
    Instrument,
    InstrumentKind,
    InstrumentRef,
    OrderRequest,
    OrderType,
    Product,
    Side,
)
from simulator.testing import ThreadSimulator
from tests.support.xts_accounts import RELIANCE, VENUES, Account

Connect = Callable[..., Account]
NIFTY = InstrumentRef(Exchange.NSE_INDEX, "26000")


@pytest.mark.parametrize(
    "quirks",
    [
        {"date_format": "iso"},
        {"date_format": "iso7"},
        {"date_format": "iso-zone"},
        {"date_format": "mdy"},
        {"loose_numbers": True},
        {"order_ids_as_text": True},
        {"order_type_upper": True},
        {"positions_bare": True},
        {"place_omits_identifier": True},
        {"cancel_as_list": True},
        {"product_type_shape": "list"},
        {"holdings_shape": "list"},
        {"shuffle_books": True},
        {"cancelled_keeps_leaves": True},
        {"new_columns": False},
        {"empty_dealer_orders": "success"},
        {"empty_dealer_positions": "error"},
    ],
    ids=str,
)
def test_a_quirk_changes_nothing(
    connect: Connect, sim: ThreadSimulator, quirks: dict[str, Any]
) -> None:
    sim.control("config", {"profile": "jainam-b", "quirks": quirks})
    account = connect("b")
    deadline = account.deadline()
    assert account.broker.orders(deadline=deadline) == []
    assert account.broker.positions(deadline=deadline) == []
    assert account.broker.trades(deadline=deadline) == []
    account.place(OrderRequest(RELIANCE, Side.BUY, OrderType.MARKET, Product.CNC, 3), "QUIRK-1")
    filled = account.settled("QUIRK-1", "Filled")
    assert filled.average_price > 1000
    assert filled.placed_at is not None
    assert abs(filled.placed_at - account.clock.now()) < timedelta(minutes=1)
    order_id = account.place(account.limit(), "QUIRK-2")
    account.settled("QUIRK-2", "New")
    assert account.cancel(order_id) == order_id
    assert account.settled("QUIRK-2", "Cancelled").pending_quantity == 0
    (position,) = account.broker.positions(deadline=account.deadline())
    assert (position.quantity, position.product) == (3, Product.CNC)
    assert len(account.broker.holdings(deadline=account.deadline())) == 3
    assert account.observer.anomalies == []


def test_p_and_l_of_a_venue_that_computes_it(connect: Connect, sim: ThreadSimulator) -> None:
    sim.control("config", {"profile": "jainam-b", "quirks": {"mtm": "computed"}})
    account = connect("b")
    sim.control("price", {"segment": "NSECM", "token": 2885, "ltp": 1250})
    buy = OrderRequest(RELIANCE, Side.BUY, OrderType.MARKET, Product.CNC, 3)
    account.place(buy, "PNL-1")
    account.settled("PNL-1", "Filled")
    sim.control("price", {"segment": "NSECM", "token": 2885, "ltp": 1260})
    (position,) = account.broker.positions(deadline=account.deadline())
    assert position.unrealised is not None
    assert position.unrealised > 20


def test_a_state_never_seen_stays_open_and_loud(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    order_id = account.place(account.limit(), "ODD-1")
    account.settled("ODD-1", "New")
    sim.control(f"orders/{order_id}/status", {"status": "HeldByMoon"})
    (order,) = account.broker.orders(deadline=account.deadline())
    assert order.state.is_open
    assert account.observer.told == ["unknown_order_state"]


@pytest.mark.parametrize("form", ["cluster", "interactive", "relative", "bare", "padded"])
def test_every_form_of_the_connection_string(
    connect: Connect, sim: ThreadSimulator, form: str
) -> None:
    sim.control("hostlookup", {"form": form, "cluster": 5 if form != "interactive" else 1})
    account = connect("b", login=False)
    sim.control("config", {"profile": "jainam-b", "quirks": {"require_unique_key": True}})
    account.connect()
    assert account.broker.orders(deadline=account.deadline()) == []
    assert account.observer.anomalies == []


@pytest.mark.parametrize("settings", [{"fail": True}, {"root": "https://evil.example"}])
def test_a_lookup_that_can_t_be_trusted_falls_back(
    connect: Connect, sim: ThreadSimulator, settings: dict[str, Any]
) -> None:
    sim.control("hostlookup", settings)
    account = connect("b")
    assert account.broker.orders(deadline=account.deadline()) == []
    assert account.observer.told == ["host_lookup"]


class JainamAtTheJsonService(JainamProp):
    """Jainam Prop with the market-data prefix that it does not serve (Q1)."""

    profile = replace(PROFILE, market_prefix="/apimarketdata")


@pytest.mark.parametrize("ctcl", [False, True])
def test_a_key_at_the_wrong_service_leaves_trading_on(
    connect: Connect, sim: ThreadSimulator, ctcl: bool
) -> None:
    sim.control("config", {"profile": "jainam-b", "quirks": {"ctcl_answer": ctcl}})
    account = connect("b", login=False)
    broker = JainamAtTheJsonService(account.broker.account, account.runtime)
    broker.attach(broker.login())
    assert account.observer.told == ["market_data_login"]
    assert broker.orders(deadline=account.deadline()) == []
    (fault,) = broker.self_check(deadline=account.deadline())
    assert ("CTCL" if ctcl else "HTML") in fault
    broker.close()


def test_a_wrong_secret(connect: Connect) -> None:
    account = connect("b", login=False)
    wrong = dict(account.broker.account.credentials)
    wrong["interactive_api_secret"] = wrong["interactive_api_key"]
    other = connect("b", login=False, credentials=wrong)
    with pytest.raises(errors.LoginFailed, match="Authentication failed: Invalid credentials"):
        other.connect()


# Master contract -------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", sorted(VENUES))
def test_every_row_of_the_master_is_read(
    connect: Connect, sim: ThreadSimulator, venue: str
) -> None:
    account = connect(venue)
    rows = list(account.broker.instruments())
    assert not [row for row in rows if isinstance(row, BadRow)]
    kinds = {row.kind for row in rows if isinstance(row, Instrument)}
    assert kinds >= {
        InstrumentKind.EQUITY,
        InstrumentKind.FUTURE,
        InstrumentKind.OPTION,
        InstrumentKind.SPREAD,
        InstrumentKind.INDEX,
        InstrumentKind.DEBT,
    }
    refs = [row.ref for row in rows if isinstance(row, Instrument)]
    assert len(refs) == len(set(refs))
    assert not [row for row in rows if "NSETEST" in getattr(row, "root", "")]
    segments = sim.control("health")["master"]
    served = sum(1 for ref in refs if ref.exchange is Exchange.BFO)
    assert served == segments["BSEFO"]


def test_malformed_rows_are_counted_and_stop_nobody(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    good = sum(1 for row in account.broker.instruments() if isinstance(row, Instrument))
    sim.control("master", {"malformed": 12})
    rows = list(account.broker.instruments())
    commodity_spot = 6  # §9.4: a row of 18 columns that the simulator counts among the odd ones
    assert sum(1 for row in rows if isinstance(row, Instrument)) == good + commodity_spot
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert bad
    assert all(row.reason and row.line > 0 for row in bad)


@pytest.mark.parametrize("fault", ["half_body", "error_502_html", "html_200", "accept_then_close"])
def test_a_download_that_breaks_off_raises(
    connect: Connect, sim: ThreadSimulator, fault: str
) -> None:
    account = connect("b")
    sim.faults({"route": "POST /instruments/master", "fault": fault})
    with pytest.raises(errors.OutcomeUnknown):
        list(account.broker.instruments([Exchange.NFO]))


def test_an_empty_segment_is_empty(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    sim.control("master", {"drop_exchange": ["MCXFO"]})
    assert list(account.broker.instruments([Exchange.MCX])) == []


# Market data -----------------------------------------------------------------------------------


def test_quotes_of_every_kind(connect: Connect) -> None:
    account = connect("b")
    rows = [row for row in account.broker.instruments() if isinstance(row, Instrument)]
    by_kind = {(row.kind, row.exchange): row.ref for row in rows}
    wanted = [ref for (kind, _), ref in by_kind.items() if kind is not InstrumentKind.SPREAD]
    found = account.broker.quotes(wanted, deadline=account.deadline())
    assert set(found) == set(wanted)
    for ref, quote in found.items():
        assert quote.instrument == ref
        assert quote.last_price > 0
        assert (quote.oi is not None) is ref.exchange.is_derivative
    assert account.observer.anomalies == []


def test_quotes_on_the_other_time_base(connect: Connect, sim: ThreadSimulator) -> None:
    account = connect("b")
    for switched in (False, True):
        quirks = {"tick_base_1970": switched}
        sim.control("config", {"profile": "jainam-b", "quirks": quirks})
        quote = account.broker.quotes([RELIANCE], deadline=account.deadline())[RELIANCE]
        assert quote.traded_at is not None
        assert abs(quote.traded_at - account.clock.now()) < timedelta(hours=12)


def test_an_index_has_a_quote_and_no_depth_of_orders(connect: Connect) -> None:
    account = connect("b")
    quote = account.broker.quotes([NIFTY], deadline=account.deadline())[NIFTY]
    assert (quote.bid, quote.ask, quote.volume) == (0, 0, 0)
    depth = account.broker.depth(RELIANCE, deadline=account.deadline())
    assert depth.bids[0].price < depth.asks[0].price


@pytest.mark.parametrize("interval", ["1m", "3m", "5m", "10m", "15m", "30m", "1h", "D"])
def test_history_over_chunk_borders_has_no_gap_and_no_overlap(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, interval: str
) -> None:
    account = connect("b")
    end = account.clock.now().date() - timedelta(days=1)
    start = end - timedelta(days=9)
    market = account.broker._market
    whole = _history(account, interval, start, end)
    monkeypatch.setitem(market._days, interval, 3)
    pieces = _history(account, interval, start, end)
    assert pieces == whole
    opened = [candle.opened_at for candle in whole]
    assert opened == sorted(set(opened))
    assert {at.date() for at in opened} <= {start + timedelta(days=n) for n in range(10)}
    if interval != "D":
        assert {
            (at.hour, at.minute)
            for at in opened
            if at == min(other for other in opened if other.date() == at.date())
        } == {(9, 15)}


def _history(account: Account, interval: str, start: date, end: date) -> list[Any]:
    return account.broker.history(RELIANCE, interval, start, end, deadline=account.deadline())


def test_no_history_is_an_answer_and_a_dead_session_is_not(
    connect: Connect, sim: ThreadSimulator
) -> None:
    account = connect("b")
    sunday = date(2026, 11, 15)
    assert _history(account, "1m", sunday, sunday) == []
    sim.control("sessions/kill", {"profile": "jainam-b"})
    with pytest.raises(errors.SessionExpired):
        _history(account, "1m", sunday, sunday)
