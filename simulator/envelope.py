"""What goes over the wire: the XTS envelope, its errors, and the HTML pages of a bad day (§4)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html"

NGINX_404 = (
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
NGINX_502 = NGINX_404.replace(b"404 Not Found", b"502 Bad Gateway")
EXPRESS_404 = (
    b'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n'
    b"</head>\n<body>\n<pre>Cannot connect to the provided url</pre>\n</body>\n</html>\n"
)
EXPRESS_500 = EXPRESS_404.replace(b"Cannot connect to the provided url", b"Internal Server Error")


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer: status, body, media type, and extra headers."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()


class XtsError(Exception):
    """A refusal in the XTS envelope; raised by handlers and turned into a `Reply`."""

    def __init__(
        self, code: str, description: str, result: Any = None, *, status: int = 400
    ) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.result = result
        self.status = status

    def reply(self) -> Reply:
        return error(self.code, self.description, self.result, status=self.status)


class HtmlError(Exception):
    """An HTML page instead of an envelope (§4.4)."""

    def __init__(self, status: int, page: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.page = page

    def reply(self) -> Reply:
        return Reply(self.status, self.page, HTML_TYPE)


_encode = json.JSONEncoder(separators=(",", ":")).encode


def dumps(value: Any) -> bytes:
    """Compact JSON bytes."""
    return _encode(value).encode()


def success(code: str, description: str, result: Any) -> Reply:
    """`{"type":"success",…}` with HTTP 200."""
    return Reply(
        200,
        dumps({"type": "success", "code": code, "description": description, "result": result}),
    )


def success_raw(code: str, description: str, result: bytes) -> Reply:
    """As `success`, for a result that is JSON text already (books of many rows)."""
    head = f'{{"type":"success","code":"{code}","description":"{description}","result":'
    return Reply(200, head.encode() + result + b"}")


def error(code: str, description: str, result: Any = None, *, status: int = 400) -> Reply:
    """`{"type":"error",…}`; HTTP 400 unless told otherwise, as XTS does for nearly everything."""
    body: dict[str, Any] = {"type": "error", "code": code, "description": description}
    if result is not None:
        body["result"] = result
    return Reply(status, dumps(body))


def invalid(
    field: str, message: str, *, location: str = "body", kind: str = "any.required"
) -> XtsError:
    """The validation refusal of §4.3 for one field."""
    return XtsError(
        "e-property-validation-failed",
        "Bad Request",
        {
            "status": 400,
            "statusText": "Bad Request",
            "errors": [
                {
                    "field": [field],
                    "location": location,
                    "messages": [f'"{field}" {message}'],
                    "types": [kind],
                }
            ],
        },
    )
