"""The risk rules: what each refuses, in which words, what it reads, and what always passes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from broker.base import Deadline, Priority
from broker.errors import Fate, OutcomeUnknown
from broker.models import (
    Exchange,
    Holding,
    Order,
    OrderState,
    OrderType,
    Position,
    Product,
    Side,
)
from broker.redis_link import RedisAway
from database import audit
from database.engine import Database
from database.journal import IntentState
from services.errors import (
    BrokerDisabled,
    InvalidRequest,
    RiskLimit,
    RiskUnreadable,
    SharedAway,
    Unavailable,
)
from services.flags import KILL_SWITCH
from services.order_models import ChildStatus, ModifyDraft, OrderDraft, Placed, Provenance
from services.risk_limits import NAMES, RiskLimits
from services.risk_rules import RULES
from services.risk_watch import DRAWDOWN_REACHED, LOSS_REACHED
from tests.support.clocks import ManualClock
from tests.support.trading import Trader, TradingBroker, TradingVenue, draft, ref_of, request
from tests.support.venue import VENUES
from tests.support.waiting import wait_until
from utils.clock import IST, SystemClock

KEY = (ref_of("INFY"), Product.MIS)
LIMIT = OrderType.LIMIT


@pytest.fixture
def trader(main_database: Database, tmp_path: Path, clock: ManualClock) -> Trader:
    VENUES.clear()
    return Trader(main_database, tmp_path, clock)


def limit(trader: Trader, **texts: str) -> None:
    trader.limits.change(trader.account, texts, "asha")


def place(trader: Trader, order: OrderDraft | None = None, **values: Any) -> Placed:
    return trader.desk.orders.place(
        trader.principal, trader.account, order or draft(), **values
    )


def modify(trader: Trader, order_id: str, order: OrderDraft) -> Placed:
    return trader.desk.orders.modify(
        trader.principal, trader.account, order_id,
        ModifyDraft(
            order.symbol, order.exchange, order.side, order.order_type, order.product,
            order.quantity, order.price, order.trigger_price,
        ),
    )


def resting(trader: Trader, side: Side, quantity: int, price: str = "100") -> Order:
    """An order of somebody else's terminal that rests in the market."""
    return trader.venue.add(request(side, quantity, order_type=LIMIT, price=price), "")


# Each rule -------------------------------------------------------------------------------------

PRICE_100: dict[str, Any] = {"order_type": LIMIT, "price": "100"}


@pytest.mark.parametrize(
    ("name", "text", "passes", "refused", "words"),
    [
        ("max_order_quantity", "10", draft(quantity=10), draft(quantity=11),
         "its quantity is 11, and the most is 10"),
        ("max_order_value", "1000", draft(quantity=10, **PRICE_100), draft(quantity=10),
         "it is worth ₹1,100.00 at ₹110.00, and the most is ₹1,000.00"),
        ("max_order_value", "999", draft(quantity=9, **PRICE_100), draft(
            quantity=10, order_type=OrderType.STOP_MARKET, trigger_price="100"),
         "it is worth ₹1,000.00 at ₹100.00, and the most is ₹999.00"),
        ("max_position_quantity", "15", draft(quantity=15), draft(quantity=16),
         "the long position in 'INFY' may come to 16 with what is working, and the most is 15"),
        ("max_position_quantity", "15", draft(Side.SELL, 15), draft(Side.SELL, 16),
         "the short position in 'INFY' may come to 16"),
        ("max_position_percent", "50", draft(quantity=4), draft(quantity=5),
         "may come to 5, worth ₹550.00, which is 55.00 % of the capital of ₹1,000.00, and"),
        ("per_trade_percent", "2", draft(
            quantity=10, order_type=OrderType.STOP_LIMIT, price="100", trigger_price="98"),
         draft(quantity=11, order_type=OrderType.STOP_LIMIT, price="100", trigger_price="98"),
         "it may lose ₹22.00 from ₹100.00 to its stop at ₹98.00, which is 2.20 % of the capital"),
        ("per_trade_percent", "60", draft(quantity=5), draft(quantity=6),
         "it may lose ₹660.00 with no stop, which is 66.00 %"),
        ("price_band_percent", "5", draft(order_type=LIMIT, price="115.5"), draft(
            order_type=LIMIT, price="116"),
         "its price ₹116.00 is 5.45 % away from the last price ₹110.00, and the most is 5 %"),
        ("price_band_percent", "5", draft(), draft(
            Side.SELL, order_type=OrderType.STOP_MARKET, trigger_price="100"),
         "its trigger ₹100.00 is 9.09 % away from the last price"),
        ("allowed_exchanges", "NSE,BSE", draft(), draft(
            symbol="NIFTY26NOVFUT", exchange="NFO", quantity=65),
         "it is for NFO, and allowed are NSE, BSE"),
        ("allowed_products", "MIS", draft(), draft(product=Product.CNC),
         "its product is CNC, and allowed are MIS"),
    ],
)
def test_a_rule_lets_pass_what_it_allows_and_names_itself_in_a_refusal(
    trader: Trader, name: str, text: str, passes: OrderDraft, refused: OrderDraft, words: str
) -> None:
    limit(trader, **{name: text})
    with pytest.raises(RiskLimit) as told:
        place(trader, refused)
    assert trader.venue.placed == []
    assert told.value.message.startswith(
        f"RISK_{name.upper()} of 'jainam_prop' refuses this order: "
    )
    assert words in told.value.message
    assert told.value.message.endswith("Nothing was sent.")
    assert (told.value.fate, told.value.code) == (Fate.NOT_SENT, f"risk_{name}")
    journalled = trader.intent(told.value.reference)
    assert (journalled.state, journalled.message) == (IntentState.NOT_SENT, told.value.message)
    assert place(trader, passes).order_id


