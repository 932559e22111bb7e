"""Client-id rules: which account a request means, cluster by cluster (§6.2, §17.1)."""

from __future__ import annotations

from simulator.envelope import EXPRESS_500, HtmlError, XtsError, invalid
from simulator.oms.accounts import Account, Holding
from simulator.profiles import PRO_CLIENT, ROLE_PRO, Credential, Profile

NOT_MAPPED = "Supplied client not mapped under dealer"
# ISIN, NSE token, BSE code, shares, average price: what every account holds to begin with.
_HOLDINGS = (
    ("INE002A01018", 2885, 500325, 120, 1190.4),
    ("INE009A01021", 1594, 500209, 60, 1512.75),
    ("INE467B01029", 11536, 532540, 15, 0.0),
)


def not_mapped() -> XtsError:
    return XtsError("e-trade-00002", NOT_MAPPED)


class Clients:
    """The accounts of one venue and who may use them."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._by_key: dict[str, Account] = {}
        self._by_user: dict[str, list[Account]] = {}

    def add(self, credential: Credential) -> None:
        """Make the accounts of a login (client codes may be shared between logins)."""
        accounts: list[Account] = []
        if credential.role == ROLE_PRO and self._profile.pro_by_stars:
            row_client = self._profile.row_alias or PRO_CLIENT
            accounts.append(
                self._account(
                    f"pro:{credential.user_id}", PRO_CLIENT, row_client, credential.user_id
                )
            )
        else:
            for code in credential.client_codes:
                accounts.append(self._account(code, code, code, credential.user_id))
        self._by_user[credential.user_id] = accounts

    def _account(self, key: str, request_client: str, row_client: str, login: str) -> Account:
        account = self._by_key.get(key)
        if account is None:
            account = Account(key, request_client, row_client, request_client, login)
            for isin, nse, bse, quantity, price in _HOLDINGS:
                account.holdings[isin] = Holding(isin, nse, bse, quantity, 0, price)
            self._by_key[key] = account
        return account

    def all(self) -> list[Account]:
        return list(self._by_key.values())

    def get(self, key: str) -> Account | None:
        """The account with that key."""
        return self._by_key.get(key)

    def of(self, credential: Credential) -> list[Account]:
        """Accounts that a login may use."""
        return self._by_user[credential.user_id]

    def named(self, name: str | None, user: str | None = None) -> Account | None:
        """For the control API: an account by key, request id, row id or login."""
        accounts = self.all() if user is None else self._by_user.get(user, [])
        if name is None:
            return accounts[0] if accounts else None
        for account in accounts:
            if name in (account.key, account.request_client, account.row_client, account.login):
                return account
        return None

    # -- what a request's clientID means ---------------------------------------------------

    def for_order(self, credential: Credential, client: str) -> Account | None:
        """The account to trade for; None when the order vanishes without a word (cluster C)."""
        accounts = self.of(credential)
        if self._profile.investor:
            if client in ("", accounts[0].request_client):
                return accounts[0]
            raise not_mapped()
        if not client:
            raise invalid("clientID", "is required")
        for account in accounts:
            if client == account.request_client:
                return account
        if client == credential.user_id and self._profile.drops_dealer_id:
            return None
        raise not_mapped()

    def for_dealer_book(self, credential: Credential, client: str) -> list[Account]:
        """Accounts whose rows a dealer book shows; raises when `clientID` breaks the rule."""
        accounts = self.of(credential)
        if self._profile.investor:
            raise not_mapped()
        if not client:
            if self._profile.books_need_client:
                raise invalid("clientID", "is required", location="query")
            return accounts
        if any(client == account.request_client for account in accounts):
            return accounts
        raise not_mapped()

    def for_book(self, credential: Credential, client: str) -> list[Account]:
        """Accounts of the plain books; a dealer without `clientID` sees nothing."""
        accounts = self.of(credential)
        if not client:
            return accounts if self._profile.investor else []
        chosen = [account for account in accounts if account.request_client == client]
        if not chosen:
            raise not_mapped()
        return chosen

    def for_balance(self, credential: Credential, client: str) -> Account:
        """The account of balance and profile; cluster A also takes the login id."""
        if client == credential.user_id and self._profile.balance_by_login:
            return self.of(credential)[0]
        return self._one(credential, client)

    def for_holdings(self, credential: Credential, client: str) -> Account:
        """The account of holdings; without `clientID` cluster B answers an HTML page."""
        if not client and self._profile.holdings_html:
            raise HtmlError(500, EXPRESS_500)
        return self._one(credential, client)

    def _one(self, credential: Credential, client: str) -> Account:
        if not client and not self._profile.investor:
            raise invalid("clientID", "is required", location="query")
        chosen = self.for_book(credential, client)
        return chosen[0]
