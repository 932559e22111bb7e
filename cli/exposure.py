"""`exposure`: what is at stake at the brokers now, and the way out of it.

For people in a hurry and for `scripts/rollback.sh`: the working orders and open positions of every
account, read from the brokers' books at this moment, and two commands that end them. What could not
be read is said and makes the command fail; it is never shown as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from broker.base import Deadline
from broker.errors import BrokerError
from cli.support import as_json, command, dump, fail, gateway, operator, table
from database.errors import StorageError
from services.accounts import Account
from services.errors import ServiceError
from services.order_models import ChildResult, ChildStatus, Provenance
from utils.ids import new_request_id

_ORDERS = ("account", "order_id", "side", "quantity", "pending", "symbol", "exchange", "product")
_POSITIONS = ("account", "quantity", "symbol", "exchange", "product", "average_price")
_RESULTS = ("account", "symbol", "quantity", "status", "order_id", "message")
_FLAT_SECONDS = 5.0
_PAUSE = 0.2

Close = Callable[[Account, Provenance], Sequence[ChildResult]]
only_of = click.option("--broker", default="", metavar="NAME", help="Only this broker's accounts.")


@click.group()
def exposure() -> None:
    """Working orders and open positions, and the way out of them."""


@exposure.command("show")
@only_of
@as_json
@command
def show_exposure(broker: str, as_json: bool) -> None:
    """List working orders and open positions as the brokers have them now."""
    found = [_read(account) for account in _accounts(broker)]
    if as_json:
        dump({"at": gateway().clock.now(), "brokers": _brokers(), "accounts": found})
    else:
        table(_flat(found, "orders"), _ORDERS, "No order is working.")
        table(_flat(found, "positions"), _POSITIONS, "No position is open.")
    unread = [f"{row['account']}: {row['error']}" for row in found if row["error"]]
    if unread:
        fail(f"Some books could not be read. {' '.join(unread)}")


@exposure.command("cancel-orders")
@only_of
@as_json
@command
def cancel_orders(broker: str, as_json: bool) -> None:
    """Cancel every working order, also those that came from elsewhere, and verify it."""
    _tell(*_cancel(broker), as_json=as_json)


@exposure.command("square-off")
@only_of
@as_json
@command
def square_off(broker: str, as_json: bool) -> None:
    """Close every open position at the market, and wait until the books show none."""
    _tell(*_close(broker), as_json=as_json)


@exposure.command("end")
@only_of
@click.option("--orders", is_flag=True, help="Cancel the working orders.")
@click.option("--positions", is_flag=True, help="Close the open positions.")
@command
def end(broker: str, orders: bool, positions: bool) -> None:
    """Both, in one process and for scripts: a document of what became of each (JSON)."""
    told: dict[str, Any] = {}
    for wanted, name, work in (
        (orders, "cancel-orders", _cancel), (positions, "square-off", _close)
    ):
        if wanted:
            rows, problems = work(broker)
            told[name] = {"results": rows, "problems": problems}
    dump(told)
    if any(part["problems"] for part in told.values()):
        fail("Not everything was ended.")


def _cancel(broker: str) -> tuple[list[dict[str, Any]], list[str]]:
    def close(account: Account, provenance: Provenance) -> Sequence[ChildResult]:
        return (
            gateway().baskets.cancel_all(operator(), account, provenance=provenance).children
        )

    return _end(broker, close)


def _close(broker: str) -> tuple[list[dict[str, Any]], list[str]]:
    def close(account: Account, provenance: Provenance) -> Sequence[ChildResult]:
        return gateway().baskets.close_positions(operator(), account, provenance=provenance)

    rows, problems = _end(broker, close)
    for account in _accounts(broker):
        try:
            problems += [f"Still open: {row}." for row in _left(account)]
        except (BrokerError, ServiceError) as error:
            problems.append(f"{account.label}: {error.message}")
    return rows, problems


def _accounts(broker: str) -> list[Account]:
    if broker:
        gateway().accounts.broker_class(broker)
    return [row for row in gateway().accounts.all() if broker in ("", row.broker)]


def _brokers() -> list[dict[str, Any]]:
    """Every broker: whether it is offered, and whether any of its accounts is connected."""
    here = gateway()
    connected = {row.broker for row in here.accounts.all() if here.sessions.status(row).connected}
    return [
        {"name": name, "enabled": here.accounts.is_broker_enabled(name)[0],
         "connected": name in connected}
        for name in here.registry.names()
    ]


def _read(account: Account) -> dict[str, Any]:
    """One account's orders and positions, or why they could not be read."""
    facts: dict[str, Any] = {
        "account": account.label, "broker": account.broker, "orders": [], "positions": [],
        "error": "",
    }
    try:
        orders = gateway().portfolio.orders(account, fresh=True)
        positions = gateway().portfolio.positions(account, fresh=True)
    except (BrokerError, ServiceError) as error:
        facts["error"] = error.message
        return facts
    except StorageError as error:
        facts["error"] = str(error)
        return facts
    facts["orders"] = [
        {
            "order_id": row.order_id, "side": row.side.value, "quantity": row.quantity,
            "pending": row.pending_quantity, "symbol": row.symbol, "exchange": row.exchange,
            "product": row.product.value, "price": row.price, "trigger_price": row.trigger_price,
            "state": row.state.value, "reference": row.reference,
        }
        for row in orders
        if row.state.is_open
    ]
    facts["positions"] = [
        {
            "symbol": row.symbol, "exchange": row.exchange, "product": row.product.value,
            "quantity": row.quantity, "average_price": row.average_price, "pnl": row.pnl,
        }
        for row in positions
        if row.quantity
    ]
    return facts


def _flat(found: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [{"account": row["account"], **item} for row in found for item in row[what]]


def _end(broker: str, close: Close) -> tuple[list[dict[str, Any]], list[str]]:
    """Have every account's orders or positions ended: what became of each, and what went wrong."""
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for account in _accounts(broker):
        provenance = Provenance(request_id=new_request_id())
        try:
            results = close(account, provenance)
        except (BrokerError, ServiceError) as error:
            problems.append(f"{account.label}: {error.message}")
            continue
        for child in results:
            rows.append({
                "account": account.label, "symbol": child.symbol, "quantity": child.quantity,
                "status": child.status.value, "order_id": child.order_id,
                "reference": child.reference, "message": child.message,
            })
            if child.status is not ChildStatus.SUCCESS:
                problems.append(f"{account.label}: {child.symbol}: {child.message}")
    return rows, problems


def _tell(rows: list[dict[str, Any]], problems: list[str], *, as_json: bool) -> None:
    """Show it; fail unless every one ended."""
    if as_json:
        dump({"results": rows, "problems": problems})
    else:
        table(rows, _RESULTS, "There was nothing to do.")
    if problems:
        fail(" ".join(problems))


def _left(account: Account) -> list[str]:
    """The positions that the book still shows when the time is up."""
    here = gateway()
    due = Deadline(here.clock, _FLAT_SECONDS)
    while True:
        rows = here.portfolio.positions(account, fresh=True)
        left = [f"{row.quantity} {row.symbol} of {account.label}" for row in rows if row.quantity]
        if not left or due.remaining() < _PAUSE:
            return left
        here.clock.sleep(_PAUSE)
