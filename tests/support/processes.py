"""One process of a gateway with its order services, and what its journal says."""

from __future__ import annotations

from datetime import UTC, datetime

from database import journal
from database.journal import Intent, IntentEvent
from services.access import Principal
from services.market_data import MarketDataService
from services.order_desk import OrderDesk, build_order_desk
from services.risk_limits import RiskLimitService
from services.symbols import SymbolService
from tests.support.stacks import Stack


class Process:
    """The order services over a `Stack`, its first user and its default account."""

    def __init__(self, stack: Stack, symbols: SymbolService, *, timeout: float = 10.0) -> None:
        self.stack = stack
        self.database = stack.database
        self.clock = stack.clock
        self.account = stack.account
        self.limits = RiskLimitService(
            stack.database, stack.settings, stack.flags, stack.clock
        )
        self.desk: OrderDesk = build_order_desk(
            database=stack.database,
            accounts=stack.accounts,
            sessions=stack.sessions,
            symbols=symbols,
            market_data=MarketDataService(stack.sessions, stack.accounts, symbols, stack.clock),
            flags=stack.flags,
            limits=self.limits,
            alarms=stack.alarms,
            locks=stack.locks,
            clock=stack.clock,
            timeout=timeout,
            late=stack.folder / "late",
        )
        self.principal: Principal = stack.access.verify_login(
            "asha", "a long password of asha"
        ) or stack.user("asha")

    def intent(self, reference: str) -> Intent:
        """The journal's entry."""
        with self.database.read() as conn:
            found = journal.get(conn, reference)
        assert found is not None
        return found

    def events(self, reference: str) -> list[IntentEvent]:
        """The journal's events."""
        with self.database.read() as conn:
            return journal.events(conn, self.intent(reference).id)

    def states(self, reference: str) -> list[str]:
        """The states that the journal went through; an event that changed none is left out."""
        states: list[str] = []
        for event in self.events(reference):
            if not states or states[-1] != event.state.value:
                states.append(event.state.value)
        return states

    def intents(self) -> list[Intent]:
        """All intents, the oldest first."""
        with self.database.read() as conn:
            found = journal.list_intents(
                conn, [self.account.id], datetime(2000, 1, 1, tzinfo=UTC), limit=10_000
            )
        return found[::-1]

    def alarms(self) -> list[str]:
        """The rules of the open alarms."""
        return sorted(alarm.rule for alarm in self.stack.alarms.list())
