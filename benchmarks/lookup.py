"""Times symbol look-ups in a process of its own, and prints microseconds as JSON."""

from __future__ import annotations

import json
import random
import statistics
import sys
import time

from services.gateway import Gateway
from utils.config import load_settings

BROKER = "jainam_prop"
_COUNT = 2000


def main() -> int:
    """Look up random symbols once each, then all of them again."""
    gateway = Gateway(load_settings())
    everything = [
        (record.exchange, record.symbol) for record in gateway.symbols.instruments(BROKER, None)
    ]
    picked = random.Random(1).sample(everything, min(_COUNT, len(everything)))
    del everything
    rounds: list[list[float]] = []
    for _ in range(2):
        times = []
        for exchange, symbol in picked:
            started = time.perf_counter()
            found = gateway.symbols.lookup(BROKER, exchange, symbol)
            times.append((time.perf_counter() - started) * 1e6)
            if found is None:
                print(f"{symbol} is not there", file=sys.stderr)
                return 1
        rounds.append(times)
    first, again = (statistics.median(times) for times in rounds)
    print(json.dumps({"median_us": first, "again_us": again}))
    gateway.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