def test_the_key_of_a_refused_order_can_be_used_again(trader: Trader) -> None:
    limit(trader, max_order_quantity="5")

    def once() -> Any:
        return trader.desk.idempotency.run(
            trader.principal, trader.account, "mine", "the same",
            lambda reference: (200, {"id": place(
                trader, provenance=Provenance(reference=reference)).order_id}),
            lambda error: (400, {}),
        )

    with pytest.raises(RiskLimit):
        once()
    limit(trader, max_order_quantity="off")
    first, again = once(), once()
    assert (first.replayed, again.replayed, first.body) == (False, True, again.body)
    assert len(trader.venue.placed) == 1


def test_every_limit_has_a_rule_but_the_time_that_only_warns() -> None:
    assert {rule.name for rule in RULES} == set(NAMES) - {"square_off_time"}


def test_lots_are_counted_by_their_size(trader: Trader) -> None:
    """A venue that counts lots: 2 lots of 100 barrels are 200 barrels."""
    limit(trader, max_order_value="20000")
    with pytest.raises(RiskLimit, match=r"it is worth ₹22,000\.00 at ₹110\.00"):
        place(trader, draft(quantity=2, symbol="CRUDEOIL26NOVFUT", exchange="MCX",
                            product=Product.NRML))


def test_open_orders_of_whomever_count(trader: Trader) -> None:
    limit(trader, max_open_orders="2")
    resting(trader, Side.BUY, 1)
    place(trader, draft(**PRICE_100))
    with pytest.raises(RiskLimit, match="2 orders are working already, and the most is 2"):
        place(trader)


def test_orders_of_the_day_count_whoever_made_them_and_whatever_became_of_them(
    trader: Trader,
) -> None:
    limit(trader, max_orders_per_day="2")
    row = resting(trader, Side.BUY, 1)
    trader.venue.change(row.order_id, state=OrderState.REJECTED)
    place(trader)
    with pytest.raises(RiskLimit, match="the account had 2 orders today, and the most is 2"):
        place(trader)


def test_what_rests_and_what_others_hold_counts_for_the_position(
    trader: Trader, clock: ManualClock
) -> None:
    limit(trader, max_position_quantity="100")
    trader.venue.opening[KEY] = 60
    trader.venue.opening[ref_of("INFY"), Product.CNC] = -50  # another product sets nothing off
    resting(trader, Side.BUY, 30)
    with pytest.raises(RiskLimit, match="may come to 101"):
        place(trader, draft(quantity=11))
    place(trader, draft(quantity=10))
    clock.advance(1.1)
    with pytest.raises(RiskLimit, match="the short position in 'INFY' may come to 101"):
        place(trader, draft(Side.SELL, 121))


