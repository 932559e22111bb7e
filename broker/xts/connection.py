"""Where an account's calls go: transports, circuits and pacers, one set an API.

The pacers count in the scope that the venue meters, the app key, so two accounts with one key
share their limits; circuits belong to broker, host and API, so all accounts there share them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.parse import urlsplit

from broker.base import AccountConfig, Limit, Operation, Runtime
from broker.breaker import BREAKERS, Breaker
from broker.models import Session
from broker.pacing import Pacer
from broker.transport import Transport
from broker.xts.client import Line
from broker.xts.envelope import Api
from broker.xts.login import MARKET_REFUSED, Base, base_of
from broker.xts.profile import LOOPBACK_HOSTS, XtsProfile

_SUBMITS = frozenset({Operation.PLACE, Operation.MODIFY})


class Connection:
    """The lines of one account. `ValueError` for a base URL that would send secrets in clear."""

    def __init__(self, profile: XtsProfile, account: AccountConfig, runtime: Runtime) -> None:
        self._profile = profile
        self._runtime = runtime
        self._root = _root(profile, account)
        self._transports: dict[int | None, Transport] = {}
        self.pacers = {
            Api.INTERACTIVE: _pacer(profile, account, runtime, "interactive_api_key"),
            Api.MARKET: _pacer(profile, account, runtime, "market_api_key"),
        }

    def line(self, api: Api, base: Base) -> Line:
        """The line of an API at a login's base, without a token."""
        profile = self._profile
        prefix = {
            Api.INTERACTIVE: base.path or profile.interactive_prefix,
            Api.MARKET: profile.market_prefix,
            Api.LOOKUP: profile.lookup.path,
        }[api]
        transport = self._transport(base.port if api is Api.INTERACTIVE else None)
        service = Api.MARKET if api is Api.MARKET else Api.INTERACTIVE
        return Line(transport, prefix, self._breaker(service))

    def circuits(self) -> dict[str, str]:
        """The state of the circuit of each API."""
        return {
            api.value: self._breaker(api).state.value for api in (Api.INTERACTIVE, Api.MARKET)
        }

    def clock_offset(self) -> float | None:
        """See `Broker.clock_offset`; of the newest answer on any of the lines."""
        told = [one.dated for one in self._transports.values() if one.dated is not None]
        return max(told, key=lambda dated: dated.at).offset if told else None

    def _breaker(self, api: Api) -> Breaker:
        name = f"{self._profile.name}/{self._root}/{api.value}"
        return BREAKERS.get(self._runtime.clock, name, self._profile.title)

    def session_lines(self, session: Session) -> dict[Api, Line]:
        """The lines of an open session, each with its token, or None where it has none."""
        lines = {}
        for api in (Api.INTERACTIVE, Api.MARKET):
            line = self.line(api, base_of(session))
            token = session.tokens.get(api.value)
            refused = session.details.get(MARKET_REFUSED) == "true"
            lines[api] = replace(line, token=token, refused=refused)
        return lines

    def close(self) -> None:
        """Give the connections back."""
        for transport in self._transports.values():
            transport.close()

    def _transport(self, port: int | None) -> Transport:
        transport = self._transports.get(port)
        if transport is None:
            url = self._root if port is None else _with_port(self._root, port)
            transport = Transport(url, clock=self._runtime.clock)
            transport = self._transports.setdefault(port, transport)
        return transport


def _root(profile: XtsProfile, account: AccountConfig) -> str:
    """Scheme, host and port to call: the account's own, else the cluster's."""
    root = profile.cluster(account.cluster).root
    parts = urlsplit(account.base_url or root)
    if "@" in parts.netloc:
        raise ValueError(f"The base URL of account {account.label!r} must hold no user name.")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        raise ValueError(
            f"The base URL of account {account.label!r} must be https, but for loopback."
        )
    return f"{parts.scheme}://{parts.netloc}"


def _with_port(root: str, port: int) -> str:
    parts = urlsplit(root)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _pacer(profile: XtsProfile, account: AccountConfig, runtime: Runtime, key_name: str) -> Pacer:
    own = Limit("orders_per_second", _SUBMITS, account.orders_per_second, 1.0)
    published = profile.limits if account.published_limits else ()
    key = account.credentials.get(key_name)
    mark = hashlib.sha256((key.reveal() if key else account.label).encode()).hexdigest()[:16]
    return Pacer(
        limits=(*published, own),
        scope=f"{profile.name}/{account.cluster or profile.default_cluster}/{mark}",
        store=runtime.slots,
        clock=runtime.clock,
        queue_wait=runtime.queue_wait,
        room=runtime.room,
        observer=runtime.observer,
        account=account.label,
        spare=runtime.spare_slots,
        caller=runtime.caller,
    )
