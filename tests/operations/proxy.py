"""A real nginx with the shipped configuration, on other ports and with a certificate of its own."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.operations.serving import free_port, wait_for
from tests.support.programs import program
from utils.config import ROOT

SHIPPED = ROOT / "deploy" / "nginx"
_AROUND = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/start.log;
{user}
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/openalgo*.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    folder: Path
    http: int
    https: int
    certificate: Path

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts the certificate and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def logs(self) -> str:
        """Everything that nginx wrote."""
        return "".join(
            path.read_text(encoding="utf-8") for path in sorted(self.folder.glob("*.log"))
        )


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-made certificate for this machine's addresses, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "fullchain.pem", folder / "privkey.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return certificate, private


def prepare(
    folder: Path, gateway: int, feed: int, upstreams: Path = SHIPPED / "openalgo-upstreams.conf"
) -> Proxy:
    """Write what nginx reads. Every replacement must hit, or the test tests something else."""
    certificate, private = make_certificate(folder)
    proxy = Proxy(folder, free_port(), free_port(), certificate)
    text = "".join(
        path.read_text(encoding="utf-8") for path in (upstreams, SHIPPED / "openalgo.conf")
    )
    for old, new in {
        "listen 80 default_server": f"listen {proxy.http} default_server",
        "listen [::]:80 default_server;": "",
        "listen 443 ssl http2 default_server": f"listen {proxy.https} ssl http2 default_server",
        "listen [::]:443 ssl http2 default_server;": "",
        ":5000": f":{gateway}",
        ":8765": f":{feed}",
        "/etc/letsencrypt/live/openalgo/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/openalgo/privkey.pem": str(private),
        "/var/log/nginx/": f"{folder}/",
        "/var/www/letsencrypt": str(folder),
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "openalgo.conf").write_text(text, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    around = _AROUND.format(folder=folder, user=user)
    (folder / "nginx.conf").write_text(around, encoding="utf-8")
    return proxy


def check(proxy: Proxy) -> subprocess.CompletedProcess[str]:
    """`nginx -t`."""
    return subprocess.run(
        [program("nginx"), "-t", "-p", str(proxy.folder), "-c", str(proxy.folder / "nginx.conf")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextmanager
def nginx(folder: Path, gateway: int, feed: int) -> Iterator[Proxy]:
    """Run it until the block ends."""
    proxy = prepare(folder, gateway, feed)
    process = subprocess.Popen(
        [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"),
         "-g", "daemon off;"]
    )  # fmt: skip
    try:
        wait_for(lambda: process.poll() is not None or (folder / "nginx.pid").is_file())
        assert process.poll() is None, (folder / "start.log").read_text(encoding="utf-8")
        yield proxy
    finally:
        process.terminate()
        process.wait(10)
