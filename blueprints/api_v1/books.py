"""The account's books: orders, trades, positions, holdings, funds (REST reference §9, §10)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from blueprints.api_v1.endpoint import Call, Routes
from blueprints.api_v1.schemas import AccountRequest
from blueprints.api_v1.translate import (
    ACTION_WORDS,
    PRICETYPE_WORDS,
    PRODUCT_WORDS,
    STATUS_WORDS,
    moment,
    money_text,
    number,
)
from blueprints.http import Body
from services.portfolio_views import HoldingView, OrderView, PositionView, TradeView
from services.vocabulary import OrderState, Side

routes = Routes("Account")


def order_row(view: OrderView) -> dict[str, Any]:
    """One order; keys in alphabetical order. What OpenAlgo does not have is ours and optional."""
    return {
        "action": ACTION_WORDS[view.side],
        "average_price": number(view.average_price),
        "exchange": view.exchange,
        "filled_quantity": view.filled_quantity,
        "order_status": STATUS_WORDS[view.state],
        "orderid": view.order_id,
        "ours": view.ours,
        "pending_quantity": view.pending_quantity,
        "price": number(view.price),
        "pricetype": PRICETYPE_WORDS[view.order_type],
        "product": PRODUCT_WORDS[view.product],
        "quantity": view.quantity,
        "rejection_reason": view.reason,
        "strategy": view.strategy,
        "symbol": view.symbol,
        "timestamp": moment(view.placed_at),
        "trigger_price": number(view.trigger_price),
    }


def order_statistics(views: Sequence[OrderView]) -> dict[str, int]:
    """Counts over the order book; working orders of every kind count as open."""
    buys = complete = rejected = waiting = working = 0
    for view in views:
        buys += view.side is Side.BUY
        state = view.state
        if state is OrderState.FILLED:
            complete += 1
        elif state is OrderState.REJECTED:
            rejected += 1
        elif state is OrderState.TRIGGER_PENDING:
            waiting += 1
        elif state.is_open:
            working += 1
    return {
        "total_buy_orders": buys,
        "total_completed_orders": complete,
        "total_open_orders": working,
        "total_rejected_orders": rejected,
        "total_sell_orders": len(views) - buys,
        "total_trigger_pending_orders": waiting,
    }


@routes.post("/orderbook", AccountRequest)
def orderbook(call: Call[AccountRequest]) -> Body:
    """Today's orders."""
    views = call.gateway.portfolio.orders(call.account)
    return {
        "data": {
            "orders": [order_row(view) for view in views],
            "statistics": order_statistics(views),
        },
        "status": "success",
    }


def _trade_row(view: TradeView) -> dict[str, Any]:
    return {
        "action": ACTION_WORDS[view.side],
        "average_price": number(view.price),
        "exchange": view.exchange,
        "orderid": view.order_id,
        "ours": view.ours,
        "product": PRODUCT_WORDS[view.product],
        "quantity": view.quantity,
        "strategy": view.strategy,
        "symbol": view.symbol,
        "timestamp": moment(view.traded_at),
        "trade_value": number(view.value),
        "tradeid": view.trade_id,
    }


@routes.post("/tradebook", AccountRequest)
def tradebook(call: Call[AccountRequest]) -> Body:
    """Today's executions."""
    views = call.gateway.portfolio.trades(call.account)
    return {"data": [_trade_row(view) for view in views], "status": "success"}


def _position_row(view: PositionView) -> dict[str, Any]:
    return {
        "average_price": number(view.average_price),
        "exchange": view.exchange,
        "ltp": number(view.ltp),
        "pnl": number(view.pnl),
        "pnl_source": view.pnl_source.value,
        "product": PRODUCT_WORDS[view.product],
        "quantity": view.quantity,
        "symbol": view.symbol,
    }


@routes.post("/positionbook", AccountRequest)
def positionbook(call: Call[AccountRequest]) -> Body:
    """Net positions; `pnl_source` says whose number the profit or loss is."""
    views = call.gateway.portfolio.positions(call.account)
    return {"data": [_position_row(view) for view in views], "status": "success"}


def _holding_row(view: HoldingView) -> dict[str, Any]:
    return {
        "average_price": number(view.average_price),
        "exchange": view.exchange,
        "ltp": number(view.ltp),
        "pnl": number(view.pnl),
        "pnlpercent": round(float(view.pnl_percent), 2),
        "product": "CNC",
        "quantity": view.quantity,
        "symbol": view.symbol,
    }


def _holding_statistics(views: Sequence[HoldingView]) -> dict[str, float]:
    invested = sum((view.average_price * view.quantity for view in views), Decimal(0))
    profit = sum((view.pnl for view in views), Decimal(0))
    percent = profit / invested * 100 if invested else Decimal(0)
    return {
        "totalholdingvalue": round(float(invested + profit), 2),
        "totalinvvalue": round(float(invested), 2),
        "totalpnlpercentage": round(float(percent), 2),
        "totalprofitandloss": round(float(profit), 2),
    }


@routes.post("/holdings", AccountRequest)
def holdings(call: Call[AccountRequest]) -> Body:
    """Shares in the demat account."""
    views = call.gateway.portfolio.holdings(call.account)
    return {
        "data": {
            "holdings": [_holding_row(view) for view in views],
            "statistics": _holding_statistics(views),
        },
        "status": "success",
    }


@routes.post("/funds", AccountRequest)
def funds(call: Call[AccountRequest]) -> Body:
    """Money in the account: text with two decimals, in rupees."""
    found = call.gateway.portfolio.funds(call.account)
    return {
        "data": {
            "availablecash": money_text(found.available),
            "collateral": money_text(found.collateral),
            "m2mrealized": money_text(found.realised),
            "m2munrealized": money_text(found.unrealised),
            "utiliseddebits": money_text(found.utilised),
        },
        "status": "success",
    }
