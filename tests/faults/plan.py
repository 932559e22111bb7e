"""The fault plans of the proof: every kind of misfortune, a fifth of the orders in all."""

from __future__ import annotations

import random
from typing import Any

from benchmarks.servers import PROFILE
from simulator.testing import Simulator

_DECK: dict[str, int] = {
    "accept_then_close": 10,
    "refuse": 2,
    "rate_limit_429": 2,
    "rate_limit_400": 2,
    "error_500": 2,
    "error_502_html": 2,
    "error_500_after_accept": 3,
    "html_200": 2,
    "malformed_json": 3,
    "half_body": 3,
    "empty_body": 2,
    "success_without_id": 3,
    "error_envelope_200": 2,
    "close_before_accept": 2,
    "accept_then_hang": 1,
    "hang_before_accept": 1,
    "slow": 2,
    "accept_then_drop": 1,
}
"""How many of 200 requests meet each kind; with the session's deaths a bit over a fifth."""

_DECK_SIZE = 200

_DEATHS = {17: "dead_token", 95: "displaced_session", 190: "dead_token"}
"""Which orders meet the death of the session. Three in a row at most: after a fourth early death
the gateway rightly stops logging in (somebody else uses the key) and waits for a person."""

_BOOKS = {
    "stale_book": 0.05, "error_500": 0.04, "malformed_json": 0.03, "close_before_accept": 0.03,
}

HANG_SECONDS = 12.0


def rules(seed: int, requests: int) -> list[dict[str, Any]]:
    """The plan for so many `POST /orders`, dealt from the seed, and one for the order book.

    Every deck of 200 requests holds every kind. A rule of the simulator counts the requests that
    no earlier rule took, so the numbers of each kind are those among what is left.
    """
    dealt = _deal(seed, requests)
    plan: list[dict[str, Any]] = []
    taken: set[int] = set()
    for kind in kinds():
        mine = [number for number, dealt_kind in dealt.items() if dealt_kind == kind]
        left = [number - sum(other < number for other in taken) for number in mine]
        rule: dict[str, Any] = {
            "route": "POST /orders", "fault": kind, "nth": left, "profile": PROFILE,
        }
        if "hang" in kind:
            rule["seconds"] = HANG_SECONDS
        plan.append(rule)
        taken.update(mine)
    return plan + [
        {"route": "GET /orders", "fault": kind, "probability": share, "profile": PROFILE}
        for kind, share in _BOOKS.items()
    ]


def _deal(seed: int, requests: int) -> dict[int, str]:
    """Which request (from 1) meets which kind."""
    chance = random.Random(seed)
    dealt: dict[int, str] = {}
    for start in range(1, requests + 1, _DECK_SIZE):
        places = chance.sample(range(start, start + _DECK_SIZE), sum(_DECK.values()))
        cards = [kind for kind, count in _DECK.items() for _ in range(count)]
        dealt.update(zip(places, cards, strict=True))
    return dealt | _DEATHS


def light_fire(simulator: Simulator, seed: int) -> None:
    """Slow answers and a few lost ones: what a kill meets in flight."""
    simulator.faults(
        {"route": "POST /orders", "fault": "accept_then_close", "probability": 0.05},
        {"route": "POST /orders", "fault": "slow", "probability": 0.6, "seconds": 0.15},
        seed=seed,
    )


def broker_away(simulator: Simulator) -> None:
    """Nothing can be read, and orders are lost on both sides of the acceptance."""
    simulator.faults(
        {"route": "POST /orders", "fault": "accept_then_close", "nth": [1, 3, 5, 7, 9, 11]},
        {"route": "POST /orders", "fault": "close_before_accept"},
        {"route": "*", "fault": "error_502_html"},
    )


def kinds() -> list[str]:
    """Every kind that the plan holds."""
    return [*_DECK, *dict.fromkeys(_DEATHS.values())]
