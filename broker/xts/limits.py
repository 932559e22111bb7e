"""The one published table of XTS request limits (XTS reference §15.1, §15.2).

Published for Jainam Prop-B in early 2025; a declaration that knows better brings its own rows.
Dealer books share the allowance of the ordinary ones, as far as is known. Windows in seconds.
"""

from __future__ import annotations

from broker.base import Limit, Operation

PUBLISHED_LIMITS = (
    Limit("place", frozenset({Operation.PLACE}), 25, 1.0),
    Limit("modify", frozenset({Operation.MODIFY}), 25, 1.0),
    Limit("cancel", frozenset({Operation.CANCEL}), 25, 1.0),
    Limit("order_book", frozenset({Operation.ORDERS}), 6, 1.0),
    Limit("trade_book", frozenset({Operation.TRADES}), 40, 2.0),
    Limit("positions", frozenset({Operation.POSITIONS}), 1, 1.0),
    Limit("holdings", frozenset({Operation.HOLDINGS}), 1, 10.0),
    Limit("balance", frozenset({Operation.FUNDS}), 10, 3.0),
    Limit("logout", frozenset({Operation.LOGOUT}), 1, 1.0),
    Limit("history", frozenset({Operation.HISTORY}), 1, 1.0),
)
