"""Replays the calls that XTS SDKs make, written from the reference with httpx: paths, raw token.

It shares nothing with the product's own client, so the two can disagree.
"""

from __future__ import annotations

from typing import Any

import httpx

from simulator.testing import Simulator, credential

STARS = "*****"
RELIANCE = 2885


class XtsClient:
    """One login of one profile, logged in to both APIs unless told otherwise."""

    def __init__(
        self, sim: Simulator, profile: str, label: str | None = None, *, login: bool = True
    ) -> None:
        self.sim = sim
        self.profile = profile
        self.credential = credential(profile, label)
        self.http = httpx.Client(base_url=sim.url, timeout=10.0, trust_env=False)
        self.market_prefix = "/apibinarymarketdata"
        if profile == "generic-json":
            self.market_prefix = "/apimarketdata"
        self.token = self.market_token = ""
        if login:
            self.login()
            self.market_login()

    @property
    def client(self) -> str:
        """The clientID that this login trades with."""
        if self.profile in ("jainam-a", "jainam-b") and self.credential["role"] == "pro":
            return STARS
        return str(self.credential["client_codes"][0])

    def close(self) -> None:
        self.http.close()

    # -- sessions --------------------------------------------------------------------------

    def login_body(self, **extra: Any) -> dict[str, Any]:
        return {
            "appKey": self.credential["interactive_key"],
            "secretKey": self.credential["interactive_secret"],
            "source": "WEBAPI",
            **extra,
        }

    def market_body(self) -> dict[str, Any]:
        return {
            "appKey": self.credential["market_key"],
            "secretKey": self.credential["market_secret"],
            "source": "WEBAPI",
        }

    def login(self) -> dict[str, Any]:
        answer = self.http.post("/interactive/user/session", json=self.login_body())
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()["result"]
        self.token = result["token"]
        return result

    def market_login(self) -> dict[str, Any]:
        answer = self.http.post(f"{self.market_prefix}/auth/login", json=self.market_body())
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()["result"]
        self.market_token = result["token"]
        return result

    # -- raw calls -------------------------------------------------------------------------

    def call(
        self, method: str, path: str, *, json: Any = None, base: str = "/interactive", **query: Any
    ) -> httpx.Response:
        """An interactive call with the raw token in Authorization."""
        return self.http.request(
            method,
            f"{base}{path}",
            params=query or None,
            json=json,
            headers={"Authorization": self.token},
        )

    def market(self, method: str, path: str, *, json: Any = None, **query: Any) -> httpx.Response:
        """A market-data call."""
        return self.http.request(
            method,
            f"{self.market_prefix}{path}",
            params=query or None,
            json=json,
            headers={"Authorization": self.market_token},
        )

    # -- orders ----------------------------------------------------------------------------

    def order_body(self, **changes: Any) -> dict[str, Any]:
        """A MARKET BUY of 10 RELIANCE, MIS, changed as told."""
        body = {
            "exchangeSegment": "NSECM",
            "exchangeInstrumentID": RELIANCE,
            "productType": "MIS",
            "orderType": "MARKET",
            "orderSide": "BUY",
            "timeInForce": "DAY",
            "disclosedQuantity": 0,
            "orderQuantity": 10,
            "limitPrice": 0,
            "stopPrice": 0,
            "orderUniqueIdentifier": "T-1",
            "clientID": self.client,
        }
        return {**body, **changes}

    def place(self, **changes: Any) -> httpx.Response:
        return self.call("POST", "/orders", json=self.order_body(**changes))

    def placed(self, **changes: Any) -> int:
        """Place and return the AppOrderID."""
        answer = self.place(**changes)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["result"]["AppOrderID"])

    def modify(self, app_id: int, **changes: Any) -> httpx.Response:
        body = {
            "appOrderID": app_id,
            "modifiedProductType": "MIS",
            "modifiedOrderType": "LIMIT",
            "modifiedOrderQuantity": 10,
            "modifiedDisclosedQuantity": 0,
            "modifiedLimitPrice": 1100,
            "modifiedStopPrice": 0,
            "modifiedTimeInForce": "DAY",
            "orderUniqueIdentifier": "T-1",
            "clientID": self.client,
        }
        return self.call("PUT", "/orders", json={**body, **changes})

    def cancel(self, app_id: int, **changes: Any) -> httpx.Response:
        query = {"appOrderID": app_id, "clientID": self.client, **changes}
        return self.call("DELETE", "/orders", **query)

    # -- books -----------------------------------------------------------------------------

    def book(self) -> list[dict[str, Any]]:
        """The order book that this kind of login reads; an empty one is []."""
        answer = self.call("GET", self.book_path, **self.book_query)
        if answer.json()["code"] == "e-orders-0005":
            return []
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["result"]
        return rows

    @property
    def book_path(self) -> str:
        return "/orders" if self.profile == "generic-json" else "/orders/dealerorderbook"

    @property
    def book_query(self) -> dict[str, str]:
        if self.profile in ("generic-json", "jainam-c"):
            return {}
        return {"clientID": self.client}

    def row(self, app_id: int) -> dict[str, Any]:
        """The book row of one order."""
        return next(row for row in self.book() if int(row["AppOrderID"]) == app_id)

    def history(self, app_id: int) -> list[dict[str, Any]]:
        answer = self.call("GET", "/orders", appOrderID=app_id, clientID=self.client)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["result"]
        return rows

    def positions(self, which: str = "NetWise") -> list[dict[str, Any]]:
        """Position rows from the call that this kind of login uses."""
        path = "/portfolio/positions"
        if self.profile != "generic-json":
            path = "/portfolio/dealerpositions"
        answer = self.call("GET", path, dayOrNet=which, **self.book_query)
        if answer.json().get("code") == "e-portfolio-0005":
            return []
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["result"]["positionList"]
        return rows

    def available(self) -> float:
        """Net margin available in rupees, from the entry that counts."""
        answer = self.call("GET", "/user/balance", clientID=self.client)
        assert answer.status_code == 200, answer.text
        entries = answer.json()["result"]["BalanceList"]
        every = next(e for e in entries if e["limitHeader"] == "ALL|ALL|ALL")
        return float(every["limitObject"]["RMSSubLimits"]["netMarginAvailable"])

    # -- control ---------------------------------------------------------------------------

    def price(self, ltp: float, token: int = RELIANCE, segment: str = "NSECM") -> None:
        """Freeze an instrument's price."""
        self.sim.control("price", {"segment": segment, "token": token, "ltp": ltp})

    def truth(self, tag: str) -> dict[str, Any]:
        """The single order request with a tag."""
        (found,) = self.sim.orders(self.profile, tag)
        return found
