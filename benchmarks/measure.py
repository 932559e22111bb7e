"""What is measured, one function a figure of the table (the targets are those of the job).

Rounds are interleaved: bare, gateway, bare, gateway, …, so that whatever else the machine does
hits both. Ratios are gateway over bare.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.bare import ALL_CLIENTS
from benchmarks.load import Call, Sample, back_to_back, together
from benchmarks.report import Figure, at_least, at_most
from benchmarks.servers import ROOT, Stack, get, post

SYMBOL, EXCHANGE = "RELIANCE", "NSE"
_CLIENTS = 16
_TIDYING = 8.0  # seconds in which a load that is over still moves its log into the file
_ORDER_EVERY = 0.02  # seconds between two orders while a contract loads: five times the XTS limit
_COPY_AGE = 1.05  # seconds after which the gateway reads a book anew


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done; `loads` of the master contract for each figure of it."""

    master: str
    rounds: int
    orders: int
    book_reads: int
    searches: int
    loads: int


FULL = Effort(master="full", rounds=5, orders=200, book_reads=15, searches=300, loads=5)
QUICK = Effort(master="small", rounds=2, orders=25, book_reads=2, searches=20, loads=1)


# Calls -----------------------------------------------------------------------------------------


def gateway_order(stack: Stack, symbol: str = SYMBOL, **changes: Any) -> Call:
    """An order in OpenAlgo's words."""
    body = {
        "apikey": stack.key, "strategy": "bench", "symbol": symbol, "exchange": EXCHANGE,
        "action": "BUY", "quantity": "1", "pricetype": "MARKET", "product": "MIS", **changes,
    }  # fmt: skip
    return Call("POST", "/api/v1/placeorder", json.dumps(body).encode(), b'"orderid"')


def bare_order(stack: Stack, symbol: str = SYMBOL) -> Call:
    """The same order as the broker wants it."""
    token = _token(stack, symbol)
    body = {
        "clientID": ALL_CLIENTS, "exchangeSegment": "NSECM", "exchangeInstrumentID": token,
        "productType": "MIS", "orderType": "MARKET", "orderSide": "BUY", "timeInForce": "DAY",
        "disclosedQuantity": 0, "orderQuantity": 1, "limitPrice": 0, "stopPrice": 0,
        "orderUniqueIdentifier": "bench",
    }  # fmt: skip
    return Call("POST", "/place", json.dumps(body).encode(), b"AppOrderID")


def _token(stack: Stack, symbol: str) -> int:
    answer = post(
        f"{stack.gateway.url}/api/v1/symbol",
        {"apikey": stack.key, "symbol": symbol, "exchange": EXCHANGE},
    )
    return int(answer["data"]["token"])


def interleaved(
    stack: Stack, bare: Call, ours: Call, rounds: int, count: int, pause: float = 0.0
) -> tuple[Sample, Sample]:
    """Both calls in turn, `count` a round, after a warm-up that is not counted."""
    samples = Sample(), Sample()
    for number in range(rounds + 1):
        for sample, url, call in (
            (samples[0], stack.bare.url, bare),
            (samples[1], stack.gateway.url, ours),
        ):
            done = back_to_back(url, [call] * count, pause=pause)
            if number:
                sample.add(done)
    return samples


def versus(name: str, bare: Sample, ours: Sample, limit: float) -> Figure:
    """The ratio of two medians."""
    note = f"{ours.median:.2f} ms to {bare.median:.2f} ms"
    return at_most(name, ours.median / bare.median, limit, "×", note=note)


# Figures ---------------------------------------------------------------------------------------


