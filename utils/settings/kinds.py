"""The kinds of values that settings have: lists, addresses, limits, URLs, paths, secrets.

A validator here says what is wrong and never repeats the value: it might be a secret that was put
into the wrong variable.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

ROOT = Path(__file__).resolve().parent.parent.parent
"""The project's folder; relative paths in settings start here."""

_RATE = re.compile(r"\d+\s*(per|/)\s*(\d+\s*)?(second|minute|hour|day|month|year)s?", re.I)
_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_POSTGRES_SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")


def setting(
    group: str,
    default: Any,
    meaning: str,
    *,
    example: str = "",
    default_text: str | None = None,
    **constraints: Any,
) -> Any:
    """One documented field. A callable `default` is given the values of the fields before it."""
    extra: dict[str, Any] = {"group": group, "example": example, "default_text": default_text}
    how = {"default_factory": default} if callable(default) else {"default": default}
    return Field(**how, description=meaning, json_schema_extra=extra, **constraints)


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_network(value, strict=False)
        except ValueError:
            raise ValueError(
                "should be addresses or networks such as 10.0.0.5 or 10.0.0.0/8, "
                "separated by commas"
            ) from None
    return values


def _rate(value: str) -> str:
    parts = [part.strip() for part in re.split(r"[;,|]", value)]
    if not all(_RATE.fullmatch(part) for part in parts):
        raise ValueError('should read like "50 per second" or "5 per minute;25 per hour"')
    return value


def _clock_time(value: str) -> str:
    if not _CLOCK_TIME.fullmatch(value):
        raise ValueError("should be a time of day such as 15:15 (IST)")
    return value


def _path(value: Path) -> Path:
    return value if value.is_absolute() else ROOT / value


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address can only be this machine."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def loopback_url(url: str) -> bool:
    """Whether a URL leads to this machine; an empty or broken one does not."""
    try:
        return is_loopback(urlsplit(url).hostname)
    except ValueError:
        return False


def _base_url(value: str) -> str:
    if not value:
        return value
    try:
        parts = urlsplit(value)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        port_is_valid = False
        parts = urlsplit("")
    plain = not (parts.query or parts.fragment or parts.username or parts.path.strip("/"))
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("should be scheme, host and port alone, such as https://host:4143")
    if not port_is_valid:
        raise ValueError("has no valid port")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("should start with https: plain http is for this machine alone")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    scheme, separator, rest = url.partition("://")
    if separator and scheme in _POSTGRES_SCHEMES:
        return SecretStr(f"postgresql+psycopg://{rest}")
    if scheme != "sqlite" or not rest.startswith("/") or len(rest) < 2:
        raise ValueError(
            "should be sqlite:///path/to/file.db or postgresql://user:password@host:5432/name"
        )
    path, question, options = rest[1:].partition("?")
    return SecretStr(f"sqlite:///{_path(Path(path))}{question}{options}")


def _redis_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        scheme = value.get_secret_value().partition("://")[0]
        if scheme not in ("redis", "rediss", "unix"):
            raise ValueError("should be redis://host:6379/0, rediss://… or unix:///path")
    return value


CommaList = Annotated[tuple[str, ...], BeforeValidator(_split)]
UpperList = Annotated[CommaList, BeforeValidator(_upper)]
Networks = Annotated[CommaList, AfterValidator(_networks)]
RateLimit = Annotated[str, AfterValidator(_rate)]
ClockTime = Annotated[str, AfterValidator(_clock_time)]
ProjectPath = Annotated[Path, AfterValidator(_path)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
RedisUrl = Annotated[SecretStr | None, AfterValidator(_redis_url)]
Upper = BeforeValidator(_upper)
Lower = BeforeValidator(_lower)
