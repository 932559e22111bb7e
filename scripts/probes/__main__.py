"""`python3 -m scripts.probes health|smoke|infrastructure`: see the shell scripts of these names."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.probes import health, infrastructure, smoke
from scripts.rescue import service
from scripts.rescue.http import Client
from scripts.rescue.installation import find
from scripts.rescue.statuses import Failed
from utils.envfile import read_plain

ROOT = Path(__file__).resolve().parent.parent.parent


def parser() -> argparse.ArgumentParser:
    """The options of the three probes."""
    made = argparse.ArgumentParser(prog="probes", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    looks = commands.add_parser("health", description=health.__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    looks.add_argument("--quiet", action="store_true", help="only the exit status")
    tries = commands.add_parser("smoke", description=smoke.__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    tries.add_argument("--account", default="", help="read only this account")
    tries.add_argument("--version", default="", help="the version that has to be served")
    tries.add_argument("--brokers", default="", metavar="NAMES",
                       help="brokers that have to be connected, separated by commas")
    hosts = commands.add_parser("infrastructure", description=infrastructure.__doc__)
    hosts.add_argument("--certificate", default="", metavar="HOST", help="the public name")
    hosts.add_argument("--method", choices=service.METHODS, help="what keeps the service running")
    hosts.add_argument("--app", default="", help="the application's folder")
    hosts.add_argument("--state", default="", help="the folder of the state")
    for one in (looks, tries):
        one.add_argument("--url", default="", help="the gateway (default: this host's)")
        one.add_argument("--api-key-file", default="", help="a file with an API key")
    for one in (looks, tries, hosts):
        one.add_argument("--env-file", default="", help="the service's variables")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run a probe; its exit status."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "infrastructure":
            here = find(ROOT, app=options.app, env_file=options.env_file, state=options.state,
                        environ=os.environ)
            method = options.method or service.detect(here)
            return infrastructure.verify(here, method, host=options.certificate).status()
        client = Client(_url(options), _key(options))
    except (Failed, OSError) as error:
        print(str(error), file=sys.stderr)
        return 2
    if options.command == "health":
        return health.look(client, quiet=options.quiet)
    brokers = tuple(name.strip() for name in options.brokers.split(",") if name.strip())
    return smoke.run(
        client, version=options.version, account=options.account, brokers=brokers
    ).status()


def _url(options: argparse.Namespace) -> str:
    if options.url:
        return str(options.url).rstrip("/")
    named = Path(options.env_file) if options.env_file else ROOT / ".env"
    found = {**os.environ, **read_plain(named)}
    return f"http://127.0.0.1:{found.get('PORT') or '5000'}"


def _key(options: argparse.Namespace) -> str:
    if not options.api_key_file:
        return os.environ.get("OPENALGO_API_KEY", "")
    return Path(options.api_key_file).read_text(encoding="utf-8").strip()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
