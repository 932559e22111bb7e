"""What is listed: companies, indices, commodities, currencies, and the prices they move around.

The well-known names carry their public exchange tokens; everything else is invented from the seed.
Prices are illustrative.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Company:
    """An equity: NSE token, BSE code, reference price in rupees, F&O lot (0: not in F&O)."""

    name: str
    nse: int
    bse: int
    isin: str
    price: float
    lot: int
    title: str


@dataclass(frozen=True, slots=True)
class Index:
    """An index: segment number and id for quotes, F&O name and lot (0: no derivatives)."""

    display: str
    segment: int
    token: int
    price: float
    name: str = ""
    label: str = ""
    lot: int = 0
    step: float = 0.0
    freeze: int = 0
    weekly: bool = False


@dataclass(frozen=True, slots=True)
class Underlying:
    """A commodity or a currency pair: price, contract size, strike step, tick."""

    name: str
    price: float
    lot: int
    multiplier: str
    step: float
    tick: str
    options: bool = True
    freeze: int = 10_000


# name, NSE token, BSE code, ISIN, price, F&O lot, full name
_KNOWN: tuple[tuple[str, int, int, str, float, int, str], ...] = (
    ("RELIANCE", 2885, 500325, "INE002A01018", 1254.5, 500, "RELIANCE INDUSTRIES LTD"),
    ("INFY", 1594, 500209, "INE009A01021", 1482.3, 400, "INFOSYS LIMITED"),
    ("TCS", 11536, 532540, "INE467B01029", 3061.0, 175, "TATA CONSULTANCY SERV LT"),
    ("SBIN", 3045, 500112, "INE062A01020", 823.4, 750, "STATE BANK OF INDIA"),
    ("HDFCBANK", 1333, 500180, "INE040A01034", 978.6, 550, "HDFC BANK LTD"),
    ("ICICIBANK", 4963, 532174, "INE090A01021", 1421.9, 700, "ICICI BANK LTD."),
    ("ITC", 1660, 500875, "INE154A01025", 409.2, 1600, "ITC LTD"),
    ("M&M", 2031, 500520, "INE101A01026", 3358.0, 200, "MAHINDRA & MAHINDRA LTD"),
    ("BAJAJ-AUTO", 16669, 532977, "INE917I01010", 8712.0, 75, "BAJAJ AUTO LIMITED"),
    ("VEDL", 3063, 500295, "INE205A01025", 441.5, 1150, "VEDANTA LIMITED"),
    ("YESBANK", 11915, 532648, "INE528G01035", 19.45, 31100, "YES BANK LIMITED"),
    ("SUZLON", 12018, 532667, "INE040H01021", 58.62, 9025, "SUZLON ENERGY LIMITED"),
    ("NATIONALUM", 6364, 532234, "INE139A01034", 188.3, 3750, "NATIONAL ALUMINIUM CO LTD"),
    ("CDSL", 21174, 0, "INE736A01011", 1562.1, 475, "CENTRAL DEPO SER (I) LTD"),
    ("ACC", 22, 500410, "INE012A01025", 1876.4, 300, "ACC LIMITED"),
    ("M&MFIN", 13285, 532720, "INE774D01024", 262.7, 2056, "M&M FIN. SERVICES LTD"),
    ("NAM-INDIA", 357, 540767, "INE298J01013", 802.2, 0, "NIPPON L I A M LTD"),
    ("360ONE", 13061, 542772, "INE466L01038", 1021.5, 500, "360 ONE WAM LIMITED"),
    ("3MINDIA", 474, 523395, "INE470A01017", 30350.0, 0, "3M INDIA LIMITED"),
    ("20MICRONS", 16921, 533022, "INE144J01027", 241.8, 0, "20 MICRONS LTD"),
    ("J&KBANK", 5633, 532209, "INE168A01041", 102.9, 0, "JAMMU & KASHMIR BANK LTD"),
    ("TATASTEEL", 3499, 500470, "INE081A01020", 158.75, 5500, "TATA STEEL LIMITED"),
    ("LT", 11483, 500510, "INE018A01030", 3644.0, 175, "LARSEN & TOUBRO LTD."),
    ("AXISBANK", 5900, 532215, "INE238A01034", 1107.8, 625, "AXIS BANK LIMITED"),
    ("KOTAKBANK", 1922, 500247, "INE237A01028", 2012.3, 400, "KOTAK MAHINDRA BANK LTD"),
    ("BHARTIARTL", 10604, 532454, "INE397D01024", 1891.6, 475, "BHARTI AIRTEL LIMITED"),
    ("HINDUNILVR", 1394, 500696, "INE030A01027", 2522.4, 300, "HINDUSTAN UNILEVER LTD."),
    ("MARUTI", 10999, 532500, "INE585B01010", 12480.0, 50, "MARUTI SUZUKI INDIA LTD."),
    ("SUNPHARMA", 3351, 524715, "INE044A01036", 1688.9, 350, "SUN PHARMACEUTICAL IND L"),
    ("WIPRO", 3787, 507685, "INE075A01022", 248.35, 3000, "WIPRO LTD"),
)

INDICES: tuple[Index, ...] = (
    Index("NIFTY 50", 1, 26000, 25010.0, "NIFTY", "Nifty 50", 65, 50, 1801, True),
    Index("NIFTY BANK", 1, 26001, 55480.0, "BANKNIFTY", "Nifty Bank", 30, 100, 601),
    Index("INDIA VIX", 1, 26002, 12.4),
    Index("NIFTY IT", 1, 26008, 36150.0),
    Index("NIFTY FIN SERVICE", 1, 26034, 26420.0, "FINNIFTY", "Nifty Fin Service", 60, 50, 1801),
    Index("NIFTY NEXT 50", 1, 26054, 67900.0, "NIFTYNXT50", "Nifty Next 50", 25, 100, 601),
    Index("NIFTY MID SELECT", 1, 26074, 13105.0, "MIDCPNIFTY", "NIFTY MID SELECT", 120, 25, 2801),
    Index("SENSEX", 11, 26065, 81720.0, "SENSEX", "SENSEX", 20, 100, 1000, True),
    Index("BANKEX", 11, 26118, 62310.0, "BANKEX", "BANKEX", 30, 100, 600),
    Index("SNSX50", 11, 26119, 26150.0, "SENSEX50", "SNSX50", 75, 50, 1800),
)

COMMODITIES: tuple[Underlying, ...] = (
    Underlying("CRUDEOIL", 5620.0, 1, "100", 50, "1", freeze=100),
    Underlying("CRUDEOILM", 5620.0, 1, "10", 50, "1", freeze=1000),
    Underlying("GOLD", 98450.0, 1, "100", 500, "1", freeze=100),
    Underlying("GOLDM", 98380.0, 1, "10", 500, "1", freeze=1000),
    Underlying("SILVER", 112700.0, 1, "30", 500, "1", freeze=200),
    Underlying("SILVERM", 112650.0, 1, "5", 500, "1", freeze=1200),
    Underlying("NATURALGAS", 284.6, 1, "1250", 5, "0.1", freeze=480),
    Underlying("COPPER", 886.4, 1, "2500", 5, "0.05", freeze=280),
    Underlying("ZINC", 266.9, 1, "5000", 2.5, "0.05", freeze=200),
    Underlying("LEADMINI", 181.2, 1, "1000", 0, "0.05", options=False, freeze=500),
    Underlying("ALUMINIUM", 251.3, 1, "5000", 0, "0.05", options=False, freeze=200),
    Underlying("GOLDPETAL", 9790.0, 1, "1", 0, "1", options=False, freeze=10000),
    Underlying("MENTHAOIL", 921.0, 1, "360", 0, "0.1", options=False, freeze=138),
    Underlying("COTTONCNDY", 55210.0, 1, "48", 0, "10", options=False, freeze=100),
)

CURRENCIES: tuple[Underlying, ...] = (
    Underlying("USDINR", 88.2475, 1000, "1", 0.25, "0.0025", freeze=10001),
    Underlying("EURINR", 102.915, 1000, "1", 0.25, "0.0025", freeze=10001),
    Underlying("GBPINR", 118.64, 1000, "1", 0.25, "0.0025", freeze=10001),
    Underlying("JPYINR", 59.985, 1000, "1", 0.25, "0.0025", freeze=10001),
    Underlying("EURUSD", 1.1662, 1000, "88.2475", 0.005, "0.0001", freeze=10001),
    Underlying("726GS2033", 101.32, 2000, "1", 0, "0.0025", options=False, freeze=1251),
    Underlying("633GS2035", 99.41, 2000, "1", 0, "0.0025", options=False, freeze=1251),
    Underlying("91DTB", 94.5, 2000, "629.2", 0, "0.0025", options=False, freeze=1251),
)

_HEADS = [
    "ARAV",
    "BHAR",
    "CHET",
    "DEVA",
    "EKTA",
    "GANG",
    "HIMA",
    "INDR",
    "JYOT",
    "KAVE",
    "LAKS",
    "MEGH",
    "NARM",
    "OMKA",
    "PRIT",
    "RAJA",
    "SAGA",
    "TEJA",
    "UDAY",
    "VARU",
    "YAMU",
    "ZENI",
    "ASHO",
    "BRAH",
    "CHAN",
    "DURG",
    "GIRI",
    "HARI",
    "KRIS",
    "MAHA",
    "NILA",
    "PADM",
    "RUDR",
    "SURY",
    "TRIV",
    "UTTA",
    "VISH",
    "ANAN",
]
_TAILS = [
    "STEEL",
    "PHARM",
    "INFRA",
    "TECH",
    "CHEM",
    "MOTORS",
    "FIN",
    "POWER",
    "FOODS",
    "TEX",
    "AGRO",
    "GLASS",
    "CEM",
    "LAB",
    "PIPES",
    "CABLE",
    "PAPER",
    "SUGAR",
    "AUTO",
    "BANK",
    "GAS",
    "OIL",
    "METAL",
    "PLAST",
    "TOOLS",
    "WIND",
    "SOLAR",
    "SHIP",
    "LOGIS",
    "MEDIA",
    "HOTEL",
    "RUBBER",
]


class Universe:
    """All companies (well-known first), from a seed; `company` finds one by name."""

    def __init__(self, seed: int, companies: int, in_fo: int) -> None:
        rng = random.Random(seed)
        self.companies: list[Company] = []
        lots = sum(1 for known in _KNOWN if known[5])
        taken = {known[1] for known in _KNOWN} | set(range(25_990, 26_130))
        names = {known[0] for known in _KNOWN}
        for name, nse, bse, isin, price, lot, title in _KNOWN:
            self.companies.append(Company(name, nse, bse, isin, price, lot, title))
        token = 30
        code = 533_300
        number = 0
        while len(self.companies) < companies:
            head, tail = rng.choice(_HEADS), rng.choice(_TAILS)
            name = f"{head}{tail}"
            if name in names:
                name = f"{name}{rng.choice('ABCDEFGHJKLMNPRSTUVWXYZ')}"
                if name in names:
                    name = f"{name}{number % 100}"
                    if name in names:
                        number += 1
                        continue
            names.add(name)
            token += rng.randint(1, 9)
            while token in taken:
                token += 1
            code += rng.randint(1, 3)
            number += 1
            price = round(10 ** rng.uniform(0.9, 3.9), 2)
            lot = 0
            if lots < in_fo and price > 40:
                lots += 1
                lot = max(25, round(750_000 / price / 25) * 25)
            self.companies.append(
                Company(
                    name,
                    token,
                    code,
                    f"INE{number:03d}X{number % 97 + 1:02d}{number % 9:03d}",
                    price,
                    lot,
                    f"{head} {tail} LIMITED",
                )
            )
        self.by_name = {c.name: c for c in self.companies}
        self.prices: dict[str, float] = {c.name: c.price for c in self.companies}
        for index in INDICES:
            self.prices[index.display] = index.price
            if index.name:
                self.prices[index.name] = index.price
        for other in (*COMMODITIES, *CURRENCIES):
            self.prices[other.name] = other.price

    @property
    def optionable(self) -> list[Company]:
        """Companies with futures and options."""
        return [c for c in self.companies if c.lot]
