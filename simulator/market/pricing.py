"""Prices of the simulated market: a reproducible walk over time, and option values.

The walk is a pure function of (seed, instrument, time): several octaves of value noise, so a
price can be computed for any moment, today's quotes and last month's candles agree, and nothing
is stored. It never leaves about 4 % around the reference price.
"""

from __future__ import annotations

import math
import zlib

# (period in seconds, amplitude as a fraction of the price)
_OCTAVES: tuple[tuple[float, float], ...] = (
    (2_592_000.0, 0.018),
    (432_000.0, 0.010),
    (86_400.0, 0.006),
    (3_600.0, 0.0025),
    (300.0, 0.001),
    (30.0, 0.0005),
    (2.0, 0.0003),
)
_MASK = 0xFFFFFFFF
_ROOT_2PI = math.sqrt(2.0 * math.pi)
_ROOT_2 = math.sqrt(2.0)
YEAR = 365.0 * 86_400.0
VOLATILITY = 0.18


def walk_key(seed: int, name: str) -> int:
    """A number that selects one walk."""
    return zlib.crc32(f"{seed}:{name}".encode())


def hash32(key: int, i: int) -> int:
    """A well-mixed 32-bit hash of (key, i)."""
    x = (key ^ (i * 0x9E3779B1)) & _MASK
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK
    return x ^ (x >> 16)


def noise(key: int, t: float) -> float:
    """Relative deviation from the reference price at Unix time `t`."""
    total = 0.0
    for octave, (period, amplitude) in enumerate(_OCTAVES, 1):
        place = t / period
        i = int(place)
        fraction = place - i
        smooth = fraction * fraction * (3.0 - 2.0 * fraction)
        k = key + octave * 7919
        a = hash32(k, i)
        b = hash32(k, i + 1)
        total += amplitude * ((a + (b - a) * smooth) / 2147483648.0 - 1.0)
    return total


def option_value(spot: float, strike: float, years: float, call: bool) -> float:
    """Bachelier value: cheap, monotone in the strike, and never below what it is worth now."""
    sigma = spot * VOLATILITY * math.sqrt(max(years, 1e-5))
    gap = spot - strike if call else strike - spot
    d = gap / sigma
    value = gap * 0.5 * (1.0 + math.erf(d / _ROOT_2)) + sigma * math.exp(-0.5 * d * d) / _ROOT_2PI
    return max(value, 0.05)


def round_tick(price: float, tick: float) -> float:
    """Nearest multiple of the tick, cleaned of float dust (4 decimals)."""
    return round(round(price / tick) * tick, 4)
