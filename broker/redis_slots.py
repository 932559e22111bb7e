"""Where several hosts count calls: rolling windows in Redis, by Redis's own clock.

The rule is that of `broker.slots`: a call occupies a slot from its grant until one window after its
answer. Each operation is one script, so it happens at once or not at all. Time is Redis's `TIME`,
kept from running backwards. A server that knows nothing of the last calls (it has just begun, or
another has taken its place) grants nothing for a window and a moment, since those calls still count
at the venue.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from broker.base import Grant, Priority, SlotStore, Wait, WindowKey
from broker.redis_link import RedisAway, RedisLink, Script
from broker.slots import LONGEST_LEASE, RECHECK, SlotsUnavailable

GRACE = 1.0
"""Seconds on top of one window for which a server that has just begun grants nothing: until then
everybody who counted without it knows that it is back."""

WAITER_LEASE = 2.0
"""Seconds beyond one window for which an announced waiter is believed without being heard of."""

_MICRO = 1_000_000

# KEYS[1] is what is known of the server: its run, when that began, and the time last seen.
# KEYS[2 …] are, for each window, its slots and its waiters, sorted sets by time of expiry.
_TIME = """
local wall = redis.call('TIME')
local known = redis.call('HMGET', KEYS[1], 'last', 'ahead', 'run', 'born')
local last, ahead = tonumber(known[1] or 0), tonumber(known[2] or 0)
local now = wall[1] * 1000000 + wall[2] + ahead
if now < last then
  ahead = ahead + last - now
  now = last
