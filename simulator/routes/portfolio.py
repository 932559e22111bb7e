"""Interactive REST: positions, holdings, conversion and square-off (§7.7, §7.8)."""

from __future__ import annotations

from simulator.envelope import Reply, XtsError, error, invalid, success, success_raw
from simulator.exchange import Context
from simulator.oms import desk, portfolio
from simulator.oms.accounts import Account, Position
from simulator.oms.engine import Engine
from simulator.oms.orders import BUY, MARKET, SELL, Terms
from simulator.oms.risk import products_of
from simulator.oms.rows import array
from simulator.oms.validation import choice, instrument_of, text, whole
from simulator.profiles import SEGMENT_NUMBERS
from simulator.routes.interactive import TABLE

_MODES = (portfolio.DAY, portfolio.NET)


def _positions(ctx: Context, accounts: list[Account]) -> tuple[bytes, bool]:
    which = ctx.query.get("dayOrNet", "")
    if which not in _MODES:
        raise invalid(
            "dayOrNet",
            f"must be one of [{', '.join(_MODES)}]",
            location="query",
            kind="any.allowOnly",
        )
    engine = ctx.engine
    cutoff = ctx.cutoff
    unseen = [] if cutoff is None else [t for t in engine.trades if t.report.mono > cutoff]
    rows = portfolio.position_rows(
        accounts, which, engine.profile, engine.quirks, engine.prices, unseen
    )
    body = array(rows)
    if not engine.quirks.positions_bare:
        body = b'{"positionList":' + body + b"}"
    return body, bool(rows)


@TABLE.add("GET", "/portfolio/positions", limit="positions")
def positions(ctx: Context) -> Reply:
    accounts = ctx.engine.clients.for_book(ctx.who.credential, ctx.client)
    body, found = _positions(ctx, accounts)
    if not found:
        return error("e-portfolio-0005", "Data Not Available")
    return success_raw("s-portfolio-0001", "Success position", body)


@TABLE.add("GET", "/portfolio/dealerpositions", limit="dealer_positions")
def dealer_positions(ctx: Context) -> Reply:
    accounts = ctx.engine.clients.for_dealer_book(ctx.who.credential, ctx.client)
    foreign = ctx.engine.foreign_accounts
    body, found = _positions(ctx, [*accounts, *foreign])
    if not found and ctx.engine.quirks.empty_dealer_positions == "error":
        return error("e-portfolio-0005", "Data Not Available")
    return success_raw("s-portfolio-0001", "Success position", body)


@TABLE.add("GET", "/portfolio/holdings", limit="holdings")
def holdings(ctx: Context) -> Reply:
    account = ctx.engine.clients.for_holdings(ctx.who.credential, ctx.client)
    if not account.holdings:
        return error("e-holdings-0005", "Data Not Available")
    result = portfolio.holdings(account, ctx.engine.quirks, ctx.exchange.clock.wall())
    return success("s-portfolio-0013", "Success holdings", result)


def _account(ctx: Context) -> Account:
    account = ctx.engine.clients.for_order(ctx.who.credential, text(ctx.body, "clientID"))
    if account is None:
        raise XtsError("e-trade-00002", "Supplied client not mapped under dealer")
    return account


@TABLE.add("PUT", "/portfolio/positions/convert", limit="convert")
def convert(ctx: Context) -> Reply:
    engine, body = ctx.engine, ctx.body
    account = _account(ctx)
    segment = choice(body, "exchangeSegment", tuple(SEGMENT_NUMBERS))
    instrument = instrument_of(engine.catalog, segment, whole(body, "exchangeInstrumentID"))
    allowed = products_of(segment)
    old = choice(body, "oldProductType", allowed)
    new = choice(body, "newProductType", allowed)
    quantity = whole(body, "targetQty")
    if old == new or quantity <= 0:
        raise invalid("targetQty", "must be larger than or equal to 1", kind="number.min")
    source = account.positions.get((segment, instrument.token, old))
    if source is None or abs(source.net) < quantity:
        raise XtsError("e-portfolio-0004", "Quantity is more than the open position")
    _move(engine, account, source, account.position(instrument, new), quantity)
    if engine.listeners:
        engine.publish("tradeConversion", (account, source, old, new, quantity))
    return success("s-portfolio-0005", "Position conversion successful", {"CovertedQty": quantity})


