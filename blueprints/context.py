"""What the mounted routes work with: found on the application, so that many applications can mount.

`blueprints.register` stores one `Mounted` per Flask application; views reach it from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import current_app

if TYPE_CHECKING:
    from blueprints.limits import Gate
    from services.gateway import Gateway

EXTENSION = "openalgo_brokers"


@dataclass(frozen=True, slots=True)
class Mounted:
    """The services of this application, and the gate that counts its callers."""

    gateway: Gateway
    gate: Gate


def mounted() -> Mounted:
    """What `blueprints.register` put on the application of this request."""
    found: Mounted = current_app.extensions[EXTENSION]
    return found


def gateway() -> Gateway:
    """The services of the application of this request."""
    return mounted().gateway