end
"""

# ARGV: priority, token ('' takes nothing), member, recheck, grace, then for each window its calls,
# its length, the time after which an unreleased slot is free, how long a waiter is believed, and
# the priorities at which this process has waiters (digits).
_ACQUIRE = _TIME + """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''
local born = tonumber(known[4] or 0)
if known[3] ~= run then born = now end
redis.call('HSET', KEYS[1], 'last', now, 'ahead', ahead, 'run', run, 'born', born)
local priority, token, member = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local grace = tonumber(ARGV[5])
local wait = 0
local count = (#KEYS - 1) / 2
for i = 1, count do
  local slots, waiters = KEYS[2 * i], KEYS[2 * i + 1]
  local calls, window = tonumber(ARGV[5 * i + 1]), tonumber(ARGV[5 * i + 2])
  redis.call('ZREMRANGEBYSCORE', slots, '-inf', now)
  local missing = redis.call('ZCARD', slots) - calls + 1
  if missing > 0 then
    local row = redis.call('ZRANGE', slots, missing - 1, missing - 1, 'WITHSCORES')
    wait = math.max(wait, 1, math.min(tonumber(row[2]) - now, window))
  end
  wait = math.max(wait, born + window + grace - now)
  for digit in string.gmatch(ARGV[5 * i + 5], '%d') do
    redis.call('ZADD', waiters, 'XX', now + tonumber(ARGV[5 * i + 4]), digit .. member)
  end
  if priority > 0 then
    redis.call('ZREMRANGEBYSCORE', waiters, '-inf', now)
    for _, who in ipairs(redis.call('ZRANGE', waiters, 0, -1)) do
      if tonumber(string.sub(who, 1, 1)) < priority then
        wait = math.max(wait, tonumber(ARGV[4]))
        break
      end
    end
  end
end
if wait > 0 or token == '' then return wait end
for i = 1, count do
  local until_ = now + tonumber(ARGV[5 * i + 3])
  redis.call('ZADD', KEYS[2 * i], until_, token)
  redis.call('PEXPIRE', KEYS[2 * i], math.ceil(tonumber(ARGV[5 * i + 3]) / 1000) + 60000)
end
return 0
"""

# ARGV: token, then each window's length. KEYS as above, without the waiters.
_RELEASE = _TIME + """
for i = 2, #KEYS do
  local window = tonumber(ARGV[i])
  redis.call('ZADD', KEYS[i], now + window, ARGV[1])
  redis.call('PEXPIRE', KEYS[i], math.ceil(window / 1000) + 60000)
end
return 0
"""

# ARGV: member with its priority, 1 or 0, then for each window how long a waiter is believed.
_ANNOUNCE = _TIME + """
for i = 2, #KEYS do
  if ARGV[2] == '1' then
    redis.call('ZADD', KEYS[i], now + tonumber(ARGV[i + 1]), ARGV[1])
    redis.call('PEXPIRE', KEYS[i], math.ceil(tonumber(ARGV[i + 1]) / 1000) + 60000)
  else
    redis.call('ZREM', KEYS[i], ARGV[1])
  end
end
return 0
"""


class RedisSlotStore(SlotStore):
    """Windows that all processes of all hosts share through one Redis."""

    def __init__(self, link: RedisLink, prefix: str = "openalgo:{pacing}") -> None:
        self._prefix = prefix
        self._acquire = link.script(_ACQUIRE)
        self._release = link.script(_RELEASE)
        self._announce = link.script(_ANNOUNCE)
        self._guard = threading.Lock()
        self._announced: Counter[tuple[WindowKey, Priority]] = Counter()
        self._member = ""
        self._pid = 0

    def acquire(
        self, wanted: Sequence[WindowKey], priority: Priority, lease: float
    ) -> Grant | Wait:
        """Take one slot in every window, or say when to ask again (seconds)."""
        number = secrets.randbits(62)
        wait = self._ask(wanted, priority, lease, f"{number:x}")
        if wait:
            return Wait(wait / _MICRO)
        return Grant(tuple((key, 0, number) for key in wanted))

    def release(self, grant: Grant) -> None:
        """Every slot of the grant is free again one window from now."""
        if not grant.entries:
            return
        keys = [self._slots(key) for key, _, _ in grant.entries]
        windows = [_micro(key.window) for key, _, _ in grant.entries]
        self._run(self._release, keys, [f"{grant.entries[0][2]:x}", *windows])

    def waiting(self, wanted: Sequence[WindowKey], priority: Priority, change: int) -> None:
        """Count a waiter in (+1) or out (-1) of every window. Redis hears of the first and last."""
        member = self._own_member()
        with self._guard:
            for key in wanted:
                self._announced[key, priority] += change
            told = [
                key for key in wanted
                if self._announced[key, priority] == (1 if change > 0 else 0)
            ]
            for key in told:
                if change < 0:
                    del self._announced[key, priority]
        if not told:
            return
        keys = [self._waiters(key) for key in told]
        leases = [_micro(key.window + WAITER_LEASE) for key in told]
        try:
            self._run(
                self._announce, keys, [f"{int(priority)}{member}", int(change > 0), *leases]
            )
        except SlotsUnavailable:
            if change > 0:
                with self._guard:
                    for key in wanted:
                        self._announced[key, priority] -= 1
                raise

    def peek(self, wanted: Sequence[WindowKey]) -> float:
        """Seconds until every window can have a free slot; takes none."""
        return self._ask(wanted, Priority.EXIT, 0.0, "") / _MICRO

    def _ask(
        self, wanted: Sequence[WindowKey], priority: Priority, lease: float, token: str
    ) -> float:
        """Microseconds to wait, 0 when a slot was taken (or could be, without a token)."""
        member = self._own_member()
        arguments: list[object] = [int(priority), token, member, _micro(RECHECK), _micro(GRACE)]
        keys: list[str] = []
        for key in wanted:
            keys += (self._slots(key), self._waiters(key))
            mine = "".join(str(int(one)) for one in Priority if self._announced[key, one] > 0)
            arguments += (
                key.calls, _micro(key.window), _micro(min(lease, LONGEST_LEASE) + key.window),
                _micro(key.window + WAITER_LEASE), mine,
            )
        return float(self._run(self._acquire, keys, arguments))

    def _run(self, script: Script, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        try:
            return script([f"{self._prefix}:server", *keys], arguments)
        except RedisAway as error:
            raise SlotsUnavailable(f"{error}: it counts the calls of all hosts.") from error

    def _own_member(self) -> str:
        """The name of this process among those that wait; a child of a fork has its own."""
        if self._pid != os.getpid():
            with self._guard:
                self._pid = os.getpid()
                self._member = secrets.token_hex(8)
                self._announced.clear()
        return self._member

    def _slots(self, key: WindowKey) -> str:
        return f"{self._prefix}:slots:{key.scope}:{key.window:g}"

    def _waiters(self, key: WindowKey) -> str:
        return f"{self._prefix}:waiters:{key.scope}:{key.window:g}"


def _micro(seconds: float) -> int:
    return int(seconds * _MICRO)
