"""Which client id goes with which call, for one account and one login (XTS reference §6).

The declaration's table says what a pro dealer does on each cluster; a normal dealer trades for one
mapped client, an investor for itself. Every single rule can be overridden by the account's options.
A wrong client id is the one mistake that a venue answers with silence, so nothing here guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from broker.base import AccountConfig
from broker.errors import LoginFailed
from broker.models import Session
from broker.xts.profile import (
    BOOKS_DEALER,
    BOOKS_INVESTOR,
    FIRST_CLIENT,
    INVESTOR,
    INVESTOR_RULES,
    LOGIN_USER,
    NORMAL,
    OMIT,
    PRO_ALIASES,
    DealerRules,
    XtsProfile,
)

# The names under which Session.details keeps what a login said.
USER_ID = "user_id"
CLIENT_CODES = "clientCodes"
IS_INVESTOR = "isInvestorClient"
MARKET_USER_ID = "marketUserID"

RULE_NAMES = frozenset(field.name for field in fields(DealerRules))


@dataclass(frozen=True, slots=True)
class ClientIds:
    """The rules of one account, resolved for one login. "" means: send no client id."""

    order: str
    book: str
    balance: str
    holdings: str
    dealer_books: bool
    accepted: frozenset[str]
    amend_as_row: bool

    def amend(self, row_client: str | None) -> str:
        """The client id of a modify or cancel, given the client of the order's own book row."""
        if self.amend_as_row and row_client and row_client not in PRO_ALIASES:
            return row_client
        return self.order

    def is_ours(self, row_client: str) -> bool:
        """Whether a row with this client belongs to the account."""
        return not self.accepted or row_client in self.accepted


def rules_for(profile: XtsProfile, account: AccountConfig) -> DealerRules:
    """The account's rules before a login: table, account type, client id, options.

    `ValueError` for an account type, cluster or option that the broker does not have.
    """
    kind = account.account_type or profile.account_types[0]
    if kind not in profile.account_types:
        known = ", ".join(profile.account_types)
        raise ValueError(f"{profile.title} has no account type {kind!r}; there is {known}.")
    rules = profile.cluster(account.cluster).rules
    if kind == INVESTOR:
        rules = INVESTOR_RULES
    elif kind == NORMAL or account.client_id:
        rules = _for_one_client(rules, account.client_id or FIRST_CLIENT)
    return _overridden(rules, account.options)


def _for_one_client(rules: DealerRules, client: str) -> DealerRules:
    """The table's rules for a dealer who trades for one named client (§6.1).

    What the cluster leaves out of a query stays out; all else names the client.
    """
    return replace(
        rules,
        order_client_id=client,
        book_client_id=OMIT if rules.book_client_id == OMIT else client,
        balance_client_id=client,
        holdings_client_id=client,
        accepted_row_clients=tuple(PRO_ALIASES) if client in PRO_ALIASES else (client,),
    )


def _overridden(rules: DealerRules, options: Mapping[str, str]) -> DealerRules:
    unknown = sorted(set(options) - RULE_NAMES)
    if unknown:
        raise ValueError(
            f"Unknown account option {unknown[0]!r}; known are {', '.join(sorted(RULE_NAMES))}."
        )
    for name, value in options.items():
        if name == "accepted_row_clients":
            clients = tuple(part.strip() for part in value.split(",") if part.strip())
            rules = replace(rules, accepted_row_clients=clients)
        elif name == "amend_as_row":
            rules = replace(rules, amend_as_row=value.strip().lower() in ("true", "1", "yes"))
        elif name == "books" and value not in (BOOKS_DEALER, BOOKS_INVESTOR):
            raise ValueError("The account option 'books' must be dealer or investor.")
        else:
            changed: Mapping[str, Any] = {name: value.strip()}
            rules = replace(rules, **changed)
    return rules


def client_codes(session: Session) -> tuple[str, ...]:
    """The sub-clients that the login may trade for."""
    joined = session.details.get(CLIENT_CODES, "")
    return tuple(code for code in joined.split(",") if code)


def resolve(rules: DealerRules, account: AccountConfig, session: Session) -> ClientIds:
    """The ids for one login. `LoginFailed` when it may not trade for the client that is set."""
    codes = client_codes(session)
    _check_client(account, codes)

    def one(rule: str) -> str:
        if rule == OMIT:
            return ""
        if rule == LOGIN_USER:
            return session.details.get(USER_ID, "")
        if rule == FIRST_CLIENT:
            return _only_or_first(account, codes)
        return rule

    accepted = {one(rule) for rule in rules.accepted_row_clients} - {""}
    if rules.books == BOOKS_DEALER and not accepted:
        raise LoginFailed(
            "It is not known which rows of the dealer's books belong to this account, and others' "
            "positions must not be taken for its own. Set the account's client id."
        )
    return ClientIds(
        order=one(rules.order_client_id),
        book=one(rules.book_client_id),
        balance=one(rules.balance_client_id),
        holdings=one(rules.holdings_client_id),
        dealer_books=rules.books == BOOKS_DEALER,
        accepted=frozenset(accepted),
        amend_as_row=rules.amend_as_row,
    )


def _check_client(account: AccountConfig, codes: tuple[str, ...]) -> None:
    wanted = account.client_id
    if not wanted or wanted in PRO_ALIASES or wanted in codes:
        return
    raise LoginFailed(
        f"This login may not trade for client {wanted!r}. "
        f"Its clients are: {', '.join(codes) or 'none'}. Correct the account's client id."
    )


def _only_or_first(account: AccountConfig, codes: tuple[str, ...]) -> str:
    """`clientCodes[0]`; a normal dealer with several clients must say which one."""
    if not codes:
        raise LoginFailed(
            "The broker's login names no client to trade for. Set the account's client id."
        )
    if account.account_type == NORMAL and len(codes) > 1:
        raise LoginFailed(
            "This dealer login has several clients: "
            f"{', '.join(codes)}. Set the account's client id to one of them."
        )
    return codes[0]
