"""A moving-average crossover: long while the fast average is above the slow one, else flat.

It shows the form of a strategy, not a way to earn money. `wanted_position` decides and knows
nothing of the network; `trade_once` asks the gateway for closes and says which position it wants.
The wanted position, not an order, goes out: a smart order for a position that is there already does
nothing, so the round can be repeated at any time.

    OPENALGO_API_KEY=… python -m examples.strategies.crossover --symbol RELIANCE --once
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Protocol

STRATEGY = "crossover"


class Client(Protocol):
    """What is used of `openalgo.api`."""

    def history(self, **fields: Any) -> Any: ...

    def placesmartorder(self, **fields: Any) -> Any: ...


def average(values: Sequence[float]) -> float:
    """The mean of at least one value."""
    return sum(values) / len(values)


def wanted_position(closes: Sequence[float], fast: int, slow: int, quantity: int) -> int | None:
    """The position (shares) to hold after these closes, oldest first; None: too few of them."""
    if not 0 < fast < slow:
        raise ValueError("the fast average must be shorter than the slow one")
    if len(closes) < slow:
        return None
    return quantity if average(closes[-fast:]) > average(closes[-slow:]) else 0


def trade_once(client: Client, options: argparse.Namespace, today: date) -> str:
    """One round: read closes, decide, ask for the position. What was done, in a sentence."""
    candles = client.history(
        symbol=options.symbol, exchange=options.exchange, interval=options.interval,
        start_date=(today - timedelta(days=options.days)).isoformat(), end_date=today.isoformat(),
    )  # fmt: skip
    if isinstance(candles, dict):
        return f"no candles: {candles.get('message', candles)}"
    closes = [float(close) for close in candles["close"]]
    wanted = wanted_position(closes, options.fast, options.slow, options.quantity)
    if wanted is None:
        return f"only {len(closes)} candles, {options.slow} are needed"
    answer = client.placesmartorder(
        strategy=STRATEGY, symbol=options.symbol, exchange=options.exchange,
        action="BUY" if wanted else "SELL", price_type="MARKET", product=options.product,
        quantity=wanted, position_size=wanted,  # with a quantity, 0 of 0 would be an order
    )  # fmt: skip
    return f"position {wanted} wanted: {answer}"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="crossover", description=__doc__)
    parser.add_argument("--host", default="http://127.0.0.1:5000")
    parser.add_argument("--symbol", required=True)
    parser.add_argument("--exchange", default="NSE")
    parser.add_argument("--product", default="MIS")
    parser.add_argument("--quantity", type=int, default=1)
    parser.add_argument("--interval", default="5m")
    parser.add_argument("--days", type=int, default=3, help="how far back candles are read")
    parser.add_argument("--fast", type=int, default=5)
    parser.add_argument("--slow", type=int, default=20)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two rounds")
    parser.add_argument("--once", action="store_true", help="one round, then end")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Trade until interrupted."""
    from openalgo import api

    options = parsed(arguments)
    key = os.environ.get("OPENALGO_API_KEY", "")
    if not key:
        print("Set OPENALGO_API_KEY to an API key with the scope trade.", file=sys.stderr)
        return 2
    client = api(api_key=key, host=options.host)
    while True:
        today = date.today()  # noqa: DTZ011 - the trader's own day
        print(trade_once(client, options, today), flush=True)
        if options.once:
            return 0
        time.sleep(options.every)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
