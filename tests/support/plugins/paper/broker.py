"""`PaperBroker`: serves instruments and failures by the account's options, and nothing else.

Options: `shares` and `options` are how many rows, `bad` how many bad rows, `lot` every row's lot
size; `mishap` is one of "crash", "hang", "refused", "session", "always dead", "bug", "halfway",
"noise". With `odd` there are rows that have no usable symbol.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from broker.base import (
    AccountConfig,
    Broker,
    BrokerInfo,
    Capabilities,
    Deadline,
    Operation,
    Priority,
    Runtime,
    Slot,
)
from broker.errors import NotSupported, Refused, SessionExpired
from broker.models import (
    BadRow,
    Exchange,
    Found,
    Funds,
    Holding,
    Instrument,
    InstrumentKind,
    ModifyRequest,
    NotSeen,
    OptionType,
    Order,
    OrderRequest,
    Position,
    Session,
    Trade,
)

_SHARE = Instrument(
    Exchange.NSE, "1", InstrumentKind.EQUITY, "SHARE", "EQ", "NSECM", "SHARE-EQ", "A SHARE-EQ", "",
    None, None, None, Decimal("0.05"), 1, None, Decimal(1), None, None,
)


class PaperBroker(Broker):
    """See the module."""

    info = BrokerInfo("paper", "Paper", ())
    capabilities = Capabilities(
        frozenset({Exchange.NSE, Exchange.NFO, Exchange.MCX}), frozenset(), frozenset()
    )

    def __init__(self, account: AccountConfig, runtime: Runtime) -> None:
        self.account = account
        self._session: Session | None = None

    def instruments(
        self, exchanges: Sequence[Exchange] | None = None
    ) -> Iterator[Instrument | BadRow]:
        options = self.account.options
        wanted = self.capabilities.exchanges if exchanges is None else exchanges
        self._mishap(options.get("mishap", ""))
        lot = int(options.get("lot", "1"))
        if Exchange.NSE in wanted:
            for number in range(int(options.get("shares", "10"))):
                yield _SHARE._replace(token=str(number), root=f"SHARE{number}", lot_size=lot)
            if options.get("mishap") == "halfway":
                raise Refused("e-response: the second segment is not served")
        for number in range(int(options.get("bad", "0"))):
            yield BadRow("NSECM", number, "NSECM|x", f"reason {number % 70}")
        if Exchange.NFO in wanted:
            for number in range(int(options.get("options", "20"))):
                yield _SHARE._replace(
                    exchange=Exchange.NFO, kind=InstrumentKind.OPTION, root="NIFTY", lot_size=lot,
                    token=str(number), expiry=date(2026, 11, 24), option_type=OptionType.CE,
                    strike=Decimal(20_000 + 50 * number),
                )
            if "odd" in options:
                yield _SHARE._replace(exchange=Exchange.NFO, kind=InstrumentKind.FUTURE)
                yield _SHARE._replace(root="A\nB", token="901")
                yield _SHARE._replace(root="X" * 70, token="902")

    def _mishap(self, what: str) -> None:
        fresh = self._session is not None and "fresh" in self._session.details
        if what == "crash":
            print("the process dies", file=sys.stderr, flush=True)
            os._exit(9)
        if what == "hang":
            threading.Event().wait()
        if what == "noise":
            print('{"some": "json"}', flush=True)
        if what == "refused":
            raise Refused("e-instrument-0001: no such segment")
        if what == "bug":
            raise RuntimeError("canary-in-a-bug")
        if what == "session" and not fresh:
            raise SessionExpired("Token/Authorization not found")
        if what == "always dead":
            raise SessionExpired("Token/Authorization not found", partial=True)

    def attach(self, session: Session | None) -> None:
        self._session = session

    @property
    def session(self) -> Session | None:
        return self._session

    def login(self, *, deadline: Deadline | None = None) -> Session:
        raise NotSupported("paper has no login")

    def logout(self, session: Session) -> None:
        raise NotSupported("paper has no logout")

    def reserve(
        self, operation: Operation, *, priority: Priority, deadline: Deadline, wait: bool = True
    ) -> Slot:
        raise NotSupported("paper meters nothing")

    def place(self, order: OrderRequest, tag: str, *, slot: Slot, deadline: Deadline) -> str:
        raise NotSupported("paper takes no orders")

    def modify(self, change: ModifyRequest, *, slot: Slot, deadline: Deadline) -> str:
        raise NotSupported("paper takes no orders")

    def cancel(self, order_id: str, *, client: str | None, slot: Slot, deadline: Deadline) -> str:
        raise NotSupported("paper takes no orders")

    def orders(self, *, deadline: Deadline) -> list[Order]:
        raise NotSupported("paper has no books")

    def order_history(self, order_id: str, *, deadline: Deadline) -> list[Order]:
        raise NotSupported("paper has no books")

    def trades(self, *, deadline: Deadline) -> list[Trade]:
        raise NotSupported("paper has no books")

    def positions(self, *, deadline: Deadline, day: bool = False) -> list[Position]:
        raise NotSupported("paper has no books")

    def holdings(self, *, deadline: Deadline) -> list[Holding]:
        raise NotSupported("paper has no books")

    def funds(self, *, deadline: Deadline) -> Funds:
        raise NotSupported("paper has no books")

    def find(self, tag: str, *, deadline: Deadline) -> Found | NotSeen:
        raise NotSupported("paper has no books")

    def self_check(self, *, deadline: Deadline) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing to give back."""


def account(**options: Any) -> AccountConfig:
    """An account whose options are these."""
    return AccountConfig("paper", {}, options={key: str(value) for key, value in options.items()})
