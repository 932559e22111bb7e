"""What is particular to Wisdom Capital; everything else is `broker.xts`."""

from __future__ import annotations

from broker.models import Exchange
from broker.xts.broker import XtsBroker
from broker.xts.limits import PUBLISHED_LIMITS
from broker.xts.profile import INVESTOR, INVESTOR_RULES, Cluster, XtsProfile, usual_segments


class Wisdom(XtsBroker):
    """Key login, investor accounts, JSON market data (XTS reference §2.2, §5.5, §15.2)."""

    profile = XtsProfile(
        name="wisdom",
        title="Wisdom Capital",
        clusters=(Cluster("main", "https://trade.wisdomcapital.in", INVESTOR_RULES),),
        default_cluster="main",
        account_types=(INVESTOR,),
        segments=usual_segments(in_lots=frozenset({Exchange.CDS, Exchange.MCX})),
        limits=PUBLISHED_LIMITS,  # nothing is published for it: the one known table is assumed
    )
