"""Master, quotes, subscriptions, history, symbols and search (XTS reference §8-§10)."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simulator.testing import ThreadSimulator
from tests.simulator.conftest import Connect
from tests.support.xts_client import RELIANCE, XtsClient

IST = timezone(timedelta(hours=5, minutes=30))
SEGMENTS = ("NSECM", "NSEFO", "NSECD", "BSECM", "BSEFO", "MCXFO")
NIFTY_INDEX = 26_000


def master(client: XtsClient, *segments: str) -> list[list[str]]:
    answer = client.market(
        "POST", "/instruments/master", json={"exchangeSegmentList": list(segments)}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "success"
    text: str = answer.json()["result"]
    return [row.split("|") for row in text.split("\n")] if text else []


def asked(*tokens: int, code: int = 1501, segment: int = 1, **extra: Any) -> dict[str, Any]:
    return {
        "instruments": [{"exchangeSegment": segment, "exchangeInstrumentID": t} for t in tokens],
        "xtsMessageCode": code,
        **extra,
    }


def quotes(client: XtsClient, *tokens: int, code: int = 1501, segment: int = 1) -> list[Any]:
    body = asked(*tokens, code=code, segment=segment, publishFormat="JSON")
    answer = client.market("POST", "/instruments/quotes", json=body)
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    assert result["mdp"] == code
    return [json.loads(text) for text in result["listQuotes"]]


# -- master ------------------------------------------------------------------------------------


def test_every_master_row_has_the_width_of_its_type(b: XtsClient) -> None:
    widths = {"1": 21, "4": 21, "2": 23}
    for segment in SEGMENTS:
        rows = master(b, segment)
        assert rows
        for row in rows:
            expected = 22 if segment.endswith("CM") else widths[row[2]]
            assert (row[0], len(row)) == (segment, expected)


def test_several_segments_in_one_call(b: XtsClient) -> None:
    both = master(b, "NSECM", "BSECM")
    assert len(both) == len(master(b, "NSECM")) + len(master(b, "BSECM"))


@pytest.mark.parametrize("body", [{}, {"exchangeSegmentList": []}, {"exchangeSegmentList": ["X"]}])
def test_master_needs_segments(b: XtsClient, body: dict[str, Any]) -> None:
    assert b.market("POST", "/instruments/master", json=body).status_code == 400


def test_master_and_index_list_answer_without_a_token(b: XtsClient) -> None:
    b.market_token = ""
    assert master(b, "NSECM")
    ask = {"exchangeSegment": 1}
    assert b.http.get("/apibinarymarketdata/instruments/indexlist", params=ask).status_code == 200


def test_spoilt_masters(b: XtsClient) -> None:
    good = len(master(b, "NSECM"))
    b.sim.control("master", {"malformed": 7})
    spoilt = master(b, "NSECM")
    assert len(spoilt) == good + 7
    assert sum(len(row) != 22 or not row[1].isdigit() for row in spoilt) == 6
    shown = b.sim.control(
        "master",
        {"malformed": 0, "drop_exchange": ["BSEFO"], "truncate": {"NSEFO": 0.5},
         "replace": {"MCXFO": "one|two\nthree"}},
    )  # fmt: skip
    assert shown["dropped"] == ["BSEFO"]
    assert master(b, "BSEFO") == []
    assert len(master(b, "NSEFO")) == 390
    assert master(b, "MCXFO") == [["one", "two"], ["three"]]
    b.sim.control("master", {"reset": True})
    assert len(master(b, "NSEFO")) == 780
    assert b.http.post("/_sim/master", json={"truncate": {"X": 1}}).status_code == 400


def test_index_list(b: XtsClient) -> None:
    answer = b.market("GET", "/instruments/indexlist", exchangeSegment=1).json()
    assert answer["code"] == "s-instrument-0007"
    assert "NIFTY 50_26000" in answer["result"]["indexList"]
    bse = b.market("GET", "/instruments/indexlist", exchangeSegment=11).json()["result"]
    assert bse["indexList"][0].startswith("SENSEX_")
    assert b.market("GET", "/instruments/indexlist", exchangeSegment=99).status_code == 400


def test_client_config(b: XtsClient) -> None:
    result = b.market("GET", "/config/clientConfig").json()["result"]
    assert result["exchangeSegments"]["MCXFO"] == 51
    assert result["xtsMessageCode"]["openInterestEvent"] == 1510


# -- quotes ------------------------------------------------------------------------------------


def test_flat_touchline(b: XtsClient) -> None:
    (quote,) = quotes(b, RELIANCE)
    assert quote["MessageCode"] == 1501
    assert "LastTradedQunatity" in quote
    assert quote["TotalValueTraded"] is None
    assert quote["BidInfo"]["Price"] < quote["LastTradedPrice"] < quote["AskInfo"]["Price"]
    assert quote["Low"] <= quote["LastTradedPrice"] <= quote["High"]
    now = datetime.now(IST)
    wall = datetime(1980, 1, 1, tzinfo=IST) + timedelta(seconds=quote["LastTradedTime"])
    assert abs((now - wall).total_seconds()) < 2


def test_depth(b: XtsClient) -> None:
    (quote,) = quotes(b, RELIANCE, code=1502)
    assert len(quote["Bids"]) == len(quote["Asks"]) == 5
    prices = [level["Price"] for level in quote["Bids"]]
    assert prices == sorted(prices, reverse=True)
    assert quote["Touchline"]["LastTradedPrice"] < quote["Asks"][0]["Price"]


def test_an_index_has_no_depth(b: XtsClient) -> None:
    depth, last = quotes(b, NIFTY_INDEX, code=1502), quotes(b, NIFTY_INDEX, code=1512)
    assert {level["Price"] for level in depth[0]["Bids"] + depth[0]["Asks"]} == {0}
    assert depth[0]["Touchline"]["AverageTradedPrice"] == depth[0]["Touchline"]["LastTradedPrice"]
    assert 20_000 < last[0]["LastTradedPrice"] < 30_000


def test_other_codes(b: XtsClient) -> None:
    row = next(r for r in master(b, "NSEFO") if r[2] == "1" and r[3] == "NIFTY")
    (interest,) = quotes(b, int(row[1]), code=1510, segment=2)
    assert interest["OpenInterest"] > 0
    assert interest["OpenInterest"] % 65 == 0
    (candle,) = quotes(b, RELIANCE, code=1505)
    assert candle["BarTime"] % 60 == 59
    (index,) = quotes(b, NIFTY_INDEX, code=1504)
    assert index["IndexName"] == "NIFTY 50"


def test_unknown_instruments_are_missing_from_the_answer(b: XtsClient) -> None:
    found = quotes(b, 999_999, RELIANCE)
    assert [quote["ExchangeInstrumentID"] for quote in found] == [RELIANCE]


@pytest.mark.parametrize(
    "body",
    [
        asked(RELIANCE),
        asked(RELIANCE, publishFormat="XML"),
        asked(RELIANCE, code=9999, publishFormat="JSON"),
        asked(publishFormat="JSON"),
        asked(RELIANCE, segment=77, publishFormat="JSON"),
        {"instruments": ["x"], "xtsMessageCode": 1501, "publishFormat": "JSON"},
    ],
)
def test_bad_quote_requests(b: XtsClient, body: dict[str, Any]) -> None:
    answer = b.market("POST", "/instruments/quotes", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "e-property-validation-failed")


def test_more_than_fifty_instruments(b: XtsClient) -> None:
    body = asked(*range(51), publishFormat="JSON")
    assert b.market("POST", "/instruments/quotes", json=body).json()["code"] == "e-quotes-0003"


def test_times_of_other_exchanges_may_start_in_1970(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"tick_base_1970": True}})
    (nse,) = quotes(b, RELIANCE)
    (bse,) = quotes(b, 500_325, segment=11)
    assert nse["LastUpdateTime"] < 1_600_000_000 < bse["LastUpdateTime"]


def test_prices_move_and_are_shared(connect: Connect, sim: ThreadSimulator) -> None:
    b, investor = connect("jainam-b"), connect("generic-json")
    b.price(1234.5)
    assert quotes(b, RELIANCE)[0]["LastTradedPrice"] == 1234.5
    assert quotes(investor, RELIANCE)[0]["LastTradedPrice"] == 1234.5
    sim.control("price", {"segment": "NSECM", "token": RELIANCE})
    seen = set()
    for _ in range(20):
        sim.control("clock", {"advance_seconds": 1})
        seen.add(sim.control("price", None, segment="NSECM", token=RELIANCE)["ltp"])
    assert len(seen) > 3


# -- subscriptions -----------------------------------------------------------------------------


def test_subscribe_twice_and_mixed(b: XtsClient) -> None:
    first = b.market("POST", "/instruments/subscription", json=asked(RELIANCE)).json()
    assert first["code"] == "s-session-0001"
    assert first["result"]["Remaining_Subscription_Count"] == 49
    assert json.loads(first["result"]["listQuotes"][0])["ExchangeInstrumentID"] == RELIANCE
    again = b.market("POST", "/instruments/subscription", json=asked(RELIANCE))
    assert (again.status_code, again.json()["code"]) == (400, "e-session-0002")
    mixed = b.market("POST", "/instruments/subscription", json=asked(RELIANCE, 1594)).json()
    assert [q["exchangeInstrumentID"] for q in mixed["result"]["quotesList"]] == [1594]
    other_code = b.market("POST", "/instruments/subscription", json=asked(RELIANCE, code=1510))
    assert other_code.json()["result"]["listQuotes"] == []
    assert other_code.json()["result"]["Remaining_Subscription_Count"] == 48
    listed = b.market("GET", "/instruments/subscription").json()["result"]
    assert len(listed) == 3


def test_unsubscribe(b: XtsClient) -> None:
    b.market("POST", "/instruments/subscription", json=asked(RELIANCE, 1594))
    gone = b.market("PUT", "/instruments/subscription", json=asked(RELIANCE)).json()
    assert gone["code"] == "s-response-0001"
    assert gone["result"]["Remaining_Subscription_Count"] == 49
    assert b.market("POST", "/instruments/subscription", json=asked(RELIANCE)).status_code == 200


def test_subscription_limit(b: XtsClient) -> None:
    b.sim.control("config", {"profile": "jainam-b", "quirks": {"subscription_limit": 2}})
    b.market("POST", "/instruments/subscription", json=asked(RELIANCE, 1594))
    answer = b.market("POST", "/instruments/subscription", json=asked(3045))
    assert (answer.status_code, answer.json()["code"]) == (400, "e-session-0004")


# -- history -----------------------------------------------------------------------------------


def candles(client: XtsClient, start: str, end: str, step: str, **extra: Any) -> list[list[str]]:
    query = {
        "exchangeSegment": 1,
        "exchangeInstrumentID": RELIANCE,
        "startTime": start,
        "endTime": end,
        "compressionValue": step,
        **extra,
    }
    answer = client.market("GET", "/instruments/ohlc", **query)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["result"]["dataReponse"]
    return [bar.split("|") for bar in text.split(",")] if text else []


def test_minute_bars_are_stamped_at_second_59_of_ist_as_epoch(b: XtsClient) -> None:
    bars = candles(b, "Nov 20 2026 091500", "Nov 20 2026 153000", "60")
    assert len(bars) == 375
    assert all(len(bar) == 8 and bar[-1] == "" for bar in bars)
    stamps = [int(bar[0]) for bar in bars]
    assert {stamp % 60 for stamp in stamps} == {59}
    first = datetime.fromtimestamp(stamps[0], timezone.utc)  # noqa: UP017 - IST read as UTC
    assert (first.hour, first.minute) == (9, 15)
    for _, opened, high, low, close, *_ in bars:
        assert float(low) <= min(float(opened), float(close))
        assert float(high) >= max(float(opened), float(close))


def test_other_intervals(b: XtsClient) -> None:
    week = ("Nov 16 2026 000000", "Nov 20 2026 235959")
    assert len(candles(b, *week, "3600")) == 5 * 7
    days = candles(b, *week, "D")
    assert [int(bar[0]) % 86_400 for bar in days] == [0] * 5
    assert len(candles(b, "Oct 01 2026 000000", "Nov 20 2026 235959", "M")) == 2
    assert len(candles(b, "Nov 09 2026 000000", "Nov 20 2026 235959", "W")) == 2


def test_history_is_the_same_whichever_chunks_are_asked_for(b: XtsClient) -> None:
    whole = candles(b, "Nov 19 2026 091500", "Nov 20 2026 153000", "300")
    parts = [
        *candles(b, "Nov 19 2026 091500", "Nov 19 2026 153000", "300"),
        *candles(b, "Nov 20 2026 091500", "Nov 20 2026 153000", "300"),
    ]
    assert parts == whole


def test_nothing_is_an_empty_string(b: XtsClient) -> None:
    weekend = ("Nov 14 2026 091500", "Nov 15 2026 153000", "60")
    assert candles(b, *weekend) == []
    assert candles(b, *weekend, exchangeInstrumentID=999_999) == []
    assert candles(b, "Nov 20 2030 091500", "Nov 20 2030 153000", "60") == []


@pytest.mark.parametrize(
    "change", [{"startTime": "2026-11-20"}, {"endTime": ""}, {"compressionValue": "61"}]
)
def test_bad_history_requests(b: XtsClient, change: dict[str, str]) -> None:
    query = {
        "exchangeSegment": 1,
        "exchangeInstrumentID": RELIANCE,
        "startTime": "Nov 20 2026 091500",
        "endTime": "Nov 20 2026 153000",
        "compressionValue": "60",
        **change,
    }
    assert b.market("GET", "/instruments/ohlc", **query).status_code == 400


# -- symbols and search ------------------------------------------------------------------------


def symbols(client: XtsClient, what: str, **query: Any) -> Any:
    answer = client.market("GET", f"/instruments/instrument/{what}", **query)
    assert answer.status_code == 200, answer.text
    assert answer.json()["code"] == "s-rds-0"
    return answer.json()["result"]


def test_series(b: XtsClient) -> None:
    assert {"EQ", "BE", "SM", "GS", "GB"} <= set(symbols(b, "series", exchangeSegment=1))
    assert symbols(b, "series", exchangeSegment=2) == ["FUTIDX", "FUTSTK", "OPTIDX", "OPTSTK"]
    assert symbols(b, "series", exchangeSegment=12) == ["IF", "IO", "SF", "SO"]


def test_equity_symbol_with_an_ampersand(b: XtsClient) -> None:
    (found,) = symbols(b, "symbol", exchangeSegment=1, series="EQ", symbol="M&M")
    assert (found["ExchangeInstrumentID"], found["PriceBand"]["HighString"]) == (2031, "4029.60")


def test_derivatives_step_by_step(b: XtsClient) -> None:
    base = {"exchangeSegment": 2, "symbol": "YESBANK"}
    dates = symbols(b, "expiryDate", series="OPTSTK", **base)
    day = datetime.fromisoformat(min(dates)).strftime("%d%b%Y")
    (future,) = symbols(b, "futureSymbol", series="FUTSTK", expiryDate=day, **base)
    assert future["ContractExpirationString"] == day
    assert future["UnderlyingInstrumentId"] == 1100100011915
    option = {**base, "series": "OPTSTK", "expiryDate": day}
    assert symbols(b, "optionType", **option) == ["CE", "PE"]
    strikes = symbols(b, "strikePrice", optionType="CE", **option)
    assert any("." in strike for strike in strikes)
    strike = next(strike for strike in strikes if "." in strike)
    for spelling in ("optionsymbol", "optionSymbol"):
        (found,) = symbols(b, spelling, optionType="CE", strikePrice=strike, **option)
        assert (found["StrikePrice"], found["OptionType"]) == (float(strike), 3)
    bad = b.market("GET", "/instruments/instrument/optionType", **{**option, "expiryDate": "x"})
    assert bad.status_code == 400
    assert b.market("GET", "/instruments/instrument/series", exchangeSegment="x").status_code == 400


def test_search(b: XtsClient) -> None:
    found = b.market("GET", "/search/instruments", searchString="reliance").json()["result"]
    assert {2885, 500325} <= {item["ExchangeInstrumentID"] for item in found}
    assert all("RELIANCE" in item["Description"] for item in found)
    assert b.market("GET", "/search/instruments", searchString="ZZZZ").json()["result"] == []
    assert b.market("GET", "/search/instruments", searchString=" ").json()["result"] == []
    assert b.market("GET", "/search/instruments").status_code == 400
    common = b.market("GET", "/search/instruments", searchString="NIFTY").json()["result"]
    assert len(common) == 200


def test_search_by_id(b: XtsClient) -> None:
    body = {"source": "WEBAPI", **asked(RELIANCE, 999_999)}
    (found,) = b.market("POST", "/search/instrumentsbyid", json=body).json()["result"]
    assert found["ISIN"] == "INE002A01018"
    assert found["Bhavcopy"]["Close"] > 0
    for wrong in ({}, {"instruments": ["x"]}):
        assert b.market("POST", "/search/instrumentsbyid", json=wrong).status_code == 400
