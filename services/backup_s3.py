"""Backups off the site: an S3-compatible bucket, spoken to with signed requests (Signature V4).

Four calls of S3 are all that is needed, so they are written here, on the standard library
(docs/decisions/0162). What goes there is sealed already; the bucket's own access is a second lock.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from services.errors import Unavailable

_EMPTY = hashlib.sha256(b"").hexdigest()
_SECONDS = 60.0
_TRIES = 3
_PIECE = 1024 * 1024
_LONGEST_ANSWER = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is, and the key to it. `prefix` ends with a slash or is empty."""

    endpoint: str
    region: str
    name: str
    prefix: str
    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"Bucket({self.endpoint}/{self.name}/{self.prefix})"


class S3Mirror:
    """A `Mirror` in a bucket (path style, which every S3-compatible store understands).

    `page`: how many names one answer of the list may have.
    """

    def __init__(
        self, bucket: Bucket, now: Callable[[], datetime], *, page: int = 1000
    ) -> None:
        self._bucket = bucket
        self._page = page
        self._now = now
        parts = urlsplit(bucket.endpoint)
        self._host = parts.netloc
        self._secure = parts.scheme == "https"

    def names(self) -> list[str]:
        """Every object under the prefix, without it."""
        found: list[str] = []
        token = ""
        while True:
            query = {
                "list-type": "2", "max-keys": str(self._page), "prefix": self._bucket.prefix
            }
            if token:
                query["continuation-token"] = token
            answer = ElementTree.fromstring(self._call("GET", "", query=query))  # noqa: S314 - of the operator's own store
            for element in answer.iter():
                if element.tag.rpartition("}")[2] == "Key":
                    found.append(str(element.text).removeprefix(self._bucket.prefix))
            token = next(
                (str(element.text) for element in answer.iter()
                 if element.tag.rpartition("}")[2] == "NextContinuationToken"), ""
            )
            if not token:
                return found

    def put(self, path: Path) -> None:
        """Upload a file; S3 checks the checksum that is signed with it."""
        self._call("PUT", path.name, source=path)

    def get(self, name: str, target: Path) -> None:
        """Download a file."""
        self._call("GET", name, target=target)

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no failure."""
        self._call("DELETE", name)

    def _call(
        self, method: str, name: str, *, query: Mapping[str, str] | None = None,
        source: Path | None = None, target: Path | None = None,
    ) -> bytes:
        """One request, sent up to three times: each of the four may be repeated."""
        problem = ""
        for _ in range(_TRIES):
            try:
                status, content = self._once(method, name, query or {}, source, target)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if status < 300:
                return content
            problem = f"status {status} {_code(content)}"
            if status < 500:
                break
        raise Unavailable(f"{self._bucket!r} refused {method} {name or 'the list'}: {problem}.")

    def _once(
        self, method: str, name: str, query: Mapping[str, str], source: Path | None,
        target: Path | None,
    ) -> tuple[int, bytes]:
        key = f"{self._bucket.prefix}{name}" if name else ""
        path = quote(f"/{self._bucket.name}/{key}" if key else f"/{self._bucket.name}")
        encoded = "&".join(
            f"{quote(word, safe='')}={quote(value, safe='')}"
            for word, value in sorted(query.items())
        )
        checksum, size = _EMPTY, 0
        if source is not None:
            with source.open("rb") as stream:
                checksum = hashlib.file_digest(stream, "sha256").hexdigest()
            size = source.stat().st_size
        headers = self._signed(method, path, encoded, checksum)
        if source is not None:
            headers["Content-Length"] = str(size)
        connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(
                self._host, timeout=_SECONDS, context=ssl.create_default_context()
            )
            if self._secure else http.client.HTTPConnection(self._host, timeout=_SECONDS)
        )
        try:
            url = f"{path}?{encoded}" if encoded else path
            if source is None:
                connection.request(method, url, headers=headers)
            else:
                with source.open("rb") as body:
                    connection.request(method, url, body, headers)
            answer = connection.getresponse()
            if target is not None and answer.status == 200:
                with target.open("wb") as sink:
                    _pour(answer, sink)
                return 200, b""
            return answer.status, answer.read(_LONGEST_ANSWER)
        finally:
            connection.close()

    def _signed(self, method: str, path: str, query: str, checksum: str) -> dict[str, str]:
        """The headers of a request, with its signature (AWS Signature Version 4)."""
        moment = self._now().astimezone(UTC)
        stamp, day = f"{moment:%Y%m%dT%H%M%SZ}", f"{moment:%Y%m%d}"
        scope = f"{day}/{self._bucket.region}/s3/aws4_request"
        headers = {"host": self._host, "x-amz-content-sha256": checksum, "x-amz-date": stamp}
        names = ";".join(headers)
        canonical = "\n".join([
            method, path, query, *(f"{name}:{value}" for name, value in headers.items()), "",
            names, checksum,
        ])
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, digest])
        key = b"AWS4" + self._bucket.secret_key.encode()
        for word in scope.split("/"):
            key = hmac.new(key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return {
            **headers,
            "Authorization": (
                f"AWS4-HMAC-SHA256 Credential={self._bucket.access_key}/{scope},"
                f"SignedHeaders={names},Signature={signature}"
            ),
        }


def _pour(answer: http.client.HTTPResponse, sink: IO[bytes]) -> None:
    while piece := answer.read(_PIECE):
        sink.write(piece)
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)


def _code(content: bytes) -> str:
    """The error code in S3's answer, for people."""
    try:
        element = ElementTree.fromstring(content).find(".//Code")  # noqa: S314 - of the operator's own store
    except ElementTree.ParseError:
        return ""
    return "" if element is None else str(element.text)
