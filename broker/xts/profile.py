"""What the declaration of an XTS broker may say; every declaration is checked when it is imported.

Facts are data here, with their source beside them in the declaration. Rules are chosen among a
few by name. References are to the sections of the XTS reference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from urllib.parse import urlsplit

from broker.base import BrokerInfo, Capabilities, CredentialField, Limit
from broker.models import Exchange, OrderType, Product

# How a client id is chosen (§6.4). Anything else is an explicit code and sent as it stands.
OMIT = "omit"
FIRST_CLIENT = "clientCodes[0]"
LOGIN_USER = "userID"
PRO_LITERAL = "*****"
PRO_ALIASES = frozenset({"*****", "Pro", "PRO"})  # §6.2: what rows show for the pro account

BOOKS_DEALER = "dealer"
BOOKS_INVESTOR = "investor"
LOGIN_HOST_LOOKUP = "hostlookup"
LOGIN_DIRECT = "direct"
NET_WISE = "NetWise"
DAY_WISE = "DayWise"
UNITS = "units"
LOTS = "lots"

PRO = "PRO"
NORMAL = "NORMAL"
INVESTOR = "INVESTOR"

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_NAME = re.compile(r"^[a-z][a-z0-9_]{1,19}$")  # §2.1 of the plug-in contract: at most 20 characters
_PREFIX = re.compile(r"^(/[A-Za-z0-9_-]+)+$")

# The four credentials of every XTS login: one key pair an API (§2.1).
CREDENTIALS: tuple[CredentialField, ...] = (
    CredentialField("interactive_api_key", "Interactive API key"),
    CredentialField("interactive_api_secret", "Interactive API secret"),
    CredentialField("market_api_key", "Market data API key"),
    CredentialField("market_api_secret", "Market data API secret"),
)


@dataclass(frozen=True, slots=True)
class Segment:
    """One exchange segment: our exchange, its XTS name and number (§5.1), and its units.

    `freeze_plus_one`: the master's freeze quantity is the limit plus one (§5.5). `quantity_unit`:
    what one unit of order quantity is, "units" or "lots" (§5.5).
    """

    exchange: Exchange
    name: str
    number: int
    freeze_plus_one: bool = False
    quantity_unit: str = UNITS


def usual_segments(*, in_lots: frozenset[Exchange] = frozenset()) -> tuple[Segment, ...]:
    """The segments of §5.1 that retail and prop desks trade; `in_lots`: quantities are lots."""
    numbers = {
        Exchange.NSE: ("NSECM", 1),
        Exchange.NFO: ("NSEFO", 2),
        Exchange.CDS: ("NSECD", 3),
        Exchange.MCX: ("MCXFO", 51),
        Exchange.BSE: ("BSECM", 11),
        Exchange.BFO: ("BSEFO", 12),
    }
    return tuple(
        Segment(
            exchange,
            name,
            number,
            freeze_plus_one=exchange is Exchange.NFO,  # §5.5, §9.4
            quantity_unit=LOTS if exchange in in_lots else UNITS,
        )
        for exchange, (name, number) in numbers.items()
    )


INDEX_SEGMENTS = (  # §8.3: indices are addressed by the number of their cash segment
    Segment(Exchange.NSE_INDEX, "NSECM", 1),
    Segment(Exchange.BSE_INDEX, "BSECM", 11),
)


@dataclass(frozen=True, slots=True)
class DealerRules:
    """Which client id goes with which call, and which rows of a book are ours (§6.2, §6.4).

    Ids are "*****", "clientCodes[0]", "userID", "omit" or an explicit code. `amend_as_row`: modify
    and cancel repeat the client of the order's own book row. `accepted_row_clients`: rows of other
    clients are left out; empty means that the books hold nobody else's.
    """

    order_client_id: str
    book_client_id: str
    balance_client_id: str
    holdings_client_id: str
    books: str = BOOKS_DEALER
    accepted_row_clients: tuple[str, ...] = ()
    amend_as_row: bool = False


INVESTOR_RULES = DealerRules(OMIT, OMIT, OMIT, OMIT, books=BOOKS_INVESTOR)  # §6.1


@dataclass(frozen=True, slots=True)
class Cluster:
    """One server of a broker: its root URL, its rules, other hosts that its look-up may name."""

    name: str
    root: str
    rules: DealerRules
    lookup_hosts: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return urlsplit(self.root).hostname or ""


@dataclass(frozen=True, slots=True)
class HostLookup:
    """The host look-up's path and its published constants, the same for every customer (§2.3)."""

    path: str = "/hostlookup"
    access_password: str = "2021HostLookUpAccess"  # noqa: S105 - published, no secret
    version: str = "interactive_1.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class XtsProfile:
    """A broker that speaks XTS. Times are IST, time-outs seconds.

    `index_segments` names the segments whose index list is part of the master. `session_end` is
    when servers restart and every session must be assumed dead (§3.5). `history_days` is how many
    days one OHLC call asks for, by interval, and thereby which intervals are served.
    """

    name: str
    title: str
    clusters: tuple[Cluster, ...]
    default_cluster: str
    segments: tuple[Segment, ...]
    limits: tuple[Limit, ...]
    account_types: tuple[str, ...]
    index_segments: tuple[Segment, ...] = INDEX_SEGMENTS
    login: str = LOGIN_DIRECT
    lookup: HostLookup = HostLookup()
    interactive_prefix: str = "/interactive"
    market_prefix: str = "/apimarketdata"
    source: str = "WEBAPI"
    products: frozenset[Product] = frozenset({Product.CNC, Product.NRML, Product.MIS})
    order_types: frozenset[OrderType] = frozenset(OrderType)
    position_mode: str = NET_WISE
    session_end: time = time(5, 0)
    quotes_batch: int = 50
    master_timeout: float = 120.0
    history_days: tuple[tuple[str, int], ...] = (
        ("1m", 7),
        ("3m", 15),
        ("5m", 30),
        ("10m", 30),
        ("15m", 60),
        ("30m", 90),
        ("1h", 180),
        ("D", 1800),
    )
    credentials: tuple[CredentialField, ...] = CREDENTIALS

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise ValueError(f"The declaration of {self.name!r} is wrong: " + " ".join(faults))

    def cluster(self, name: str) -> Cluster:
        """The cluster called `name`, "" meaning the default one. `ValueError` for any other."""
        wanted = name or self.default_cluster
        for cluster in self.clusters:
            if cluster.name == wanted:
                return cluster
        known = ", ".join(cluster.name for cluster in self.clusters)
        raise ValueError(f"{self.title} has no cluster {wanted!r}; there is {known}.")

    def allowed_hosts(self) -> frozenset[str]:
        """Every host that this broker's credentials may be sent to or that a look-up may name."""
        hosts = {cluster.host for cluster in self.clusters}
        for cluster in self.clusters:
            hosts.update(cluster.lookup_hosts)
        return frozenset(hosts)

    def broker_info(self) -> BrokerInfo:
        """Who this broker is, in the application's terms."""
        several = len(self.clusters) > 1
        return BrokerInfo(
            name=self.name,
            title=self.title,
            credentials=self.credentials,
            clusters=tuple(c.name for c in self.clusters) if several else (),
            default_cluster=self.default_cluster if several else "",
            account_types=self.account_types,
            quantity_units={s.exchange: s.quantity_unit for s in self.segments},
            hosts=tuple(sorted(self.allowed_hosts())),
        )

    def broker_capabilities(self) -> Capabilities:
        """What this broker can do, in the application's terms."""
        served = (*self.segments, *self.index_segments)
        return Capabilities(
            exchanges=frozenset(segment.exchange for segment in served),
            products=self.products,
            order_types=self.order_types,
            quotes=True,
            depth=True,
            history_intervals=tuple(interval for interval, _ in self.history_days),
        )


