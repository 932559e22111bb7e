"""The control API under `/_sim/` (loopback only): truth, faults, prices, quirks, fills, clock.

Answers are plain JSON; a wrong request gets 400 with `{"error": "…"}` and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator import inject, settings
from simulator.clock import IST
from simulator.envelope import dumps
from simulator.exchange import Exchange, LookupSettings
from simulator.faults import KINDS, parse_rule
from simulator.limits import PUBLISHED
from simulator.market.instruments import Instrument
from simulator.oms.engine import Engine
from simulator.oms.validation import as_id
from simulator.profiles import SEGMENT_NUMBERS, Credential
from simulator.truth import Truth

Body = dict[str, Any]
_LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")


class ControlError(Exception):
    """A control request that makes no sense."""


class Control:
    """Handlers by (method, path)."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._routes: dict[tuple[str, str], Callable[[Body], Any]] = {
            ("GET", "health"): self.health,
            ("GET", "credentials"): self.credentials,
            ("POST", "credentials"): self.add_credential,
            ("GET", "truth"): self.truth,
            ("GET", "requests"): self.requests,
            ("GET", "faults"): self.faults,
            ("POST", "faults"): self.set_faults,
            ("GET", "limits"): self.breaches,
            ("POST", "limits"): self.set_limits,
            ("POST", "reset"): self.reset,
            ("POST", "config"): self.config,
            ("GET", "config"): self.show_config,
            ("POST", "price"): self.price,
            ("GET", "price"): self.show_price,
            ("POST", "order"): self.order,
            ("POST", "positions"): self.positions,
            ("POST", "holdings"): self.holdings,
            ("POST", "balance"): self.balance,
            ("GET", "sessions"): self.sessions,
            ("POST", "sessions/kill"): self.kill,
            ("POST", "clock"): self.clock,
            ("POST", "master"): self.master,
            ("POST", "hostlookup"): self.hostlookup,
        }

    async def handle(self, request: web.BaseRequest, path: str) -> web.Response:
        """Serve one control request."""
        if request.remote not in _LOOPBACK:
            return web.Response(status=403, body=b'{"error":"loopback only"}')
        path = path.partition("?")[0].strip("/")
        try:
            body = await self._body(request)
            parts = path.split("/")
            if request.method == "POST" and len(parts) == 3 and parts[0] == "orders":
                result = self._order_action(parts[1], parts[2], body)
            else:
                handler = self._routes.get((request.method, path))
                if handler is None:
                    return _answer(404, {"error": f"no control route {request.method} {path}"})
                result = handler(body)
        except (ControlError, ValueError, KeyError, TypeError) as wrong:
            return _answer(400, {"error": str(wrong) or type(wrong).__name__})
        return _answer(200, result)

    async def _body(self, request: web.BaseRequest) -> Body:
        query = request.raw_path.partition("?")[2]
        body: Body = dict(parse_qsl(query))
        raw = await request.read()
        if raw:
            given = json.loads(raw)
            if not isinstance(given, dict):
                raise ControlError("the body must be a JSON object")
            body.update(given)
        return body

    # -- finding things ----------------------------------------------------------------------

    def engine(self, body: Body) -> Engine:
        """The venue named by `profile` (may be left out when only one is served)."""
        engines = self.exchange.engines
        name = body.get("profile")
        if name is None and len(engines) == 1:
            return next(iter(engines.values()))
        if name not in engines:
            raise ControlError(f"profile must be one of {', '.join(engines)}")
        return engines[str(name)]

    def _engines(self, body: Body) -> list[Engine]:
        if body.get("profile") is None:
            return list(self.exchange.engines.values())
        return [self.engine(body)]

    def instrument(self, body: Body) -> Instrument:
        """`segment` (name or number) and `token`."""
        segment = body.get("segment")
        for name, number in SEGMENT_NUMBERS.items():
            if segment == number or segment == str(number):
                segment = name
        found = self.exchange.catalog.find(str(segment), as_id(body.get("token")))
        if found is None:
            raise ControlError("no such instrument: give segment and token of the master")
        return found

    # -- what is known -----------------------------------------------------------------------

    def health(self, _body: Body) -> Any:
        exchange = self.exchange
        return {
            "status": "ok",
            "profiles": list(exchange.engines),
            "master": {name: len(store) for name, store in exchange.catalog.segments.items()},
            "time": exchange.clock.ist().isoformat(),
            "limits": "published" if exchange.limits else "off",
            "sessions": len(exchange.sessions.live()),
        }

    def credentials(self, body: Body) -> Any:
        listed: dict[str, list[Body]] = {}
        for (api, _), credential in self.exchange.credentials.items():
            if api == "interactive" and body.get("profile") in (None, credential.profile):
                listed.setdefault(credential.profile, []).append(credential.public())
        return listed

    def add_credential(self, body: Body) -> Any:
        given = dict(body)
        given["client_codes"] = tuple(given.get("client_codes") or ())
        credential = Credential(**given)
        if credential.role not in ("pro", "normal", "investor"):
            raise ControlError("role must be pro, normal or investor")
        if not credential.client_codes:
            raise ControlError("client_codes must not be empty")
        self.exchange.add_credential(credential)
        return credential.public()

    def truth(self, body: Body) -> Any:
        listed: dict[str, Any] = {}
        for engine in self._engines(body):
            records = engine.truth.orders
            if body.get("tag") is not None:
                records = [r for r in records if r.tag == body["tag"]]
            listed[engine.profile.name] = {
                "orders": [record.public() for record in records],
                "faults": engine.truth.faults,
                "accounts": [inject.account_document(a) for a in engine.clients.all()],
            }
        if body.get("profile") is not None:
            return listed[str(body["profile"])]
        return listed

    def requests(self, body: Body) -> Any:
        """Counts by route, and the last `last` requests of `route` as [time, status, user]."""
        last = int(body.get("last", 1_000))
        route = body.get("route")

        def shown(truth: Truth) -> Body:
            listed: Body = {"counts": truth.counts}
            if route is not None:
                log = truth.requests.get(str(route), ())
                listed["requests"] = [list(entry) for entry in log][-last:]
            return listed

        if body.get("profile") == "stray":
            return shown(self.exchange.stray)
        listed = {engine.profile.name: shown(engine.truth) for engine in self._engines(body)}
        if body.get("profile") is not None:
            return listed[str(body["profile"])]
        return {**listed, "stray": shown(self.exchange.stray)}

    def sessions(self, body: Body) -> Any:
        return [
            {
                "profile": s.profile,
                "api": s.api,
                "user": s.user_id,
                "serial": s.serial,
                "expires": datetime.fromtimestamp(s.expires, IST).isoformat(),
            }
            for s in self.exchange.sessions.live(body.get("profile"))
        ]

    # -- faults and limits -------------------------------------------------------------------

    def faults(self, body: Body) -> Any:
        applied = [f for e in self._engines(body) for f in e.truth.faults]
        applied += self.exchange.stray.faults
        return {
            "kinds": list(KINDS),
            "rules": [rule.public() for rule in self.exchange.faults.rules],
            "applied": applied,
        }

    def set_faults(self, body: Body) -> Any:
        rules = body.get("rules")
        if not isinstance(rules, list):
            raise ControlError("rules must be a list (empty: no faults)")
        parsed = [parse_rule(rule) for rule in rules]
        self.exchange.faults.load(
            int(body.get("seed", 0)), parsed, append=bool(body.get("append", False))
        )
        return {"rules": len(self.exchange.faults.rules)}

    def breaches(self, body: Body) -> Any:
        listed = {e.profile.name: e.truth.breaches for e in self._engines(body)}
        return listed[str(body["profile"])] if body.get("profile") is not None else listed

    def set_limits(self, body: Body) -> Any:
        mode = body.get("mode", "published")
        if mode not in ("published", "off"):
            raise ControlError("mode must be published or off")
        table = dict(PUBLISHED) if mode == "published" else {}
        for kind, rule in dict(body.get("table") or {}).items():
            if kind not in PUBLISHED:
                raise ControlError(f"limits are for {', '.join(PUBLISHED)}")
            count, seconds = rule
            table[kind] = (int(count), float(seconds))
        self.exchange.limits = table
        return {kind: list(rule) for kind, rule in table.items()}

    # -- state -------------------------------------------------------------------------------

    def reset(self, body: Body) -> Any:
        name = body.get("profile")
        self.exchange.reset(
            None if name is None else [self.engine(body).profile.name],
            sessions=bool(body.get("sessions", False)),
        )
        return {"reset": name or "all"}

    def config(self, body: Body) -> Any:
        """Set quirks and behaviour: `{"profile":…, "quirks":{…}, "behaviour":{…}}`."""
        unknown = set(body) - {"profile", "quirks", "behaviour"}
        if unknown:
            raise ControlError(f"unknown fields: {', '.join(sorted(unknown))}")
        for engine in self._engines(body):
            settings.apply(engine.quirks, dict(body.get("quirks") or {}))
            settings.apply(engine.behaviour, dict(body.get("behaviour") or {}))
            engine.settings_changed()
        return self.show_config(body)

    def show_config(self, body: Body) -> Any:
        return {
            engine.profile.name: {
                "quirks": settings.shown(engine.quirks),
                "behaviour": settings.shown(engine.behaviour),
            }
            for engine in self._engines(body)
        }

    def price(self, body: Body) -> Any:
        """`{"segment","token","ltp","freeze"}`; without `ltp` the price moves freely again."""
        instrument = self.instrument(body)
        if body.get("ltp") is None:
            self.exchange.prices.release(instrument)
        else:
            price = float(body["ltp"])
            self.exchange.prices.set(instrument, price, bool(body.get("freeze", True)))
        for engine in self.exchange.engines.values():
            engine.matching.touch(instrument)
        return self.show_price(body)

    def show_price(self, body: Body) -> Any:
        instrument = self.instrument(body)
        bid, ask = self.exchange.prices.bid_ask(instrument)
        return {
            "ltp": self.exchange.prices.last(instrument),
            "bid": bid,
            "ask": ask,
            "tick": instrument.tick,
            "lot": instrument.lot,
            "low": instrument.low,
            "high": instrument.high,
            "freeze_limit": instrument.freeze_limit,
            "frozen": self.exchange.prices.is_frozen(instrument),
        }

    def _order_action(self, app_id: str, action: str, body: Body) -> Any:
        number = as_id(app_id)
        for engine in self.exchange.engines.values():
            order = engine.orders.get(number)
            if order is not None:
                return inject.act(engine, order, action, body)
        raise ControlError(f"no order {app_id}")

    def order(self, body: Body) -> Any:
        """An order from elsewhere: a row as given, or with `live` one from the own terminal."""
        if body.get("live"):
            return inject.terminal_order(self.engine(body), self.instrument(body), body)
        return inject.order(self.engine(body), self.instrument(body), body)

    def positions(self, body: Body) -> Any:
        return inject.position(self.engine(body), self.instrument(body), body)

    def holdings(self, body: Body) -> Any:
        return inject.holdings(self.engine(body), body)

    def balance(self, body: Body) -> Any:
        return inject.balance(self.engine(body), body)

    def kill(self, body: Body) -> Any:
        return {"killed": self.exchange.sessions.kill_all(body.get("profile"), body.get("api"))}

    def clock(self, body: Body) -> Any:
        clock = self.exchange.clock
        if "set" in body:
            moment = datetime.fromisoformat(str(body["set"]))
            clock.set(moment if moment.tzinfo else moment.replace(tzinfo=IST))
        if "advance_seconds" in body:
            clock.advance(float(body["advance_seconds"]))
        if "always_open" in body:
            clock.always_open = bool(body["always_open"])
        self.exchange.tick()
        return {"time": clock.ist().isoformat(), "always_open": clock.always_open}

    def master(self, body: Body) -> Any:
        """`malformed` rows, `drop_exchange` list, `truncate` {segment: fraction}, `replace`."""
        catalog = self.exchange.catalog
        for name in [
            *body.get("drop_exchange", []),
            *body.get("truncate", {}),
            *body.get("replace", {}),
        ]:
            if name not in SEGMENT_NUMBERS:
                raise ControlError(f"unknown segment {name!r}")
        if body.get("reset"):
            catalog.reset()
        catalog.malformed = int(body.get("malformed", catalog.malformed))
        if "drop_exchange" in body:
            catalog.dropped = set(body["drop_exchange"])
        if "truncate" in body:
            catalog.truncated = {k: float(v) for k, v in body["truncate"].items()}
        if "replace" in body:
            catalog.replaced = {k: str(v) for k, v in body["replace"].items()}
        return {
            "malformed": catalog.malformed,
            "dropped": sorted(catalog.dropped),
            "truncated": catalog.truncated,
            "replaced": sorted(catalog.replaced),
        }

    def hostlookup(self, body: Body) -> Any:
        made = LookupSettings(**body)
        if made.form not in ("cluster", "interactive", "relative", "bare", "padded"):
            raise ControlError("form must be cluster, interactive, relative, bare or padded")
        self.exchange.lookup = made
        return body


def _answer(status: int, value: Any) -> web.Response:
    return web.Response(status=status, body=dumps(value), content_type="application/json")