def _move(
    engine: Engine, account: Account, source: Position, target: Position, quantity: int
) -> None:
    """Take `quantity` out of one product row and put it into another, at its average price."""
    sign = 1 if source.net > 0 else -1
    price = source.average
    if sign > 0:
        today = min(quantity, source.buy_quantity)
        if source.buy_quantity:
            source.buy_amount -= source.buy_amount / source.buy_quantity * today
        source.buy_quantity -= today
    else:
        today = min(quantity, source.sell_quantity)
        if source.sell_quantity:
            source.sell_amount -= source.sell_amount / source.sell_quantity * today
        source.sell_quantity -= today
    source.carry_quantity -= sign * (quantity - today)
    source.net -= sign * quantity
    if source.net == 0:
        source.average = 0.0
    account.realised += target.trade(sign, quantity, price)
    account.remargin(source)
    account.remargin(target)
    source.sequence = engine.sequence()
    target.sequence = engine.sequence()
    engine.changes.account(account)


@TABLE.add("PUT", "/portfolio/squareoff")
def square_off(ctx: Context) -> Reply:
    engine, body = ctx.engine, ctx.body
    account = _account(ctx)
    segment = choice(body, "exchangeSegment", tuple(SEGMENT_NUMBERS))
    instrument = instrument_of(engine.catalog, segment, whole(body, "exchangeInstrumentID"))
    product = choice(body, "productType", ("MIS", "NRML", "CNC", "MTF"))
    choice(body, "squareoffMode", _MODES)
    measure = choice(body, "positionSquareOffQuantityType", ("Percentage", "ExactQty"))
    value = whole(body, "squareOffQtyValue")
    position = account.positions.get((segment, instrument.token, product))
    if position is None or position.net == 0:
        raise XtsError("e-portfolio-0005", "Data Not Available")
    if body.get("cancelOrders") in (True, "true"):
        desk.cancel_all(engine, [account], segment, instrument.token)
    quantity = abs(position.net)
    if measure == "Percentage":
        if not 1 <= value <= 100:
            raise invalid("squareOffQtyValue", "must be between 1 and 100", kind="number.range")
        quantity = quantity * value // 100 // instrument.lot * instrument.lot
    else:
        quantity = min(value, quantity)
    if quantity <= 0:
        raise invalid("squareOffQtyValue", "must be larger than or equal to 1")
    _close(engine, account, ctx.who.user_id, position, quantity)
    return success("s-portfolio-0002", "Request sent", {})


@TABLE.add("PUT", "/portfolio/squareoffall")
def square_off_all(ctx: Context) -> Reply:
    engine = ctx.engine
    account = _account(ctx)
    choice(ctx.body, "squareoffMode", _MODES)
    open_rows = [p for p in account.positions.values() if p.net]
    if not open_rows:
        raise XtsError("e-portfolio-0005", "Data Not Available")
    for position in open_rows:
        _close(engine, account, ctx.who.user_id, position, abs(position.net))
    return success("s-portfolio-0003", "Request sent", {})


def _close(engine: Engine, account: Account, login: str, position: Position, quantity: int) -> None:
    instrument = position.instrument
    in_lots = instrument.segment in engine.profile.lot_quantities
    side = SELL if position.net > 0 else BUY
    terms = Terms(
        MARKET,
        position.product,
        "DAY",
        quantity // instrument.lot if in_lots else quantity,
        0,
        0.0,
        0.0,
        "",
    )
    engine.submit(account, login, instrument, side, terms)
