"""The end of a trading day: open orders go, CNC becomes holdings, NRML is carried (§17.3)."""

from __future__ import annotations

from simulator.oms.accounts import Account, Holding, Position
from simulator.oms.engine import Engine
from simulator.oms.orders import TERMINAL


def roll(engine: Engine) -> bool:
    """Move a venue to the clock's trading date; True when the date had changed."""
    today = engine.clock.trading_date()
    if today == engine.day:
        return False
    for order in list(engine.orders.values()):
        if order.status not in TERMINAL and not order.foreign:
            engine.finish_cancel(order, "Cancelled at end of day")
    engine.day = today
    engine.orders.clear()
    engine.trades.clear()
    for account in engine.clients.all():
        _settle(account)
    engine.changes.all()
    return True


def _settle(account: Account) -> None:
    account.cash += account.realised
    account.realised = 0.0
    account.blocked = 0.0
    account.used = 0.0
    account.premium_paid = account.premium_received = 0.0
    kept: dict[tuple[str, int, str], Position] = {}
    for key, position in account.positions.items():
        if position.product == "CNC":
            _deliver(account, position)
        elif position.product == "NRML" and position.net:
            carried = Position(
                position.instrument,
                position.product,
                carry_quantity=position.net,
                carry_price=position.average,
                net=position.net,
                average=position.average,
                sequence=position.sequence,
            )
            kept[key] = carried
    account.positions = kept
    for position in kept.values():
        account.remargin(position)
    for held in account.holdings.values():
        held.quantity -= held.used
        held.used = 0
    account.holdings = {k: h for k, h in account.holdings.items() if h.quantity > 0}


def _deliver(account: Account, position: Position) -> None:
    instrument = position.instrument
    account.cash -= position.net * position.average
    if position.net <= 0 or not instrument.isin:
        return
    held = account.holdings.get(instrument.isin)
    if held is None:
        nse = instrument.token if instrument.segment == "NSECM" else 0
        bse = instrument.token if instrument.segment == "BSECM" else 0
        account.holdings[instrument.isin] = Holding(
            instrument.isin, nse, bse, position.net, 0, position.average
        )
    else:
        held.price = (held.price * held.quantity + position.average * position.net) / (
            held.quantity + position.net
        )
        held.quantity += position.net