def placing(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Place order through the whole path, back to back."""
    bare, ours = interleaved(
        stack, bare_order(stack), gateway_order(stack), effort.rounds, effort.orders
    )
    yield versus("Place order, median", bare, ours, 2.0)
    slow = ours.percentile(0.99), bare.percentile(0.99)
    yield at_most(
        "Place order, p99", slow[0] / slow[1], 3.0, "×",
        note=f"{slow[0]:.2f} ms to {slow[1]:.2f} ms",
    )  # fmt: skip


def throughput(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Place order, sixteen clients at the same time."""
    bare, ours = Sample(), Sample()
    for _ in range(effort.rounds):
        count = effort.orders * 2
        bare.add(together(stack.bare.url, [bare_order(stack)] * count, _CLIENTS))
        ours.add(together(stack.gateway.url, [gateway_order(stack)] * count, _CLIENTS))
    yield at_least(
        "Place order, throughput with 16 clients", ours.rate / bare.rate, 0.5, "×",
        note=f"{ours.rate:.0f}/s to {bare.rate:.0f}/s",
    )  # fmt: skip


def _read(stack: Stack, path: str) -> Call:
    body = json.dumps({"apikey": stack.key}).encode()
    return Call("POST", f"/api/v1/{path}", body, b'"status":"success"')


def order_book(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """An order book of 1,000 orders, read from the broker each time, and from its short copy.

    The orders of the position book stand in it already.
    """
    wanted = 1000 if effort is FULL else 100
    for _ in range(wanted // 50 - 1):
        back_to_back(stack.gateway.url, [gateway_order(stack)] * 50)
        back_to_back(stack.bare.url, [bare_order(stack)] * 50)
    yield from _book(stack, effort, "Order book", "orders", "orderbook", 1.5)


def position_book(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """A position book of 50 rows."""
    for symbol in _symbols(stack, 50):
        back_to_back(stack.gateway.url, [gateway_order(stack, symbol)])
        back_to_back(stack.bare.url, [bare_order(stack, symbol)])
    yield from _book(stack, effort, "Position book", "positions", "positionbook", 1.5)


def _book(
    stack: Stack, effort: Effort, name: str, bare_path: str, path: str, limit: float
) -> Iterator[Figure]:
    ours = _read(stack, path)
    rows = post(f"{stack.gateway.url}/api/v1/{path}", {"apikey": stack.key})["data"]
    count = len(rows["orders"] if isinstance(rows, dict) else rows)
    _check_bare_rows(stack, bare_path, count)
    bare = Call("GET", f"/{bare_path}", b"", b"success")
    fresh = interleaved(stack, bare, ours, effort.book_reads, 1, pause=_COPY_AGE)
    yield versus(f"{name} of {count:,} rows, read from the broker", *fresh, limit)
    mixed = interleaved(stack, bare, ours, effort.rounds, max(2, effort.orders // 10))
    yield versus(f"{name} of {count:,} rows, back to back", *mixed, limit)


def _check_bare_rows(stack: Stack, path: str, count: int) -> None:
    """Both logins must read books of the same size, or the comparison says nothing."""
    with urllib.request.urlopen(f"{stack.bare.url}/{path}", timeout=30) as answer:  # noqa: S310
        result = json.load(answer)["result"]
    rows = result["positionList"] if isinstance(result, dict) else result
    if len(rows) != count:
        raise RuntimeError(f"the bare route reads {len(rows)} {path}, the gateway {count}")


def _symbols(stack: Stack, count: int) -> list[str]:
    """Some shares that can be bought one at a time."""
    found = post(
        f"{stack.gateway.url}/api/v1/search",
        {"apikey": stack.key, "query": "A", "exchange": EXCHANGE},
    )["data"]
    plain = [
        row["symbol"] for row in found if row["instrumenttype"] == "EQ" and row["lotsize"] == 1
    ]
    if len(plain) < count:
        raise RuntimeError(f"only {len(plain)} of {count} shares can be bought one at a time")
    return plain[:count]


def master_contract(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Download, parse, map and swap, in a process of its own, in the place of another contract.

    A load is bound by the processor: of a few the fastest tells what it takes, the others what else
    the machine did.
    """
    reports = []
    for _ in range(effort.loads):
        time.sleep(_TIDYING)
        reports.append(_download(stack))
    seconds = sorted(float(report["seconds"]) for report in reports)
    each = ", ".join(f"{one:.2f} s" for one in seconds)
    yield at_most(
        f"Master contract of {reports[0]['rows']:,} rows, parsed, mapped and swapped",
        seconds[0], 3.0, "s", note=f"the fastest of {len(seconds)}: {each}",
    )  # fmt: skip
    memory = max(float(report["peak_memory_mb"]) for report in reports)
    yield at_most("… peak memory of its process", memory, 120.0, "MB")


def _download(stack: Stack) -> dict[str, Any]:
    """Load the master contract anew; its report once it is over."""
    url = f"{stack.gateway.url}/api/v1/master_contract/jainam_prop"
    job = post(url, {"apikey": stack.key, "force": True})["data"]["job"]
    while True:
        row = get(f"{url}/{job}", {"X-API-KEY": stack.key})["data"]
        if row["state"] == "done":
            report: dict[str, Any] = row["report"]
            return report
        if row["state"] == "failed":
            raise RuntimeError(f"the master contract was not loaded: {row['report']}")
        time.sleep(0.1)


def placing_while_loading(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """How much longer the slowest order waits while a master contract is loaded, on a new day.

    Against the slowest of as many orders right after it: of some hundreds one is always slow. For
    the same reason several loads are measured, and the middle one counts.
    """
    order = gateway_order(stack)
    back_to_back(stack.gateway.url, [order] * effort.orders)
    time.sleep(_TIDYING)
    longer: list[tuple[float, str]] = []
    for _ in range(effort.loads):
        loading = threading.Thread(target=_download, args=(stack,))
        during, without = Sample(), Sample()
        loading.start()
        while loading.is_alive():
            during.add(back_to_back(stack.gateway.url, [order] * 5, pause=_ORDER_EVERY))
        loading.join()
        time.sleep(_TIDYING)
        while len(without.seconds) < len(during.seconds):
            without.add(back_to_back(stack.gateway.url, [order] * 5, pause=_ORDER_EVERY))
        slowest = during.percentile(1.0), without.percentile(1.0)
        told = f"{slowest[0]:.0f} to {slowest[1]:.0f} ms of {len(during.seconds)} orders each"
        longer.append((slowest[0] - slowest[1], told))
    longer.sort()
    middle = longer[len(longer) // 2][0]
    each = "; ".join(told for _, told in longer)
    yield at_most(
        "The slowest order while it loads, longer than without", middle, 50.0, "ms",
        note=f"the middle of {len(longer)} loads: {each}",
    )  # fmt: skip


def memory_at_rest(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Resident memory of the serving process, master loaded."""
    time.sleep(_TIDYING)  # let it come to rest
    for process in stack.gateway.workers():
        yield at_most(
            "Serving process at rest, master loaded", process.memory_info().rss / 1e6, 120.0, "MB"
        )


def look_up(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Symbol look-up in process, over random symbols of the whole contract."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.lookup"],
        cwd=ROOT,
        env={**stack.environ, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    times = json.loads(done.stdout)
    yield at_most(
        "Symbol look-up in process, median", times["median_us"], 50.0, "µs",
        note=f"each symbol once; {times['again_us']:.1f} µs again",
    )  # fmt: skip


def search(stack: Stack, effort: Effort) -> Iterator[Figure]:
    """Search over HTTP with words that people type."""
    words = [
        "NIFTY", "BANKNIFTY", "RELIANCE", "INFY", "TATA", "NIFTY 24000 CE", "GOLD", "USDINR",
        "CRUDE", "HDFC", "SBIN", "BAJAJ-AUTO", "M&M", "SENSEX", "FUT", "A", "24APR", "ICICI",
    ]  # fmt: skip
    chance = random.Random(1)
    calls = [
        Call(
            "POST", "/api/v1/search",
            json.dumps({"apikey": stack.key, "query": chance.choice(words)}).encode(),
            b'"status":"success"',
        )
        for _ in range(effort.searches)
    ]  # fmt: skip
    back_to_back(stack.gateway.url, calls[: len(words)])
    sample = back_to_back(stack.gateway.url, calls)
    yield at_most(
        "Search over HTTP, p95", sample.percentile(0.95), 20.0, "ms",
        note=f"median {sample.median:.1f} ms",
    )  # fmt: skip
