"""Fault plans: which request meets which misfortune, decided from a seed.

A rule names a route ("POST /orders", "GET *", "*"), a fault kind, and when it applies
(probability, count, nth, match_tag, profile, user). The first rule that fires wins.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

#: kind -> does the venue accept the request by default before the fault shows?
KINDS: dict[str, bool] = {
    "refuse": False,
    "rate_limit_429": False,
    "rate_limit_400": False,
    "error_500": False,
    "error_502_html": False,
    "error_500_after_accept": True,
    "html_200": False,
    "malformed_json": True,
    "half_body": True,
    "empty_body": False,
    "success_without_id": True,
    "error_envelope_200": False,
    "close_before_accept": False,
    "accept_then_close": True,
    "accept_then_hang": True,
    "hang_before_accept": False,
    "slow": True,
    "dead_token": False,
    "displaced_session": False,
    "accept_then_drop": True,
    "stale_book": True,
}


@dataclass(slots=True)
class Rule:
    """One line of a fault plan.

    route: canonical route or pattern with `*`; count: times it may fire (None: no end);
    nth: 1-based numbers of the matching requests it fires on; match_tag: regular expression on
    the order's identifier; accepted: overrides whether the venue takes the request first;
    seconds: length of a hang or delay; ms: age of a stale book; text: the broker's words.
    """

    route: str
    fault: str
    probability: float = 1.0
    count: int | None = None
    nth: frozenset[int] | None = None
    match_tag: re.Pattern[str] | None = None
    profile: str | None = None
    user: str | None = None
    accepted: bool | None = None
    seconds: float = 30.0
    ms: float = 500.0
    text: str = ""
    code: str = ""
    seen: int = 0
    fired: int = 0
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        quoted = re.escape(self.route).replace(r"\*", ".*")
        self.pattern = re.compile(rf"^{quoted}$", re.IGNORECASE)

    @property
    def accepts(self) -> bool:
        """True when the venue takes the request although the answer goes wrong."""
        return KINDS[self.fault] if self.accepted is None else self.accepted

    def public(self) -> dict[str, Any]:
        return {
            "route": self.route,
            "fault": self.fault,
            "probability": self.probability,
            "count": self.count,
            "seen": self.seen,
            "fired": self.fired,
        }


def parse_rule(data: dict[str, Any]) -> Rule:
    """Build a rule from the control API's JSON; ValueError says what is wrong with it."""
    if not isinstance(data, dict):
        raise ValueError("a rule is an object")
    known = {
        "route",
        "fault",
        "probability",
        "count",
        "nth",
        "match_tag",
        "profile",
        "user",
        "accepted",
        "seconds",
        "delay",
        "ms",
        "text",
        "code",
    }
    unknown = set(data) - known
    if unknown:
        raise ValueError(f"unknown fields in a rule: {', '.join(sorted(unknown))}")
    fault = data.get("fault")
    if fault not in KINDS:
        raise ValueError(f"fault must be one of {', '.join(KINDS)}")
    probability = float(data.get("probability", 1.0))
    if not 0.0 <= probability <= 1.0:
        raise ValueError("probability must be between 0 and 1")
    nth = data.get("nth")
    if isinstance(nth, int):
        nth = [nth]
    tag: re.Pattern[str] | None = None
    if data.get("match_tag") is not None:
        try:
            tag = re.compile(str(data["match_tag"]))
        except re.error as wrong:
            raise ValueError(f"match_tag is no regular expression: {wrong}") from None
    count = data.get("count")
    seconds = data.get("seconds", data.get("delay"))
    return Rule(
        route=str(data.get("route", "POST /orders")),
        fault=fault,
        probability=probability,
        count=int(count) if count is not None else None,
        nth=frozenset(int(n) for n in nth) if nth is not None else None,
        match_tag=tag,
        profile=data.get("profile"),
        user=data.get("user"),
        accepted=data.get("accepted"),
        seconds=float(seconds) if seconds is not None else (1.0 if fault == "slow" else 30.0),
        ms=float(data.get("ms", 500.0)),
        text=str(data.get("text", "")),
        code=str(data.get("code", "")),
    )


class FaultPlan:
    """The rules in force and the random source that decides them."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._random = random.Random(0)

    def load(self, seed: int, rules: list[Rule], *, append: bool = False) -> None:
        """Replace (or extend) the plan; the same seed and requests give the same faults."""
        self._random = random.Random(seed)
        self.rules = [*self.rules, *rules] if append else rules

    def pick(self, route: str, profile: str | None, user: str, tag: str) -> Rule | None:
        """The rule that fires on this request, if any; counts what was seen."""
        for rule in self.rules:
            if rule.profile is not None and rule.profile != profile:
                continue
            if rule.user is not None and rule.user != user:
                continue
            if not rule.pattern.match(route):
                continue
            if rule.match_tag is not None and not rule.match_tag.search(tag):
                continue
            rule.seen += 1
            if rule.count is not None and rule.fired >= rule.count:
                continue
            if rule.nth is not None and rule.seen not in rule.nth:
                continue
            if rule.probability < 1.0 and self._random.random() >= rule.probability:
                continue
            rule.fired += 1
            return rule
        return None
