"""The version of the gateway; a test holds it against pyproject.toml."""

from __future__ import annotations

VERSION = "0.1.0"