def test_a_fill_that_the_position_book_lacks_counts(trader: Trader) -> None:
    limit(trader, max_position_quantity="100")
    for product in (Product.MIS, Product.CNC):
        row = trader.venue.add(request(Side.BUY, 45, product=product), "")
        trader.venue.lagging[row.order_id] = 10
    with pytest.raises(RiskLimit, match="may come to 101"):
        place(trader, draft(quantity=11))
    assert place(trader, draft(quantity=10)).order_id


def test_entries_of_one_second_share_a_read_of_the_positions(
    trader: Trader, clock: ManualClock
) -> None:
    """XTS lets it be read once a second; the fills since then come from the order book."""
    limit(trader, max_position_quantity="25")
    for _ in range(2):
        place(trader)
    assert trader.venue.calls("positions") == 1
    with pytest.raises(RiskLimit, match="may come to 30"):
        place(trader)
    clock.advance(1.1)
    place(trader, draft(quantity=5))
    assert trader.venue.net()[KEY] == 25


def test_a_working_stop_bounds_the_risk_of_a_trade(trader: Trader) -> None:
    limit(trader, per_trade_percent="2")
    with pytest.raises(RiskLimit, match="with no stop"):
        place(trader, draft(quantity=10, **PRICE_100))
    stop = draft(Side.SELL, 10, order_type=OrderType.STOP_LIMIT, price="98", trigger_price="98")
    place(trader, stop)
    assert place(trader, draft(quantity=10, **PRICE_100)).order_id
    with pytest.raises(RiskLimit, match="with no stop"):
        place(trader, draft(quantity=11, **PRICE_100))


# Result of the day -----------------------------------------------------------------------------


