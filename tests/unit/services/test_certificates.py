"""Certificates are read where they are served, expired and unknown ones too."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from services.certificates import CertificateWatch


@pytest.fixture
def served(tmp_path: Path) -> Iterator[int]:
    """The port of a server with a certificate of its own that ends in twenty days."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "20", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


def told(host: str) -> float | None:
    return REGISTRY.get_sample_value(
        "openalgo_certificate_expires_timestamp_seconds", {"host": host}
    )


def test_the_end_of_a_certificate_is_read_from_the_wire(served: int) -> None:
    host = f"127.0.0.1:{served}"
    ends = CertificateWatch([host]).look()[host]
    assert ends is not None
    assert timedelta(days=19) < ends - datetime.now(UTC) <= timedelta(days=20)
    assert told(host) == ends.timestamp()


def test_a_host_that_does_not_answer_is_zero_and_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    host = f"127.0.0.1:{port}"
    assert CertificateWatch([host]).look() == {host: None}
    assert told(host) == 0


def test_the_port_is_443_unless_it_is_said() -> None:
    asked: list[tuple[str, int]] = []

    def read(host: str, port: int) -> datetime:
        asked.append((host, port))
        return datetime(2027, 1, 1, tzinfo=UTC)

    CertificateWatch(["a.example", "b.example:8443"], read).look()
    assert asked == [("a.example", 443), ("b.example", 8443)]
