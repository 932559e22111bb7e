"""What a person may say of an account to add: labels, credentials, choices and addresses.

Each function returns the value to store, or raises `InvalidRequest` naming the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from broker.base import BrokerInfo
from broker.models import Secret
from services.errors import InvalidRequest
from utils.redaction import register_secret

_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_LONGEST_FIELD = 512


def is_label(text: str) -> bool:
    """Whether `text` can name an account."""
    return _LABEL.fullmatch(text) is not None


def short(name: str, value: str) -> str:
    """A text of bearable length without control characters, trimmed."""
    if len(value) > _LONGEST_FIELD or not value.isprintable():
        raise InvalidRequest(
            f"'{name}' has at most {_LONGEST_FIELD} printable characters.", field=name
        )
    return value.strip()


def one_of(name: str, value: str, allowed: tuple[str, ...], default: str) -> str:
    """One of the allowed values; an empty one means `default`."""
    if not value:
        return default
    if value not in allowed:
        served = ", ".join(allowed) or "nothing: leave it out"
        raise InvalidRequest(f"'{name}' must be one of: {served}.", field=name)
    return value


def checked_credentials(info: BrokerInfo, given: Mapping[str, str]) -> dict[str, Secret]:
    """All credentials that the broker needs and no others, as secrets."""
    fields = {item.name: item for item in info.credentials}
    errors: dict[str, list[str]] = {}
    for name in given:
        if name not in fields:
            errors[name] = ["Unknown field."]
    found: dict[str, Secret] = {}
    for name, item in fields.items():
        value = given.get(name, "").strip()
        if len(value) > _LONGEST_FIELD or not value.isprintable():
            errors[name] = [f"{item.title} has at most {_LONGEST_FIELD} printable characters."]
        elif value:
            found[name] = Secret(value)
        elif item.required:
            errors[name] = [f"{item.title} is missing."]
    if errors:
        raise InvalidRequest(
            f"The credentials for {info.title} are not complete: {', '.join(sorted(errors))}.",
            errors=errors,
        )
    register_secret(*(secret.reveal() for secret in found.values()))
    return found


def checked_url(url: str) -> str:
    """Scheme, host and port to use instead of the broker's own: https, or http on loopback."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
        usable = bool(parts.hostname) and parts.username is None and parts.path in ("", "/")
    except ValueError:
        usable = loopback = False
    if not usable or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
        raise InvalidRequest(
            "The address is https://host[:port], or http:// on this machine.", field="base_url"
        )
    return short("base_url", url.rstrip("/"))
