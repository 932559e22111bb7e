"""Clock and prices: reproducible, inside the bands, chains consistent (§5.6, §15.4)."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from simulator.clock import IST, Clock, bar_time, tick_time
from simulator.market.catalog import Catalog, build
from simulator.market.instruments import Instrument
from simulator.market.prices import PriceBook
from simulator.market.pricing import noise, option_value, round_tick

TODAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 11, 0, tzinfo=IST).timestamp()


class Hands:
    """A wall clock and a monotonic clock that move when told."""

    def __init__(self, wall: float) -> None:
        self.wall = wall
        self.mono = 5.0

    def clock(self, always_open: bool = True) -> Clock:
        return Clock(lambda: self.wall, lambda: self.mono, always_open)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return build("small", 1, TODAY, None)


@pytest.fixture
def book(catalog: Catalog) -> PriceBook:
    return PriceBook(catalog, Hands(MORNING).clock(), 1)


def instruments(catalog: Catalog) -> list[Instrument]:
    found = []
    for name, segment in catalog.segments.items():
        for row in segment.rows():
            instrument = catalog.find(name, int(row.split("|")[1]))
            assert instrument is not None
            found.append(instrument)
    return found


def test_the_worked_example_of_the_reference() -> None:
    quarter_past_ten = datetime(2026, 8, 3, 10, 15, tzinfo=IST).timestamp()
    assert tick_time(quarter_past_ten) == 1_470_219_300
    assert bar_time(quarter_past_ten - 1) == 1_785_752_099


def test_clock_moves() -> None:
    hands = Hands(MORNING)
    clock = hands.clock()
    clock.advance(60)
    assert (clock.wall(), clock.mono()) == (MORNING + 60, 65.0)
    clock.advance(-120)
    assert (clock.wall(), clock.mono()) == (MORNING - 60, 65.0)
    clock.set(datetime(2027, 1, 4, 9, 0, tzinfo=IST))
    hands.wall += 1
    assert clock.ist().isoformat() == "2027-01-04T09:00:01+05:30"
    assert clock.utc().isoformat() == "2027-01-04T03:30:01+00:00"
    clock.reset()
    assert clock.wall() == MORNING + 1
    assert clock.mono_ns() == 5_000_000_000


@pytest.mark.parametrize(
    ("segment", "text", "is_open"),
    [
        ("NSECM", "2026-11-20T09:14:59", False),
        ("NSECM", "2026-11-20T09:15:00", True),
        ("NSEFO", "2026-11-20T15:30:00", False),
        ("MCXFO", "2026-11-20T23:00:00", True),
        ("NSECD", "2026-11-20T16:59:00", True),
        ("NSECM", "2026-11-21T11:00:00", False),
        ("NCDEX", "2026-11-20T11:00:00", False),
    ],
)
def test_sessions(segment: str, text: str, is_open: bool) -> None:
    clock = Hands(datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()).clock(False)
    assert clock.is_open(segment) is is_open
    clock.always_open = True
    assert clock.is_open(segment) is True


def test_the_walk_is_bounded_and_repeatable() -> None:
    values = [noise(7, MORNING + i * 977) for i in range(2_000)]
    assert values == [noise(7, MORNING + i * 977) for i in range(2_000)]
    assert max(map(abs, values)) < 0.041
    assert len(set(values)) > 1_900


def test_options_are_worth_at_least_what_they_pay() -> None:
    for strike in range(80, 121):
        call = option_value(100, strike, 0.1, True)
        put = option_value(100, strike, 0.1, False)
        assert call >= max(100 - strike, 0)
        assert call - put == pytest.approx(100 - strike, abs=0.1)
    assert option_value(100, 500, 0.001, True) == 0.05
    assert round_tick(10.0749, 0.05) == 10.05


def test_every_price_is_on_its_tick_and_in_its_band(catalog: Catalog, book: PriceBook) -> None:
    for instrument in instruments(catalog):
        if "NSETEST" in instrument.name:
            continue
        price = book.last(instrument)
        assert instrument.low <= price <= instrument.high, instrument.display
        assert round(price / instrument.tick, 6) % 1 == 0, instrument.display


def test_a_chain_is_consistent(catalog: Catalog, book: PriceBook) -> None:
    chain = [i for i in instruments(catalog) if i.name == "NIFTY" and i.kind == 2]
    first = min(i.expiry for i in chain if i.expiry)
    calls = sorted(
        (i.strike, book.last(i)) for i in chain if i.expiry == first and i.option_type == 3
    )
    prices = [price for _, price in calls]
    assert prices == sorted(prices, reverse=True)
    spot = catalog.find("NSECM", 26_000)
    assert spot is not None
    assert calls[0][0] < book.last(spot) < calls[-1][0]


def test_overrides(catalog: Catalog, book: PriceBook) -> None:
    reliance = catalog.find("NSECM", 2885)
    assert reliance is not None
    usual = book.last(reliance)
    book.set(reliance, 1300.0, True)
    assert (book.last(reliance), book.is_frozen(reliance)) == (1300.0, True)
    assert book.bid_ask(reliance) == (1299.9, 1300.1)
    book.set(reliance, 1300.0, False)
    assert book.last(reliance) == 1300.0
    assert book.last(reliance, MORNING + 3_600) != 1300.0
    assert book.is_frozen(reliance) is False
    book.release(reliance)
    assert book.last(reliance) == usual
    book.set(reliance, 1.0, True)
    book.reset()
    assert book.last(reliance) == usual


def test_the_day(catalog: Catalog, book: PriceBook) -> None:
    reliance = catalog.find("NSECM", 2885)
    assert reliance is not None
    day = book.day(reliance)
    assert day.low <= day.open <= day.high
    assert day.volume > 0
    assert book.day(reliance) is day
    night = PriceBook(catalog, Hands(MORNING - 9 * 3_600).clock(), 1)
    assert night.day(reliance).close > 0


def test_depth_never_goes_below_zero(catalog: Catalog, book: PriceBook) -> None:
    cheap = min((i for i in instruments(catalog) if i.kind == 2), key=lambda i: book.last(i))
    book.set(cheap, cheap.tick, True)
    bids, asks = book.depth(cheap, book.last(cheap))
    assert bids[1] == (0.0, 0, 0)
    assert asks[0][0] > cheap.tick


def test_a_derivative_without_a_known_underlying_has_a_price(
    catalog: Catalog, book: PriceBook
) -> None:
    tests = [i for i in instruments(catalog) if "NSETEST" in i.name and i.segment == "NSEFO"]
    assert {i.kind for i in tests} == {1, 2}
    assert all(book.last(i) > 0 for i in tests)
