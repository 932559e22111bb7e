"""Puts the rows of a state file back into the books of an exchange that has just started."""

from __future__ import annotations

import json
from typing import Any

from simulator.exchange import Exchange
from simulator.market.instruments import Instrument
from simulator.oms.accounts import Account, Holding, Position
from simulator.oms.engine import Engine
from simulator.oms.orders import PENDING_REPLACE, Order, Report, Trade
from simulator.profiles import Credential
from simulator.state.tables import (
    ACCOUNT_FIELDS,
    ACCOUNTS,
    HOLDING_FIELDS,
    HOLDINGS,
    LOGINS,
    ORDER_FIELDS,
    ORDERS,
    POSITION_FIELDS,
    POSITIONS,
    REPORT_FIELDS,
    REPORTS,
    TRADES,
    VENUES,
    Record,
    Table,
)

Rows = dict[Table, list[Record]]


def restore(exchange: Exchange, engine: Engine, rows: Rows) -> bool:
    """Go on with the venue's day; False when the rows are of another day, or there are none.

    Raises ValueError, TypeError or KeyError when the rows fit neither each other nor the master;
    the venue is then half restored, and `engine.clear()` begins it anew.
    """
    if not rows[VENUES] or rows[VENUES][0]["day"] != engine.clock.trading_date().isoformat():
        return False
    venue = rows[VENUES][0]
    engine.count_on(
        int(venue["last_order"]), int(venue["last_sequence"]), int(venue["last_execution"])
    )
    for record in rows[LOGINS]:
        document = json.loads(record["document"])
        document["client_codes"] = tuple(document["client_codes"])
        exchange.add_credential(Credential(**document))
    accounts = _accounts(engine, rows)
    _orders(engine, accounts, rows)
    _trades(engine, rows)
    return True


def resume(engine: Engine) -> None:
    """Finish what was on its way to the exchange when the process ended."""
    for order in list(engine.orders.values()):
        earlier = [r.status for r in order.reports if r.status != PENDING_REPLACE]
        engine.resume(order, earlier[-1] if earlier else order.status)


def _accounts(engine: Engine, rows: Rows) -> dict[str, Account]:
    accounts: dict[str, Account] = {}
    for record in rows[ACCOUNTS]:
        values = _values(record, ACCOUNT_FIELDS)
        account = engine.clients.get(values["key"])
        if record["elsewhere"]:
            account = Account(**values)
            engine.foreign_accounts.append(account)
        elif account is None:
            raise ValueError(f"no account {values['key']}")
        for name, value in values.items():
            setattr(account, name, value)
        account.entries = None if record["entries"] is None else json.loads(record["entries"])
        account.positions.clear()
        account.holdings.clear()
        accounts[account.key] = account
    for record in rows[POSITIONS]:
        instrument = _instrument(engine, record)
        position = Position(instrument, **_values(record, POSITION_FIELDS))
        key = (instrument.segment, instrument.token, position.product)
        accounts[record["account"]].positions[key] = position
    for record in rows[HOLDINGS]:
        held = Holding(**_values(record, HOLDING_FIELDS))
        accounts[record["account"]].holdings[held.isin] = held
    return accounts


def _orders(engine: Engine, accounts: dict[str, Account], rows: Rows) -> None:
    for record in rows[ORDERS]:
        key = record["account"]
        order = Order(
            account=None if key is None else accounts[key],
            instrument=_instrument(engine, record),
            **_values(record, ORDER_FIELDS),
        )
        engine.orders[order.app_id] = order
        if record["waiting"]:
            engine.matching.hold(order)
    now, mono = engine.clock.wall(), engine.clock.mono()
    for record in rows[REPORTS]:
        values = _values(record, REPORT_FIELDS)
        report = Report(mono=mono - max(now - values["at"], 0.0), **values)
        engine.orders[record["app_id"]].reports.append(report)


def _trades(engine: Engine, rows: Rows) -> None:
    reports = {
        report.sequence: report for order in engine.orders.values() for report in order.reports
    }
    for record in rows[TRADES]:
        order = engine.orders[record["app_id"]]
        trade = Trade(
            order,
            str(record["execution_id"]),
            int(record["place"]),
            int(record["quantity"]),
            float(record["price"]),
            reports[record["sequence"]],
        )
        order.trades.append(trade)
        engine.trades.append(trade)


def _instrument(engine: Engine, record: Record) -> Instrument:
    segment, token, symbol = record["segment"], record["token"], record["symbol"]
    found = engine.catalog.find(segment, token)
    if found is None or found.display != symbol:
        raise ValueError(f"{symbol} is not {segment} {token} of this master")
    return found


def _values(record: Record, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an object, each as its type wants it."""
    return {name: convert(record[name]) for name, convert in fields.items()}
