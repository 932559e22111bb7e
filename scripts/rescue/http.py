"""A gateway asked over HTTP, with the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 10.0
_PAUSE = 0.2


@dataclass(frozen=True)
class Client:
    """One gateway. `key`: an API key, "" where there is none. Every call may raise `OSError`."""

    url: str
    key: str = ""

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON content ({} where it is none)."""
        status, content = self.text("GET", path)
        return status, _json(content)

    def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """The same for a POST; the key goes with the body."""
        status, content = self.text("POST", path, {"apikey": self.key, **body})
        return status, _json(content)

    def text(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> tuple[int, str]:
        """Status and content of an answer."""
        parts = urlsplit(self.url)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=_SECONDS, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=_SECONDS)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["X-API-KEY"] = self.key
        try:
            content = json.dumps(body) if body is not None else None
            connection.request(method, parts.path.rstrip("/") + path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP in the answer ({type(error).__name__})") from None
        finally:
            connection.close()

    def wait_until_ready(self, seconds: float) -> str:
        """Wait until the gateway serves; "" when it does, else why not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, _ = self.get("/health/ready")
                if status == 200:
                    return ""
                why = f"it answers {status}"
            except OSError as error:
                why = str(error)
            if time.monotonic() > deadline:
                return why
            time.sleep(_PAUSE)


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return {}
