"""`python -m simulator`: start the exchange, or print its invented credentials."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.profiles import PROFILES, SEGMENT_NUMBERS, credentials_document

if TYPE_CHECKING:
    from simulator.exchange import Options

log = logging.getLogger("simulator")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m simulator", description="A Symphony XTS exchange on loopback."
    )
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", type=int, default=7443, help="0 takes a free port")
    made.add_argument("--profile", action="append", choices=list(PROFILES), help="repeatable")
    made.add_argument("--master", choices=("small", "full"), default="full")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--date", type=date.fromisoformat, help="trading date of the master")
    made.add_argument("--cache-dir", type=Path, default=Path(".cache/simulator"))
    made.add_argument("--limits", choices=("published", "off"), default="published")
    made.add_argument("--latency", choices=("off", "realistic"), default="off")
    made.add_argument("--hours", choices=("always", "real"), default="always")
    made.add_argument("--malformed", type=int, default=0, help="broken master rows a segment")
    made.add_argument(
        "--empty-segments",
        action="append",
        default=[],
        choices=list(SEGMENT_NUMBERS),
        help="segments with an empty master (live Jainam: NSECD, MCXFO)",
    )
    made.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep the books of the day there (default: forget them at the end)",
    )
    made.add_argument("--log", type=Path, help="log file (default: standard error)")
    made.add_argument("--parent-pid", type=int, help="stop when this process is gone")
    made.add_argument("--print-credentials", action="store_true")
    made.add_argument("--json", action="store_true")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run; returns the exit status."""
    args = parser().parse_args(argv)
    if args.print_credentials:
        print_credentials(args.profile, args.json)
        return 0
    logging.basicConfig(
        filename=args.log,
        level=logging.INFO if args.log else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    from simulator.exchange import Options

    options = Options(
        profiles=tuple(args.profile or PROFILES),
        size=args.master,
        seed=args.seed,
        cache_dir=args.cache_dir,
        limits=args.limits == "published",
        latency=args.latency,
        malformed=args.malformed,
        empty_segments=frozenset(args.empty_segments),
        day=args.date,
        always_open=args.hours == "always",
    )
    try:
        asyncio.run(serve(options, args.host, args.port, args.parent_pid, args.state))
    except OSError as wrong:
        sys.stderr.write(f"simulator: cannot listen on {args.host}:{args.port}: {wrong}\n")
        return 1
    return 0


def print_credentials(profiles: list[str] | None, as_json: bool) -> None:
    """Show every invented login."""
    document = credentials_document(profiles)
    if as_json:
        _say(json.dumps(document, indent=2))
        return
    for name, credentials in document.items():
        for item in credentials:
            _say(f"{name} {item['label']}: user {item['user_id']}")
            _say(f"  interactive {item['interactive_key']} / {item['interactive_secret']}")
            _say(f"  market data {item['market_key']} / {item['market_secret']}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def serve(
    options: Options, host: str, port: int, parent: int | None, state: Path | None = None
) -> None:
    """Listen, say so on the first line of standard output, and run until told to stop.

    state: the file that keeps the books; what became of the one that was there is in that line.
    """
    from simulator.app import Server
    from simulator.exchange import Exchange
    from simulator.state.keeper import Keeper

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    exchange = Exchange(options, defer=lambda delay, action: _call_later(loop, delay, action))
    keeper = Keeper(state, exchange) if state is not None else None
    server = Server(exchange)
    actual = await server.start(host, port)
    if keeper is not None:
        keeper.start()
    url = f"http://{host}:{actual}"
    said = {"event": "listening", "url": url, "pid": os.getpid()}
    _say(json.dumps(said if keeper is None else {**said, "state": keeper.became}))
    gc.collect()
    gc.freeze()  # the instruments stay: looking through them again takes a tenth of a second
    log.info("listening on %s, profiles %s", url, ", ".join(options.profiles))
    watcher = asyncio.create_task(_watch(parent, stop)) if parent is not None else None
    try:
        await stop.wait()
    finally:
        if watcher is not None:
            watcher.cancel()
        await server.stop()
        if keeper is not None:
            await keeper.close()
        log.info("stopped")


def _call_later(loop: asyncio.AbstractEventLoop, delay: float, action: object) -> None:
    if callable(action):
        loop.call_later(delay, action)


async def _watch(parent: int, stop: asyncio.Event) -> None:
    """Stop when the parent process is gone (a child also sees a parent that is not reaped yet)."""
    child = os.getppid() == parent
    while os.getppid() == parent if child else _exists(parent):
        await asyncio.sleep(0.5)
    stop.set()


def _exists(pid: int) -> bool:
    """Whether a process lives; one that ended but was not reaped yet (a zombie) does not."""
    try:
        os.kill(pid, 0)
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
    except FileNotFoundError:  # it ended just now, or this system has no /proc
        return not Path("/proc/self").exists()
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