def results(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> Callable[[str], None]:
    """Sets what the venue says of the day's profit, and lets a second go by."""
    told = [Decimal(0)]

    def positions(
        self: TradingBroker, *, deadline: Deadline, day: bool = False
    ) -> list[Position]:
        self._read("positions")
        flat = Position(
            ref_of("TCS"), "TCS", Product.MIS, 0, 5, 5, Decimal(1), Decimal(1), Decimal(1),
            told[0], Decimal(0), "*****",
        )
        return [flat]

    monkeypatch.setattr(TradingBroker, "positions", positions)

    def say(text: str) -> None:
        told[0] = Decimal(text)
        clock.advance(1.1)

    return say


def test_a_loss_of_the_day_stops_entries(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    say = results(trader, monkeypatch, clock)
    limit(trader, max_daily_loss="500")
    say("-499.99")
    place(trader)
    say("-500")
    with pytest.raises(RiskLimit, match=r"the day's loss is ₹500\.00, and entries stop at ₹500"):
        place(trader)


def test_a_drawdown_is_counted_from_the_best_result_of_the_day(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    say = results(trader, monkeypatch, clock)
    limit(trader, max_drawdown_percent="10")
    trader.stack.sessions.connection(trader.account)
    say("300")
    assert trader.desk.risk_watch.look() == {"jainam_prop": Decimal(300)}
    say("201")
    place(trader)
    say("200")
    with pytest.raises(RiskLimit, match=(
        r"fell by ₹100\.00 from ₹300\.00 to ₹200\.00, which is 10\.00 % of the capital"
    )):
        place(trader)
    trader.desk.risk_watch.look()
    assert trader.alarms() == [DRAWDOWN_REACHED]
    clock.advance(86_400)
    assert place(trader).order_id  # another day begins at 0
    trader.desk.risk_watch.look()
    assert trader.alarms() == []
    assert trader.desk.risk_watch.prune(timedelta(0)) == 1


def test_a_loss_that_is_reached_is_an_alarm(
    trader: Trader, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    say = results(trader, monkeypatch, clock)
    say("-600")
    trader.stack.sessions.connection(trader.account)
    assert trader.desk.risk_watch.look() == {}  # no rule, no read
    assert trader.venue.calls("positions") == 0
    limit(trader, max_daily_loss="500")
    trader.desk.risk_watch.look()
    assert trader.alarms() == [LOSS_REACHED]
    clock.advance(1.1)
    trader.venue.script("positions", "fail")
    assert trader.desk.risk_watch.look() == {}
    limit(trader, max_daily_loss="700")
    trader.desk.risk_watch.look()
    assert trader.alarms() == []


def test_an_open_position_without_a_price_makes_the_result_unreadable(trader: Trader) -> None:
    trader.venue.opening[KEY] = 10
    limit(trader, max_daily_loss="500")
    trader.venue.script("quotes", "fail")
    with pytest.raises(RiskUnreadable, match=r"RISK_MAX_DAILY_LOSS .* could not be read"):
        place(trader)
    assert place(trader).order_id  # 10 held at 100, worth 110: no loss


# What cannot be read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "books"),
    [
        ("max_order_value", "1000", ["quotes"]),
        ("price_band_percent", "5", ["quotes"]),
        ("max_position_quantity", "15", ["orders", "positions"]),
        ("max_position_percent", "50", ["orders", "positions", "quotes", "funds"]),
        ("per_trade_percent", "60", ["quotes", "funds"]),
        ("max_open_orders", "5", ["orders"]),
        ("max_orders_per_day", "5", ["orders"]),
        ("max_daily_loss", "500", ["positions"]),
        ("max_drawdown_percent", "5", ["positions", "funds"]),
    ],
)
def test_what_a_rule_cannot_read_is_a_refusal(
    trader: Trader, name: str, text: str, books: list[str]
) -> None:
    limit(trader, **{name: text})
    order = draft(quantity=1, order_type=LIMIT, price="110") if "band" in name else draft(
        quantity=1)
    for book in books:
        trader.venue.script(book, "fail")
        with pytest.raises(RiskUnreadable) as told:
            place(trader, order)
        assert f"RISK_{name.upper()} of 'jainam_prop' refuses this order" in told.value.message
        assert told.value.http_status == 503
        assert trader.venue.placed == []
        trader.venue.scripts.clear()
    assert place(trader, order).order_id


def test_limits_that_cannot_be_read_refuse(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(trader, max_order_quantity="10")
    trader.stack.sessions.connection(trader.account)

    def fail(account: object) -> RiskLimits:
        from database.errors import DatabaseUnavailable

        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(trader.limits, "of", fail)
    with pytest.raises(Unavailable, match="nothing was sent"):
        place(trader)
    assert trader.venue.placed == []


# The way out -----------------------------------------------------------------------------------

HARD = {
    "max_order_quantity": "1", "max_open_orders": "1", "max_orders_per_day": "1",
    "max_position_quantity": "1", "allowed_exchanges": "BSE", "max_order_value": "1",
}


@pytest.mark.parametrize("how", ["rules", "kill", "broker"])
def test_an_order_that_only_reduces_passes_whatever_stands_against_entries(
    trader: Trader, how: str
) -> None:
    trader.stack.sessions.connection(trader.account)
    trader.venue.opening[KEY] = 50
    resting(trader, Side.SELL, 20)
    if how == "rules":
        limit(trader, **HARD)
    elif how == "kill":
        trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    else:
        trader.stack.accounts.set_broker_enabled("jainam_prop", False, "asha")
    for refused in (draft(Side.SELL, 31), draft(Side.BUY, 5), draft(Side.SELL, 5, symbol="TCS")):
        with pytest.raises((RiskLimit, BrokerDisabled)):
            place(trader, refused)
    assert place(trader, draft(Side.SELL, 30)).order_id
    assert trader.venue.reserved[-1][1] is Priority.EXIT
    with pytest.raises((RiskLimit, BrokerDisabled)):
        place(trader, draft(Side.SELL, 1))
    assert trader.venue.net()[KEY] == 20


def test_shares_of_the_demat_account_can_be_sold(trader: Trader) -> None:
    limit(trader, max_order_quantity="1")
    refs = (ref_of("INFY"),)
    trader.venue.holdings_held.append(Holding("INE009A01021", refs, 10, 4, Decimal(1), "*****"))
    with pytest.raises(RiskLimit):
        place(trader, draft(Side.SELL, 7, product=Product.CNC))
    assert place(trader, draft(Side.SELL, 6, product=Product.CNC)).order_id


def test_an_exit_that_cannot_be_told_from_an_entry_is_refused_and_says_so(trader: Trader) -> None:
    limit(trader, max_order_quantity="1")
    trader.venue.opening[KEY] = 50
    trader.venue.script("positions", "fail")
    with pytest.raises(RiskLimit) as told:
        place(trader, draft(Side.SELL, 50))
    assert told.value.message.endswith("Whether it only reduces a position could not be read.")
    trader.venue.scripts.clear()
    assert place(trader, draft(Side.SELL, 50)).order_id


def test_two_exits_at_once_do_not_turn_a_position_round(
    main_database: Database, tmp_path: Path
) -> None:
    VENUES.clear()
    trader = Trader(main_database, tmp_path, SystemClock())
    limit(trader, max_order_quantity="1")
    trader.venue.opening[KEY] = 50
    outcomes = both(
        lambda: place(trader, draft(Side.SELL, 50)), lambda: place(trader, draft(Side.SELL, 50))
    )
    assert sorted(outcomes) == ["RiskLimit", "sent"]
    assert trader.venue.net()[KEY] == 0


def both(*work: Callable[[], object]) -> list[str]:
    """Run these at the same time; "sent", or the name of what was raised."""
    outcomes: list[str] = []
    start = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        start.wait()
        try:
            one()
        except Exception as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("sent")

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def test_cancels_pass_every_rule_and_the_switch(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, **HARD)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    assert trader.desk.orders.cancel(trader.principal, trader.account, row.order_id).order_id


# Composites, concurrency -----------------------------------------------------------------------


def test_children_are_checked_one_by_one_and_count_for_each_other(trader: Trader) -> None:
    limit(trader, max_position_quantity="25")
    rows = trader.desk.baskets.basket(
        trader.principal, trader.account, [draft(quantity=10) for _ in range(4)]
    )
    assert sorted(row.status for row in rows) == [ChildStatus.ERROR] * 2 + [
        ChildStatus.SUCCESS] * 2
    assert {row.code for row in rows if row.status is ChildStatus.ERROR} == {"risk_limit"}
    assert trader.venue.net()[KEY] == 20


def test_a_smart_order_is_an_entry_as_far_as_it_adds(trader: Trader) -> None:
    limit(trader, max_order_quantity="10")
    trader.venue.opening[KEY] = 50
    smart = trader.desk.smart_orders.place
    assert smart(trader.principal, trader.account, draft(quantity=0), 20).placed
    with pytest.raises(RiskLimit, match="its quantity is 40"):
        smart(trader.principal, trader.account, draft(quantity=0), -20)


def test_orders_at_the_same_time_do_not_slip_past_a_limit_together(
    main_database: Database, tmp_path: Path
) -> None:
    """Two processes, eight threads, room for five: the venue sees five."""
    VENUES.clear()
    traders = [Trader(main_database, tmp_path, SystemClock()) for _ in range(2)]
    limit(traders[0], max_position_quantity="50")
    traders[1].clock.sleep(0.6)  # the other process sees the change
    order = draft(quantity=10, **PRICE_100)
    outcomes = both(*[lambda t=t: place(t, order) for t in traders * 4])  # type: ignore[misc]
    assert sorted(outcomes) == ["RiskLimit"] * 3 + ["sent"] * 5
    assert sum(row.quantity for row in traders[0].venue.book) == 50


def test_an_order_of_unknown_outcome_counts(trader: Trader) -> None:
    limit(trader, max_position_quantity="15")
    trader.venue.script("place", "lost")
    with pytest.raises(OutcomeUnknown):
        place(trader)
    with pytest.raises(RiskLimit, match="may come to 20"):
        place(trader)


# Modifications ---------------------------------------------------------------------------------


def test_a_modification_that_asks_for_more_is_an_entry(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, max_position_quantity="12", max_order_quantity="15")
    with pytest.raises(RiskLimit, match="may come to 13") as told:
        modify(trader, row.order_id, draft(quantity=13, **PRICE_100))
    assert trader.intent(told.value.reference).state is IntentState.NOT_SENT
    assert modify(trader, row.order_id, draft(quantity=12, **PRICE_100)).order_id
    assert modify(trader, row.order_id, draft(quantity=5, **PRICE_100)).order_id
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    with pytest.raises(BrokerDisabled):
        modify(trader, row.order_id, draft(quantity=6, **PRICE_100))
    assert modify(trader, row.order_id, draft(quantity=4, **PRICE_100)).order_id
    assert modify(trader, row.order_id, draft(quantity=4, order_type=LIMIT, price="90")).order_id


def test_a_modification_in_flight_counts(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10)
    limit(trader, max_position_quantity="30")
    trader.venue.effective = False  # accepted, and the book does not show it yet
    modify(trader, row.order_id, draft(quantity=25, **PRICE_100))
    with pytest.raises(RiskLimit, match="may come to 35"):
        place(trader)


def test_a_new_price_is_held_against_the_band_in_both_directions(trader: Trader) -> None:
    row = resting(trader, Side.BUY, 10, "110")
    limit(trader, price_band_percent="5", max_order_quantity="1")

    def at(price: str) -> Placed:
        return modify(trader, row.order_id, draft(quantity=10, order_type=LIMIT, price=price))

    with pytest.raises(RiskLimit, match="RISK_PRICE_BAND_PERCENT"):
        at("104")
    assert at("105").order_id  # further away from the market, and within the band
    with pytest.raises(RiskLimit, match="RISK_MAX_ORDER_QUANTITY"):
        at("106")  # nearer to the market: an entry like a new one
    limit(trader, max_order_quantity="10")
    with pytest.raises(RiskLimit, match="RISK_PRICE_BAND_PERCENT"):
        at("116")
    assert at("115").order_id


def test_a_stop_that_follows_the_price_passes(trader: Trader) -> None:
    """A trailing stop of a position: its value grows, and it still only reduces."""
    trader.venue.opening[KEY] = 10
    stop = trader.venue.add(replace(
        request(Side.SELL, 10, order_type=OrderType.STOP_MARKET), trigger_price=Decimal(90)
    ), "")
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    limit(trader, **HARD)
    assert modify(trader, stop.order_id, draft(
        Side.SELL, 10, order_type=OrderType.STOP_MARKET, trigger_price="95"
    )).order_id


# Switches --------------------------------------------------------------------------------------


def test_an_order_that_waits_for_its_turn_is_held_back_by_the_switch(
    main_database: Database, tmp_path: Path
) -> None:
    """It was admitted, then it waited, then the switch was turned: it does not go."""
    VENUES.clear()
    trader = Trader(main_database, tmp_path, SystemClock())
    trader.stack.sessions.connection(trader.account)
    trader.venue.no_slot_at_once = 1
    turned = threading.Event()
    reserve = TradingBroker.reserve

    class Waiting(TradingBroker):
        pass

    def wait_first(self: TradingBroker, operation: Any, *, wait: bool = True, **rest: Any) -> Any:
        if wait:
            turned.wait(10)
        return reserve(self, operation, wait=wait, **rest)

    broker = trader.stack.sessions.connection(trader.account)
    broker.reserve = wait_first.__get__(broker)  # type: ignore[method-assign]
    outcomes: list[str] = []
    work = threading.Thread(target=lambda: outcomes.extend(both(lambda: place(trader))))
    work.start()
    wait_until(lambda: len(trader.intents()) == 1)
    trader.stack.flags.switch(KILL_SWITCH, True, "asha")
    turned.set()
    work.join(20)
    assert outcomes == ["BrokerDisabled"]
    assert trader.venue.placed == []
    assert trader.venue.slots_out == 0
    assert trader.intents()[0].state is IntentState.NOT_SENT


def test_the_switch_stops_one_user_and_leaves_his_way_out_open(trader: Trader) -> None:
    """A flag for one user; what is set for him never takes back what holds for everybody."""
    other = trader.stack.user("ravi")
    flags = trader.stack.flags
    row = resting(trader, Side.BUY, 10)
    trader.venue.opening[KEY] = 5
    flags.set(KILL_SWITCH, "on", "boss", user_id=trader.principal.user_id)
    with pytest.raises(BrokerDisabled, match="stopped your new orders"):
        place(trader)
    assert place(trader, draft(Side.SELL, 5)).order_id
    assert trader.desk.orders.cancel(trader.principal, trader.account, row.order_id).order_id
    assert trader.desk.orders.place(other, trader.account, draft()).order_id
    flags.set(KILL_SWITCH, "off", "boss", user_id=trader.principal.user_id)
    assert place(trader).order_id
    flags.switch(KILL_SWITCH, True, "boss")
    with pytest.raises(BrokerDisabled, match="kill switch is on"):
        place(trader)


def test_past_the_square_off_time_an_intraday_entry_is_warned_about(
    trader: Trader, clock: ManualClock
) -> None:
    limit(trader, square_off_time="12:30")  # the clock stands at noon in India
    assert place(trader).warnings == ()
    clock.advance((datetime(2026, 11, 20, 12, 30, tzinfo=IST) - clock.now()).total_seconds())
    (warning,) = place(trader).warnings
    assert warning.startswith("It is past the square-off time 12:30 IST")
    assert place(trader, draft(product=Product.CNC)).warnings == ()


# Limits ----------------------------------------------------------------------------------------


def test_what_is_stored_for_an_account_stands_in_place_of_the_setting(
    main_database: Database, tmp_path: Path, clock: ManualClock
) -> None:
    VENUES.clear()
    variables = {"RISK_MAX_ORDER_QUANTITY": "5", "RISK_MAX_OPEN_ORDERS": "3"}
    first = Trader(main_database, tmp_path, clock, **variables)
    other = Trader(main_database, tmp_path, clock, **variables)
    assert first.limits.of(first.account).max_order_quantity == 5
    changed = first.limits.change(
        first.account, {"max_order_quantity": "7", "max_open_orders": "off"}, "asha"
    )
    assert changed == {
        "RISK_MAX_ORDER_QUANTITY": "setting → 7", "RISK_MAX_OPEN_ORDERS": "setting → off",
    }
    clock.advance(1.0)
    held = other.limits.of(other.account)
    assert (held.max_order_quantity, held.max_open_orders) == (7, None)
    with main_database.read() as conn:
        (entry,) = audit.list_entries(conn)
    assert (entry.actor, entry.action, entry.subject, entry.detail) == (
        "asha", "risk limits changed", "jainam_prop", changed,
    )
    rows = {row.name: row for row in first.limits.table(first.account).rows}
    quantity = rows["max_order_quantity"]
    assert (quantity.setting, quantity.stored, quantity.effective) == ("5", "7", "7")
    assert rows["max_open_orders"].effective == "off"
    first.limits.change(first.account, {"max_order_quantity": ""}, "asha")
    assert first.limits.of(first.account).max_order_quantity == 5
    assert first.limits.change(first.account, {"max_order_quantity": ""}, "asha") == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("max_order_quantity", "0", "greater than 0"), ("max_order_quantity", "1.5", "integer"),
        ("max_order_value", "nan", "finite"), ("max_drawdown_percent", "101", "less than"),
        ("allowed_exchanges", "NSE,MOON", "does not know MOON"),
        ("allowed_products", "BO", "does not know BO"), ("square_off_time", "25:00", "time of day"),
        ("no_such_limit", "1", "is no risk limit"),
    ],
)
def test_a_limit_that_means_nothing_is_not_stored(
    trader: Trader, name: str, text: str, words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words) as told:
        limit(trader, **{"max_open_orders": "3", name: text})
    assert list(told.value.errors) == [name]
    assert trader.limits.of(trader.account) == RiskLimits()


def test_without_limits_an_order_reads_nothing_more(trader: Trader) -> None:
    place(trader)
    assert [name for name, _ in trader.venue.wire] == ["reserve at once", "place"]
    assert trader.states(trader.intents()[0].reference) == ["received", "sending", "accepted"]


def test_the_venue_of_these_tests_is_the_one_that_lags(trader: Trader) -> None:
    """The double itself: an order that lags is in the order book and not in the positions."""
    venue: TradingVenue = trader.venue
    row = venue.add(request(Side.BUY, 5), "")
    venue.lagging[row.order_id] = 1
    assert venue.traded()[KEY] == (0, 0)
    assert venue.traded()[KEY] == (5, 0)
    assert ref_of("INFY").exchange is Exchange.NSE


def test_while_what_hosts_share_is_away_only_exits_go(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        is_away = True

        def ping(self) -> None:
            raise RedisAway("Redis does not answer")

    entries = trader.desk.orders._placer._entries
    monkeypatch.setattr(entries, "_shared", Away())
    trader.venue.opening[KEY] = 50
    with pytest.raises(SharedAway):
        place(trader)
    assert trader.venue.placed == []
    assert place(trader, draft(Side.SELL, 50)).order_id
