"""Inbound limits: who may call how often, counted over all processes of one host.

Flask-Limiter decides, with sliding-window counters. It is asked from inside the request's own
pipeline and not by its hooks before the view, because only there is the API key verified by which
callers are told apart (docs/decisions/0070).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import wraps
from math import ceil
from typing import ParamSpec, TypeVar, cast

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItem, parse_many
from limits.storage import SlidingWindowCounterSupport, Storage, storage_from_string
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter
from werkzeug.exceptions import TooManyRequests

from blueprints.context import mounted
from blueprints.limit_storage import SharedStorage, storage_options
from services.counting import throttled

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)

AWAY = 1.0
"""Seconds for which a storage that failed is not asked again."""


class Gate:
    """Answers, for a bucket of limits and a caller: let through, or when to come back.

    `buckets` maps a bucket's name to its limits in words ("50 per second; 1000 per hour"). While
    the storage is away, calls are counted in `spare` (what this host shares).
    """

    def __init__(
        self, buckets: Mapping[str, str], engine: RateLimiter, spare: str = "shared://"
    ) -> None:
        self.words = dict(buckets)
        self._items: dict[str, list[RateLimitItem]] = {
            name: parse_many(words) for name, words in buckets.items()
        }
        self._engine = engine
        self._spare_uri = spare
        self._spare: RateLimiter | None = None
        self._away_until = 0.0

    @classmethod
    def at(
        cls, buckets: Mapping[str, str], uri: str, spare: str = "shared://", instance: str = ""
    ) -> Gate:
        """A gate on the storage that `uri` names (see `limit_storage.storage_uri`)."""
        storage = cast(Storage, storage_from_string(uri, **storage_options(uri, instance)))
        return cls(buckets, SlidingWindowCounterRateLimiter(storage), spare)

    def check(self, bucket: str, caller: str) -> float | None:
        """None when the call may pass (and has been counted), else seconds to wait."""
        engine = self._engine if time.monotonic() >= self._away_until else self._on_this_host()
        for item in self._items[bucket]:
            try:
                passed = engine.hit(item, bucket, caller)
            except Exception as error:
                # A store that is down must not stop orders.
                self._away_until = time.monotonic() + AWAY
                log.error("inbound limits are counted on this host alone: %s", type(error).__name__)
                engine = self._on_this_host()
                passed = engine.hit(item, bucket, caller)
            if not passed:
                throttled(bucket)
                return self._wait(engine, item, bucket, caller)
        return None

    def _on_this_host(self) -> RateLimiter:
        if self._spare is None:
            self._spare = SlidingWindowCounterRateLimiter(SharedStorage(self._spare_uri))
        return self._spare

    @staticmethod
    def _wait(engine: RateLimiter, item: RateLimitItem, bucket: str, caller: str) -> float:
        """Seconds until one more call of this caller would pass."""
        storage = engine.storage
        assert isinstance(storage, SlidingWindowCounterSupport)  # noqa: S101 (for the type checker)
        window = item.get_expiry()
        before, left, current, _ = storage.get_sliding_window(item.key_for(bucket, caller), window)
        room = item.amount - 1 - current
        if room >= 0 and before:
            return max(0.0, left - window * room / before)
        return left + (window * (1.0 - (item.amount - 1) / current) if current else 0.0)


class _Limiter(Limiter):
    """Flask-Limiter without its look before every view, which has nothing to find here.

    Its limits by decorator work; what is left out is 45 µs of every request.
    """

    def _check_request_limit(
        self, callable_name: str | None = None, in_middleware: bool = True
    ) -> None:
        if not in_middleware:
            super()._check_request_limit(callable_name, in_middleware)


def attach(app: Flask, uri: str, instance: str = "") -> RateLimiter:
    """Attach Flask-Limiter to an application of ours; return the engine that it decides with."""
    limiter = _Limiter(
        get_remote_address,
        app=app,
        storage_uri=uri,
        storage_options=storage_options(uri, instance),
        strategy="sliding-window-counter",
        headers_enabled=False,
    )
    return limiter.limiter


def retry_after_header(seconds: float) -> str:
    """`Retry-After` in whole seconds, at least one."""
    return str(max(1, ceil(seconds)))


def login_limit(view: Callable[P, R]) -> Callable[P, R]:
    """Count the POSTs of a view by address against `LOGIN_RATE_LIMIT`; 429 above it."""

    @wraps(view)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        if request.method == "POST":
            wait = mounted().gate.check("login", f"address:{request.remote_addr}")
            if wait is not None:
                raise TooManyRequests(
                    f"Too many attempts. Try again in {ceil(max(wait, 1.0))} seconds.",
                    retry_after=ceil(max(wait, 1.0)),
                )
        return view(*args, **kwargs)

    return limited