def _faults(profile: XtsProfile) -> list[str]:
    """Everything that is wrong with a declaration, as sentences."""
    faults: list[str] = []
    if not _NAME.match(profile.name):
        faults.append("name must be a lower-case identifier of at most 20 characters.")
    if profile.login not in (LOGIN_HOST_LOOKUP, LOGIN_DIRECT):
        faults.append(f"login {profile.login!r} is not a login kind.")
    if profile.position_mode not in (NET_WISE, DAY_WISE):
        faults.append(f"position_mode {profile.position_mode!r} is not DayWise or NetWise.")
    if not 1 <= profile.quotes_batch <= 50:
        faults.append("quotes_batch must be between 1 and 50.")
    for prefix in (profile.interactive_prefix, profile.market_prefix, profile.lookup.path):
        if not _PREFIX.match(prefix):
            faults.append(f"path {prefix!r} must start with a slash and end without one.")
    if not profile.clusters or profile.default_cluster not in {c.name for c in profile.clusters}:
        faults.append("default_cluster must be one of clusters.")
    for cluster in profile.clusters:
        faults.extend(_cluster_faults(cluster))
    faults.extend(_segment_faults(profile))
    for limit in profile.limits:
        if limit.calls < 1 or limit.window <= 0 or not limit.operations:
            faults.append(f"limit {limit.name!r} must allow calls of something in some time.")
    if not set(profile.account_types) <= {PRO, NORMAL, INVESTOR} or not profile.account_types:
        faults.append("account_types must be among PRO, NORMAL, INVESTOR.")
    return faults


def _cluster_faults(cluster: Cluster) -> list[str]:
    parts = urlsplit(cluster.root)
    faults = []
    if not parts.hostname or parts.path or parts.query:
        faults.append(f"root of cluster {cluster.name!r} must be scheme, host and port alone.")
    elif parts.scheme != "https" and parts.hostname not in LOOPBACK_HOSTS:
        faults.append(f"root of cluster {cluster.name!r} must be https.")
    if cluster.rules.books not in (BOOKS_DEALER, BOOKS_INVESTOR):
        faults.append(f"books of cluster {cluster.name!r} must be dealer or investor.")
    return faults


def _segment_faults(profile: XtsProfile) -> list[str]:
    faults = []
    exchanges = [s.exchange for s in (*profile.segments, *profile.index_segments)]
    if len(set(exchanges)) != len(exchanges) or not profile.segments:
        faults.append("segments must name each exchange once, and at least one.")
    if any(s.exchange.is_index for s in profile.segments):
        faults.append("segments must not hold index exchanges.")
    if not all(s.exchange.is_index for s in profile.index_segments):
        faults.append("index_segments must hold index exchanges only.")
    if any(s.quantity_unit not in (UNITS, LOTS) for s in profile.segments):
        faults.append("quantity_unit of a segment must be units or lots.")
    return faults
