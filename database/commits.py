"""Joins what threads want to commit at the same time into one transaction (SQLite).

SQLite has one writer. Sixteen orders that each take their turn pay sixteen times for the beginning,
the commit and the wait for the disk. Here whoever comes while another commits hands its work to a
queue, and the first of the queue commits for all (docs/decisions/0100). Nobody waits for company:
a thread that finds nobody committing begins at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, cast

from sqlalchemy import Connection

from database.errors import DatabaseUnavailable

T = TypeVar("T")

Work = Callable[[Connection], T]

MOST = 32
"""Works in one transaction at most, so that nobody waits for a crowd."""


class _Write(Protocol):
    def __call__(self, durable: bool) -> AbstractContextManager[Connection]: ...


class _Ticket:
    """One thread's work, and what became of it. `gate` is held until there is news for it."""

    __slots__ = ("durable", "error", "gate", "leads", "over", "result", "work")

    def __init__(self, work: Work[Any], durable: bool) -> None:
        self.work = work
        self.durable = durable
        self.gate = threading.Lock()
        self.leads = False
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None


class Commits:
    """The queue of one database in one process. `patience`: seconds that a turn is waited for."""

    def __init__(self, write: _Write, patience: float) -> None:
        self._write = write
        self._patience = patience
        self._guard = threading.Lock()
        self._busy = False
        self._queue: list[_Ticket] = []

    def run(self, work: Work[T], *, durable: bool = True) -> T:
        """What `work` returned, committed; raises what it raised, and then nothing of it stands.

        `work` only reads and writes the connection, for it may be run a second time: when one of
        several raises, the transaction is rolled back and each is run in one of its own. It may
        run in another thread. If any of them is durable, all of them wait for the disk.
        """
        mine = _Ticket(work, durable)
        with self._guard:
            self._queue.append(mine)
            if self._busy:
                mine.gate.acquire()
            else:
                self._busy = mine.leads = True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return cast(T, mine.result)

    def _wait(self, mine: _Ticket) -> None:
        """Until the work is over or this thread's turn to commit has come."""
        if mine.gate.acquire(timeout=self._patience):
            return
        with self._guard:
            if mine in self._queue and not mine.leads:
                self._queue.remove(mine)
                raise DatabaseUnavailable("the database is busy: other writes take too long")
        mine.gate.acquire()  # somebody is committing it at this moment

    def _lead(self, mine: _Ticket) -> None:
        """Commit for everyone in the queue, and pass the turn on."""
        with self._guard:
            batch, self._queue = self._queue[:MOST], self._queue[MOST:]
        try:
            self._commit(batch)
        finally:
            with self._guard:
                self._busy = bool(self._queue)
                if self._busy:
                    self._queue[0].leads = True
                    self._queue[0].gate.release()
            for ticket in batch:
                if not ticket.over:
                    ticket.error = DatabaseUnavailable("the write was broken off")
                if ticket is not mine:
                    ticket.gate.release()

    def _commit(self, batch: list[_Ticket]) -> None:
        if len(batch) > 1:
            try:
                with self._write(any(ticket.durable for ticket in batch)) as conn:
                    for ticket in batch:
                        ticket.result = ticket.work(conn)
            except DatabaseUnavailable as error:
                for ticket in batch:
                    ticket.error = DatabaseUnavailable(str(error))
                    ticket.over = True
                return
            except Exception:  # noqa: S110 - whose it was shows when each runs alone
                pass
            else:
                for ticket in batch:
                    ticket.over = True
                return
        for ticket in batch:
            try:
                with self._write(ticket.durable) as conn:
                    ticket.result = ticket.work(conn)
            except Exception as error:
                ticket.error = error
            ticket.over = True
