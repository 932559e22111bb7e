"""The risk rules: what each refuses, in which words, and what it reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from broker.base import Deadline
from broker.errors import Fate
from broker.models import OrderState, OrderType, Position, Product, Side
from database.journal import IntentState
from services.errors import RiskLimit, RiskUnreadable, Unavailable
from services.order_models import OrderDraft, Provenance
from services.risk_limits import NAMES, RiskLimits
from services.risk_rules import RULES
from services.risk_watch import DRAWDOWN_REACHED, LOSS_REACHED
from tests.support.clocks import ManualClock
from tests.support.risk import LIMIT, PRICE_100, limit, place, resting
from tests.support.trading import Trader, TradingBroker, draft, ref_of, request

KEY = (ref_of("INFY"), Product.MIS)


# Each rule -------------------------------------------------------------------------------------


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
