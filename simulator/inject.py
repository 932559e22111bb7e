"""What the control API puts into a venue from outside: fills, foreign orders, books, balances."""

from __future__ import annotations

from typing import Any

from simulator.market.instruments import Instrument
from simulator.oms.accounts import Account, Holding, Position
from simulator.oms.engine import Engine
from simulator.oms.orders import LIMIT, TERMINAL, TYPE_LABELS, Order, Terms

Body = dict[str, Any]


def account_document(account: Account) -> Body:
    """An account as the truth shows it: rupees, signed units."""
    return {
        "key": account.key,
        "client": account.request_client,
        "row_client": account.row_client,
        "login": account.login,
        "cash": round(account.cash, 2),
        "realised": round(account.realised, 2),
        "blocked": round(account.blocked, 2),
        "used": round(account.used, 2),
        "available": round(account.available, 2),
        "positions": [
            {
                "segment": segment,
                "token": token,
                "product": product,
                "net": position.net,
                "average": round(position.average, 4),
                "buy_quantity": position.buy_quantity,
                "sell_quantity": position.sell_quantity,
                "realised": round(position.realised, 2),
            }
            for (segment, token, product), position in account.positions.items()
        ],
        "holdings": {
            isin: {"quantity": held.quantity, "used": held.used, "price": held.price}
            for isin, held in account.holdings.items()
        },
    }


def act(engine: Engine, order: Order, action: str, body: Body) -> Body:
    """fill {quantity?, price?} | reject {reason} | cancel {reason} | acknowledge."""
    if order.status in TERMINAL and action != "show":
        raise ValueError(f"order {order.app_id} is already {order.status}")
    if action == "fill":
        quantity = int(body.get("quantity", order.leaves))
        if not 0 < quantity <= order.leaves:
            raise ValueError(f"quantity must be between 1 and {order.leaves}")
        price = body.get("price")
        if price is None:
            price = order.price or engine.prices.last(order.instrument)
        engine.execute(order, quantity, float(price))
    elif action == "reject":
        engine.reject(order, str(body.get("reason", "16388")))
    elif action == "cancel":
        engine.finish_cancel(order, str(body.get("reason", "")))
    elif action == "status":
        order.status = str(body["status"])
        engine.note(order)
    elif action != "show":
        raise ValueError("action must be fill, reject, cancel, status or show")
    return order_document(order)


def order_document(order: Order) -> Body:
    return {
        "app_order_id": order.app_id,
        "status": order.status,
        "filled": order.filled,
        "quantity": order.quantity,
        "average": order.average,
        "reason": order.reason,
        "client": order.client,
    }


def _account(engine: Engine, body: Body) -> Account:
    found = engine.clients.named(body.get("client"), body.get("user"))
    if found is None:
        raise ValueError("no such account: give client or user of this profile")
    return found


def order(engine: Engine, instrument: Instrument, body: Body) -> Body:
    """Put an order into the books as it stands, without risk, matching or positions.

    `client` that is no account of the venue makes a foreign row, seen in dealer books only.
    """
    name = body.get("client")
    account = engine.clients.named(name, body.get("user"))
    quantity = int(body.get("quantity", instrument.lot))
    kind = str(body.get("order_type", LIMIT))
    if kind not in TYPE_LABELS:
        raise ValueError(f"order_type must be one of {', '.join(TYPE_LABELS)}")
    made = Order(
        app_id=engine.new_id(),
        account=account,
        client=account.row_client if account is not None else str(name),
        login=str(body.get("login", "TERMINAL1")),
        instrument=instrument,
        side=str(body.get("side", "BUY")),
        order_type=kind,
        product=str(body.get("product", "NRML")),
        tif=str(body.get("tif", "DAY")),
        quantity=quantity,
        disclosed=0,
        price=float(body.get("price", engine.prices.last(instrument))),
        stop_price=float(body.get("stop_price", 0)),
        tag=str(body.get("tag", "")),
        source="",
        generated_by="TWS",
        created=engine.clock.wall(),
        status=str(body.get("status", "New")),
        filled=int(body.get("filled", 0)),
        average=float(body.get("average", 0)),
        reason=str(body.get("reason", "")),
    )
    made.exchange_id = engine.exchange_id(made)
    engine.orders[made.app_id] = made
    engine.note(made)
    return order_document(made)


def terminal_order(engine: Engine, instrument: Instrument, body: Body) -> Body:
    """An order entered at the broker's own terminal: real in every way, but not ours."""
    account = _account(engine, body)
    terms = Terms(
        str(body.get("order_type", LIMIT)),
        str(body.get("product", "NRML")),
        str(body.get("tif", "DAY")),
        int(body.get("quantity", instrument.lot)),
        0,
        float(body.get("price", 0)),
        float(body.get("stop_price", 0)),
        str(body.get("tag", "")),
    )
    side = str(body.get("side", "BUY"))
    return order_document(
        engine.submit(account, str(body.get("login", "TERMINAL1")), instrument, side, terms)
    )


def position(engine: Engine, instrument: Instrument, body: Body) -> Body:
    """Set a position: `quantity` signed units at `price`; `carried` puts it into the net book only.

    A `client` that is no account of the venue makes a foreign row, seen in dealer books only.
    """
    quantity, price = int(body["quantity"]), float(body.get("price", 0))
    product = str(body.get("product", "NRML"))
    account = engine.clients.named(body.get("client"), body.get("user"))
    if account is None:
        name = str(body.get("client"))
        known = [a for a in engine.foreign_accounts if a.key == name]
        account = known[0] if known else Account(name, name, name, name, "OTHER1")
        if not known:
            engine.foreign_accounts.append(account)
    price = price or engine.prices.last(instrument)
    made = Position(instrument, product, net=quantity, average=price if quantity else 0.0)
    if body.get("carried"):
        made.carry_quantity, made.carry_price = quantity, price
    elif quantity > 0:
        made.buy_quantity, made.buy_amount = quantity, quantity * price
    elif quantity < 0:
        made.sell_quantity, made.sell_amount = -quantity, -quantity * price
    key = (instrument.segment, instrument.token, product)
    old = account.positions.pop(key, None)
    if old is not None:
        account.used -= old.margin
    if quantity:
        account.positions[key] = made
        made.sequence = engine.sequence()
        account.remargin(made)
    engine.changes.account(account)
    return account_document(account)


def holdings(engine: Engine, body: Body) -> Body:
    """Replace an account's holdings: `holdings` is a list of {isin, nse, bse, quantity, price}."""
    account = _account(engine, body)
    rows = body.get("holdings")
    if not isinstance(rows, list):
        raise ValueError("holdings must be a list")
    account.holdings = {
        str(row["isin"]): Holding(
            str(row["isin"]),
            int(row.get("nse", 0)),
            int(row.get("bse", 0)),
            int(row["quantity"]),
            int(row.get("used", 0)),
            float(row.get("price", 0)),
            int(row.get("collateral", 0)),
        )
        for row in rows
    }
    engine.changes.account(account)
    return account_document(account)


def balance(engine: Engine, body: Body) -> Body:
    """Set `cash` in rupees, or the whole `entries` list (empty: no RMS limit assigned)."""
    account = _account(engine, body)
    if "cash" in body:
        account.cash = float(body["cash"])
    if "entries" in body:
        account.entries = body["entries"]
    engine.changes.account(account)
    return account_document(account)
