"""The venues the simulator plays, their client-id rules, and their invented credentials.

Facts follow XTS reference §6.2 and §17.1. Every key, secret, user and client here is made up for
the simulator and opens nothing anywhere else.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SEGMENT_NUMBERS: dict[str, int] = {
    "NSECM": 1,
    "NSEFO": 2,
    "NSECD": 3,
    "BSECM": 11,
    "BSEFO": 12,
    "MCXFO": 51,
}
SEGMENT_NAMES: dict[int, str] = {number: name for name, number in SEGMENT_NUMBERS.items()}
PRO_CLIENT = "*****"
ROLE_PRO = "pro"
ROLE_NORMAL = "normal"
ROLE_INVESTOR = "investor"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of XTS installation.

    pro_by_stars: a pro dealer trades as `*****` (clusters A, B) or as clientCodes[0] (C).
    drops_dealer_id: placing with the dealer's login id succeeds and the order never appears (C).
    books_need_client: dealer books want `clientID`; cluster C wants it left out.
    balance_by_login: the login id is accepted for the balance (A).
    holdings_html: holdings without `clientID` answer an HTML 500 page (B).
    lot_quantities: segments whose quantities are counted in lots, not units (§5.5).
    """

    name: str
    title: str
    market_prefixes: tuple[str, ...]
    investor: bool = False
    pro_by_stars: bool = False
    drops_dealer_id: bool = False
    books_need_client: bool = False
    balance_by_login: bool = False
    holdings_html: bool = False
    row_alias: str | None = None
    lot_quantities: frozenset[str] = frozenset()
    cluster: int = 1


@dataclass(frozen=True, slots=True)
class Credential:
    """One login: both key pairs, who it is, and whom it may trade for."""

    label: str
    profile: str
    role: str
    interactive_key: str
    interactive_secret: str
    market_key: str
    market_secret: str
    user_id: str
    market_user_id: str
    client_codes: tuple[str, ...]

    def public(self) -> dict[str, Any]:
        """All of it as JSON types (these are invented constants, not secrets)."""
        data = asdict(self)
        data["client_codes"] = list(self.client_codes)
        return data


PROFILES: dict[str, Profile] = {
    p.name: p
    for p in (
        Profile(
            "jainam-a",
            "Jainam Prop cluster A",
            ("apibinarymarketdata",),
            pro_by_stars=True,
            books_need_client=True,
            balance_by_login=True,
            row_alias="Pro",
            cluster=1,
        ),
        Profile(
            "jainam-b",
            "Jainam Prop cluster B",
            ("apibinarymarketdata",),
            pro_by_stars=True,
            books_need_client=True,
            holdings_html=True,
            row_alias="Pro",
            cluster=5,
        ),
        Profile(
            "jainam-c",
            "Jainam Prop cluster C",
            ("apibinarymarketdata",),
            drops_dealer_id=True,
            cluster=9,
        ),
        Profile(
            "generic-json",
            "An XTS broker with JSON market data and investor logins",
            ("apimarketdata", "marketdata"),
            investor=True,
            lot_quantities=frozenset({"NSECD", "MCXFO"}),
        ),
    )
}


def _jainam(letter: str) -> list[Credential]:
    profile = f"jainam-{letter.lower()}"
    made = []
    for number, role in ((1, ROLE_PRO), (2, ROLE_PRO), (3, ROLE_NORMAL)):
        user = f"SIM{letter}PRO{number}A01" if role == ROLE_PRO else f"SIM{letter}DLR{number}"
        codes = (
            (user.removesuffix("A01"),)
            if role == ROLE_PRO
            else (f"SIM{letter}CLI1", f"SIM{letter}CLI2")
        )
        made.append(
            Credential(
                label=f"{role}{number}" if role == ROLE_PRO else "normal1",
                profile=profile,
                role=role,
                interactive_key=f"SIMJAINAM{letter}INTERACTIVE{number:02}",
                interactive_secret=f"Sim#{letter.lower()}$10{number:02}",
                market_key=f"SIMJAINAM{letter}MARKETDATA{number:02}",
                market_secret=f"Mkt@{letter.lower()}$10{number:02}",
                user_id=user,
                market_user_id=f"{user}MD",
                client_codes=codes,
            )
        )
    return made


def _generic() -> list[Credential]:
    return [
        Credential(
            label=f"investor{number}",
            profile="generic-json",
            role=ROLE_INVESTOR,
            interactive_key=f"SIMGENERICINTERACTIVE{number:02}",
            interactive_secret=f"Sim#w$10{number:02}",
            market_key=f"SIMGENERICMARKETDATA{number:02}",
            market_secret=f"Mkt@w$10{number:02}",
            user_id=f"SIMINV{number}",
            market_user_id=f"SIMINV{number}MD",
            client_codes=(f"SIMINV{number}",),
        )
        for number in (1, 2)
    ]


def builtin_credentials() -> list[Credential]:
    """Every login known at start: two pro dealers and a normal dealer a cluster, two investors."""
    return [*_jainam("A"), *_jainam("B"), *_jainam("C"), *_generic()]


def credentials_document(profiles: list[str] | None = None) -> dict[str, Any]:
    """What `--print-credentials --json` shows: `{profile: [credential, …]}`."""
    document: dict[str, list[dict[str, Any]]] = {}
    for credential in builtin_credentials():
        if profiles is None or credential.profile in profiles:
            document.setdefault(credential.profile, []).append(credential.public())
    return document
