"""What is particular to Jainam Prop; everything else is `broker.xts` (README.md in this folder).

Sources are sections of the XTS reference, with its confidence marks.
"""

from __future__ import annotations

from broker.xts.broker import XtsBroker
from broker.xts.limits import PUBLISHED_LIMITS
from broker.xts.profile import (
    FIRST_CLIENT,
    LOGIN_HOST_LOOKUP,
    NORMAL,
    OMIT,
    PRO,
    PRO_ALIASES,
    PRO_LITERAL,
    Cluster,
    DealerRules,
    XtsProfile,
    usual_segments,
)

# §6.2, §6.4: the pro account is the literal five asterisks on B [H], and on A as far as known [M].
_ASTERISKS = DealerRules(
    order_client_id=PRO_LITERAL,
    book_client_id=PRO_LITERAL,
    balance_client_id=PRO_LITERAL,
    holdings_client_id=PRO_LITERAL,
    accepted_row_clients=tuple(sorted(PRO_ALIASES)),
)
# §6.2: on C the dealer's own id is accepted and silently dropped; the sub-client it is [H]. Books
# are asked for without a client, and cancels repeat the row's client.
_SUB_CLIENT = DealerRules(
    order_client_id=FIRST_CLIENT,
    book_client_id=OMIT,
    balance_client_id=FIRST_CLIENT,
    holdings_client_id=FIRST_CLIENT,
    accepted_row_clients=(FIRST_CLIENT,),
    amend_as_row=True,
)

PROFILE = XtsProfile(
    name="jainam_prop",
    title="Jainam Prop",
    login=LOGIN_HOST_LOOKUP,  # §2.3: asked for on B; direct login is the fallback
    market_prefix="/apibinarymarketdata",  # §1.1: /apimarketdata is a 404 here
    clusters=(
        Cluster("A", "https://smpa.jainam.in:6543", _ASTERISKS, ("ctrade.jainam.in",)),
        Cluster("B", "https://smpb.jainam.in:4143", _ASTERISKS, ("ctrade.jainam.in",)),
        Cluster("C", "https://smpc.jainam.in:14543", _SUB_CLIENT),
    ),
    default_cluster="B",
    account_types=(PRO, NORMAL),
    segments=usual_segments(),
    limits=PUBLISHED_LIMITS,  # published for B [H]; for A and C assumed to be the same [L]
)


class JainamProp(XtsBroker):
    """The broker, made of its declaration."""

    profile = PROFILE
