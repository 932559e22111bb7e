"""Named locks that hold over several hosts: a lease in Redis on top of the host's own lock.

The host's lock comes first, so of each host one asks Redis, and threads queue as they do without
it. The lease is renewed every second while the lock is held. Whoever could not renew it in time has
lost the lock, and learns so before anything is sent (`locks.demand_held`): what an order would be
based on may have changed. An order that was sent before is in the journal, and whoever holds the
lock next counts it.

A Redis that has just begun knows no leases. For a moment it then grants none to anybody new, until
those who hold one have renewed it.

Without Redis nobody can lock for all hosts: `Unavailable`. The way out (`broker.waiting.urgent`)
goes on under the host's lock alone, and says so in the log.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from broker.base import Clock
from broker.redis_link import RedisAway, RedisLink
from broker.waiting import WaitingRoom, is_urgent
from services.errors import Unavailable
from services.locks import HostLocks, LockBusy, busy, held_in_context, waiting

log = logging.getLogger(__name__)

LEASE = 6.0
RENEW_EVERY = 1.0
MARGIN = 1.0
"""Seconds: how long a lease lasts, when it is renewed, and how much before its end its holder
stops believing in it."""

GRACE = 2.5
"""Seconds for which a Redis that has just begun grants nothing new: renewals come first."""

_IDLE_ROUNDS = 30
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.02

# KEYS: lock, what is known of the server. ARGV: token, lease (ms), grace (µs).
# 0: taken; above: somebody has it; below: the server is new, so many µs are left.
_TAKE = """
local wall = redis.call('TIME')
local now = wall[1] * 1000000 + wall[2]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local known = redis.call('HMGET', KEYS[2], 'run', 'born')
local born = tonumber(known[2] or 0)
if known[1] ~= run then
  born = now
  redis.call('HSET', KEYS[2], 'run', run, 'born', born)
end
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 1 end
if now >= born and now - born < tonumber(ARGV[3]) then return now - born - ARGV[3] end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
"""

# KEYS: lock. ARGV: token, lease (ms). A lock that nobody has is taken again: the server forgot it.
_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_GIVE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(eq=False, slots=True)
class _Lease:
    """A lock that this process has. `until` is in monotonic seconds."""

    name: str
    key: str
    token: str
    until: float
    clock: Clock

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have the lock at this moment."""
        return self.clock.monotonic() < self.until


class SharedLocks:
    """`NamedLocks` over all hosts that share one Redis. `instance` keeps gateways apart there."""

    def __init__(
        self,
        link: RedisLink,
        host: HostLocks,
        clock: Clock,
        *,
        instance: str = "",
        room: WaitingRoom | None = None,
    ) -> None:
        self._host = host
        self._clock = clock
        self._prefix = f"openalgo:{{locks}}:{instance}:"
        self._room = room or WaitingRoom()
        self._take = link.script(_TAKE)
        self._renew = link.script(_RENEW)
        self._give = link.script(_GIVE)
        self._guard = threading.Condition()
        self._leases: set[_Lease] = set()
        self._renewing = False

    @contextmanager
    def lock(self, name: str, timeout: float) -> Iterator[None]:
        """See `NamedLocks.lock`."""
        end = self._clock.monotonic() + timeout
        with self._host.lock(name, timeout):
            lease = self._lease(name, max(0.0, end - self._clock.monotonic()))
            if lease is None:
                yield
                return
            try:
                with held_in_context(lease):
                    yield
            finally:
                self._end(lease)

    def is_free(self, name: str) -> bool:
        """See `NamedLocks.is_free`."""
        try:
            with self.lock(name, 0.0):
                return True
        except LockBusy:
            return False

    def greet(self) -> None:
        """At start: let Redis note that it is there, so that its first moment is over by then."""
        with suppress(LockBusy, Unavailable), self.lock("greeting", 0.0):
            pass

    def _lease(self, name: str, timeout: float) -> _Lease | None:
        """A lease; None where only the host's lock is to be had, and the way out needs no more."""
        lease = _Lease(name, self._prefix + name, secrets.token_hex(12), 0.0, self._clock)
        pause = _FIRST_PAUSE
        with waiting(self._room, timeout) as patience:
            while True:
                problem = self._try(lease)
                if problem is None:
                    return lease
                if isinstance(problem, Unavailable):
                    if not is_urgent():
                        raise problem
                    log.error("%s is locked on this host alone: Redis is away", name)
                    return None
                step = patience.step(pause)
                if not step:
                    raise problem
                self._clock.sleep(step)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _try(self, lease: _Lease) -> LockBusy | Unavailable | None:
        asked = self._clock.monotonic()
        try:
            answer = int(self._take(
                [lease.key, f"{self._prefix}:server"],
                [lease.token, int(LEASE * 1000), int(GRACE * 1_000_000)],
            ))
        except RedisAway as error:
            return Unavailable(
                f"{error}: it keeps the locks of all hosts. Nothing was sent.", retry_after=1.0
            )
        if answer > 0:
            return LockBusy(busy(lease.name))
        if answer < 0:
            return Unavailable(
                "Redis has just begun, and its locks are being restored; nothing was sent.",
                retry_after=-answer / 1_000_000,
            )
        lease.until = asked + LEASE - MARGIN
        with self._guard:
            self._leases.add(lease)
            if not self._renewing:
                self._renewing = True
                threading.Thread(target=self._keep, name="locks", daemon=True).start()
        return None

    def _end(self, lease: _Lease) -> None:
        with self._guard:
            self._leases.discard(lease)
        try:
            self._give([lease.key], [lease.token])
        except RedisAway as error:
            log.warning("the lock %s ends by its lease: %s", lease.name, error)

    def _keep(self) -> None:
        """Renew what is held, until nothing is held for a while."""
        idle = 0
        while idle < _IDLE_ROUNDS:
            self._clock.sleep(RENEW_EVERY)
            with self._guard:
                leases = list(self._leases)
                idle = 0 if leases else idle + 1
                if idle == _IDLE_ROUNDS:
                    self._renewing = False
            for lease in leases:
                self._keep_one(lease)

    def _keep_one(self, lease: _Lease) -> None:
        asked = self._clock.monotonic()
        if asked >= lease.until:
            return
        try:
            mine = self._renew([lease.key], [lease.token, int(LEASE * 1000)])
        except RedisAway as error:
            log.warning("the lock %s was not renewed: %s", lease.name, error)
            return
        with self._guard:
            ended = lease not in self._leases
        if ended:  # given back while it was being renewed; somebody else may have it since
            self._end(lease)
        elif int(mine):
            lease.until = asked + LEASE - MARGIN
        else:
            lease.until = float("-inf")
            log.error("the lock %s was lost to another host", lease.name)
