"""Positions, holdings and balance as XTS shows them: mostly text, misspellings kept (§7.7-7.9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from simulator.clock import IST
from simulator.envelope import dumps
from simulator.market.prices import PriceBook
from simulator.oms.accounts import Account, Holding, Position
from simulator.oms.orders import BUY, Trade
from simulator.profiles import SEGMENT_NUMBERS, Profile
from simulator.settings import Quirks

DAY, NET = "DayWise", "NetWise"


class _Texts:
    """Numbers as text: plainly, or as carelessly as some servers write them (§5.5)."""

    def __init__(self, loose: bool) -> None:
        self.loose = loose

    def money(self, value: float) -> str:
        return f"{value:,.2f}" if self.loose else f"{value:.2f}"

    def average(self, amount: float, quantity: int) -> str:
        if quantity:
            return self.money(amount / quantity)
        return "" if self.loose else "0.00"

    def profit(self, value: float, known: bool) -> str:
        return "NaN" if self.loose and not known else self.money(value)


def position_row(
    account: Account,
    position: Position,
    which: str,
    profile: Profile,
    quirks: Quirks,
    prices: PriceBook,
) -> dict[str, Any] | None:
    """A position row of the day or net book; None when that book has no row for it."""
    instrument = position.instrument
    buy, buy_amount = position.buy_quantity, position.buy_amount
    sell, sell_amount = position.sell_quantity, position.sell_amount
    if which == NET:
        carried = position.carry_quantity
        if carried > 0:
            buy += carried
            buy_amount += carried * position.carry_price
        elif carried < 0:
            sell -= carried
            sell_amount -= carried * position.carry_price
    if not buy and not sell:
        return None
    unit = instrument.lot if instrument.segment in profile.lot_quantities else 1
    net = buy - sell
    realised = unrealised = 0.0
    texts = _Texts(quirks.loose_numbers)
    computed = quirks.mtm == "computed"
    if computed:
        matched = min(buy, sell)
        if matched:
            realised = matched * (sell_amount / sell - buy_amount / buy) * instrument.multiplier
        if net:
            basis = buy_amount / buy if net > 0 else sell_amount / sell
            unrealised = net * (prices.last(instrument) - basis) * instrument.multiplier
    basis_text = texts.average(buy_amount, buy) if net >= 0 else texts.average(sell_amount, sell)
    return {
        "AccountID": account.position_client,
        "TradingSymbol": instrument.trading_symbol,
        "ExchangeSegment": instrument.segment,
        "ExchangeInstrumentId": str(instrument.token),
        "ProductType": position.product,
        "Marketlot": str(instrument.lot),
        "Multiplier": f"{instrument.multiplier:g}",
        "BuyAveragePrice": texts.average(buy_amount, buy),
        "SellAveragePrice": texts.average(sell_amount, sell),
        "OpenBuyQuantity": str(buy // unit),
        "OpenSellQuantity": str(sell // unit),
        "Quantity": str(net // unit if net >= 0 else -(-net // unit)),
        "BuyAmount": texts.money(buy_amount),
        "SellAmount": texts.money(sell_amount),
        "NetAmount": texts.money(sell_amount - buy_amount),
        "UnrealizedMTM": texts.profit(unrealised, computed),
        "RealizedMTM": texts.profit(realised, computed),
        "MTM": texts.profit(realised + unrealised, computed),
        "BEP": basis_text if net else "0.00",
        "SumOfTradedQuantityAndPriceBuy": texts.money(buy_amount / unit),
        "SumOfTradedQuantityAndPriceSell": texts.money(sell_amount / unit),
        "ActualBuyAmount": texts.money(buy_amount),
        "ActualSellAmount": texts.money(sell_amount),
        "ActualBuyAveragePrice": texts.average(buy_amount, buy),
        "ActualSellAveragePrice": texts.average(sell_amount, sell),
        "LoginID": account.login,
        "statisticsLevel": "ParentLevel",
        "isInterOpPosition": "true",
        "childPositions": {},
        "MessageCode": 9002,
        "MessageVersion": 1,
        "TokenID": 0,
        "ApplicationType": 0,
        "SequenceNumber": position.sequence,
    }


def position_rows(
    accounts: list[Account],
    which: str,
    profile: Profile,
    quirks: Quirks,
    prices: PriceBook,
    unseen: Sequence[Trade] = (),
) -> list[bytes]:
    """All rows of some accounts, as JSON; `unseen` are executions that have not arrived here."""
    rows: list[bytes] = []
    for account in accounts:
        for position in account.positions.values():
            if unseen:
                position = _without(account, position, unseen)
            row = position_row(account, position, which, profile, quirks, prices)
            if row is not None:
                rows.append(dumps(row))
    return rows


def _without(account: Account, position: Position, unseen: Sequence[Trade]) -> Position:
    """The position as it was before these executions; only what its row tells is right in it."""
    earlier = replace(position)
    for trade in unseen:
        order = trade.order
        if order.account is not account or order.product != position.product:
            continue
        if order.instrument is not position.instrument:
            continue
        amount = trade.quantity * trade.price
        if order.side == BUY:
            earlier.buy_quantity -= trade.quantity
            earlier.buy_amount -= amount
        else:
            earlier.sell_quantity -= trade.quantity
            earlier.sell_amount -= amount
    return earlier


def holdings(account: Account, quirks: Quirks, at: float) -> dict[str, Any]:
    """`result` of holdings in either of its two shapes (§7.8)."""
    created = datetime.fromtimestamp(at, IST).strftime("%Y-%m-%dT00:00:00")
    by_isin = {
        held.isin: _holding(account, held, number, created)
        for number, held in enumerate(account.holdings.values(), 1)
    }
    if quirks.holdings_shape == "isin":
        return {"ClientId": account.position_client, "RMSHoldings": {"Holdings": by_isin}}
    return {
        "ClientId": account.position_client,
        "RMSHoldingList": [{"Holdings": {isin: row}} for isin, row in by_isin.items()],
        "CollateralHoldingList": [],
    }


def _holding(account: Account, held: Holding, number: int, created: str) -> dict[str, Any]:
    return {
        "ISIN": held.isin,
        "RMSHoldingId": number,
        "ClientId": account.position_client,
        "ExchangeNSEInstrumentId": held.nse,
        "ExchangeBSEInstrumentId": held.bse,
        "ExchangeMSEInstrumentId": 0,
        "HoldingType": 2,
        "HoldingQuantity": held.quantity,
        "CollateralValuationType": 1,
        "Haircut": 0,
        "CollateralQuantity": held.collateral,
        "CreatedBy": "ADMIN",
        "LastUpdatedBy": "ADMIN",
        "CreatedOn": created,
        "LastUpdatedOn": created,
        "UsedQuantity": held.used,
        "IsCollateralHolding": False,
        "BuyAvgPrice": held.price,
        "IsBuyAvgPriceProvided": held.price > 0,
        "AuthorizeQuantity": 0,
        "IsNeedToDelete": False,
    }


def balance(account: Account, quirks: Quirks) -> list[dict[str, Any]]:
    """`BalanceList` (§7.9); the entry that counts is not the first one."""
    if account.entries is not None:
        return account.entries
    utilised = account.blocked + account.used
    texts = _Texts(quirks.loose_numbers)
    cash = texts.money(account.cash)
    other = {
        "limitHeader": "CASH|NSE|MTF",
        "limitObject": {
            "RMSSubLimits": {
                "cashAvailable": "0",
                "collateral": 0,
                "marginUtilized": "0",
                "netMarginAvailable": "0",
                "MTM": "0",
                "UnrealizedMTM": "0",
                "RealizedMTM": "0",
            },
            "AccountID": account.position_client,
        },
    }
    every = {
        "limitHeader": "ALL|ALL|ALL",
        "limitObject": {
            "RMSSubLimits": {
                "cashAvailable": cash,
                "collateral": 0,
                "marginUtilized": texts.money(utilised),
                "netMarginAvailable": texts.money(account.available),
                "MTM": texts.money(account.realised),
                "UnrealizedMTM": "0",
                "RealizedMTM": texts.money(account.realised),
            },
            "marginAvailable": {
                "CashMarginAvailable": cash,
                "AdhocMargin": "0",
                "NotinalCash": "0",
                "PayInAmount": "0",
                "PayOutAmount": "0",
                "CNCSellBenifit": "0",
                "DirectCollateral": "0",
                "HoldingCollateral": "0",
                "ClientBranchAdhoc": "0",
                "SellOptionsPremium": texts.money(account.premium_received),
                "NetOptionPremium": texts.money(account.premium_received - account.premium_paid),
                "BuyOptionsPremium": texts.money(account.premium_paid),
                "TotalBranchAdhoc": "0",
                "AdhocFOMargin": "NaN",
                "AdhocCurrencyMargin": "NaN",
                "AdhocCommodityMargin": "NaN",
            },
            "marginUtilized": {
                "GrossExposureMarginPresent": "0",
                "BuyExposureMarginPresent": "0",
                "SellExposureMarginPresent": "0",
                "VarELMarginPresent": "0",
                "ScripBasketMarginPresent": "0",
                "GrossExposureLimitPresent": "0",
                "BuyExposureLimitPresent": "0",
                "SellExposureLimitPresent": "0",
                "CNCLimitUsed": "0",
                "CNCAmountUsed": "0",
                "MarginUsed": texts.money(utilised),
                "LimitUsed": "NaN",
                "TotalSpanMargin": texts.money(utilised * 0.8),
                "ExposureMarginPresent": texts.money(utilised * 0.2),
            },
            "limitsAssigned": dict.fromkeys(_ASSIGNED, "0"),
            "AccountID": account.position_client,
        },
    }
    return [other, every]


_ASSIGNED = (
    "CNCLimit",
    "TurnoverLimitPresent",
    "MTMLossLimitPresent",
    "BuyExposureLimit",
    "SellExposureLimit",
    "GrossExposureLimit",
    "GrossExposureDerivativesLimit",
    "BuyExposureFuturesLimit",
    "BuyExposureOptionsLimit",
    "SellExposureOptionsLimit",
    "SellExposureFuturesLimit",
)


def profile_document(account: Account, profile: Profile, pro: bool) -> dict[str, Any]:
    """`result` of the profile call (§7.10); every personal detail is invented."""
    code = account.position_client
    document: dict[str, Any] = {
        "ClientId": code,
        "ClientName": "SIMULATED CLIENT",
        "EmailId": "client@simulator.invalid",
        "MobileNo": "9000000000",
        "PAN": "AAAAA0000A",
        "IncludeInAutoSquareoff": False,
        "IncludeInAutoSquareoffBlocked": False,
        "IsProClient": pro,
        "IsInvestorClient": profile.investor,
        "ResidentialAddress": "1 Sandbox Street",
        "OfficeAddress": "",
        "ClientBankInfoList": [
            {
                "ClientId": code,
                "AccountNumber": "000000000001",
                "AccountType": "SAVING",
                "BankName": "SIMULATED BANK",
                "BankBranchName": "LOOPBACK",
                "BankCity": "LOCALHOST",
                "CustomerId": "1",
                "BankCityPincode": "400001",
                "BankIFSCCode": "SIMU0000001",
            }
        ],
        "ClientExchangeDetailsList": {
            name: {
                "ClientId": code,
                "ExchangeSegNumber": number,
                "Enabled": True,
                "ParticipantCode": "",
            }
            for name, number in SEGMENT_NUMBERS.items()
        },
    }
    if pro:
        document["Dealer"] = {"AllowedProOrder": True, "ProClientId": code}
    return document
