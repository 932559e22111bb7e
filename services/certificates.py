"""When the certificates end that clients see: measured where they are served.

The hosts of `CERTIFICATE_HOSTS` are connected to as a client does, and the certificate that
comes is read. So a renewal that no proxy has loaded yet shows, which a look at the file would not;
and the gateway needs no right to read the folder of private keys (docs/decisions/0171).
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime

from utils.metrics import gauge

log = logging.getLogger(__name__)

PORT = 443
_TIMEOUT = 10.0

_ENDS = gauge(
    "openalgo_certificate_expires_timestamp_seconds",
    "When the certificate that a host serves ends (Unix time); 0 when it could not be read.",
    ("host",),
    across_workers="mostrecent",
)


class CertificateWatch:
    """Looks at the certificates of `hosts` ("name" or "name:port")."""

    def __init__(
        self, hosts: Sequence[str], read: Callable[[str, int], datetime] | None = None
    ) -> None:
        self._hosts = tuple(hosts)
        self._read = read or certificate_end

    def look(self) -> dict[str, datetime | None]:
        """When each ends, None where none could be read; sets the metric."""
        found: dict[str, datetime | None] = {}
        for entry in self._hosts:
            host, _, port = entry.partition(":")
            try:
                found[entry] = self._read(host, int(port or PORT))
            except (OSError, ValueError) as error:
                log.warning("the certificate of %s can't be read: %s", entry, error)
                found[entry] = None
            ends = found[entry]
            _ENDS.set(ends.timestamp() if ends is not None else 0, host=entry)
        return found


def certificate_end(host: str, port: int) -> datetime:
    """When the certificate ends that is served there. `OSError` when there is none to be had."""
    from cryptography import x509  # more than a megabyte, which most gateways never need

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # an expired one must be read too; nothing is sent
    with (
        socket.create_connection((host, port), _TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    if der is None:
        raise OSError("the host served no certificate")
    return x509.load_der_x509_certificate(der).not_valid_after_utc
