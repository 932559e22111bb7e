"""The one place that connects to Redis, where `REDIS_URL` is set.

Redis is on the way of every order then, so a server that is gone must be noticed soon: half a
second for an answer, one more attempt where a connection turns out to be dead, and no more. The
package is part of the `redis` extra and is imported only here.
"""

from __future__ import annotations

from broker.base import Clock
from broker.redis_link import RedisLink
from utils.config import Settings

ANSWER = 0.5
"""Seconds that Redis may take to connect or to answer."""


class RedisMissing(RuntimeError):
    """`REDIS_URL` is set, and the client package is not installed."""


def link(settings: Settings, clock: Clock) -> RedisLink | None:
    """The way to the Redis of `REDIS_URL`; None where it is not set. Connects to nothing yet."""
    if settings.redis_url is None:
        return None
    return link_to(settings.redis_url.get_secret_value(), clock)


def link_to(url: str, clock: Clock, answer: float = ANSWER) -> RedisLink:
    """The way to one Redis, which has `answer` seconds for each answer. `RedisMissing`."""
    try:
        from redis import ConnectionError as Gone
        from redis import Redis, RedisError
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise RedisMissing(
            "REDIS_URL is set, but the client is not installed: install requirements-server.txt "
            "(the `redis` extra), or unset it."
        ) from error
    client = Redis.from_url(
        url,
        socket_timeout=answer,
        socket_connect_timeout=answer,
        retry=Retry(NoBackoff(), 1, supported_errors=(Gone,)),
    )
    return RedisLink(client, clock, (RedisError, OSError))
