"""A process of the gateway for tests: reads funds from many threads at the same moment.

`python -m tests.support.session_worker '<json>'` with `database`, `folder`, `environment` and
`threads`. Prints "ready" when its threads hold the present session, waits for a line, then lets
them all read at once and prints how each ended as a JSON list.
"""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broker.errors import BrokerError
from database.engine import Database
from tests.support.simulated import simulated_stack
from utils.clock import SystemClock


def main() -> None:
    """Run as told on the command line."""
    told = json.loads(sys.argv[1])
    stack = simulated_stack(
        Database(told["database"]), Path(told["folder"]), SystemClock(), told["environment"]
    )
    account = stack.account
    stack.sessions.connection(account)
    together = threading.Barrier(told["threads"])

    def read(_: int) -> str:
        together.wait(30)
        try:
            stack.sessions.read(account, lambda broker, by: broker.orders(deadline=by))
        except BrokerError as error:
            return f"{error.kind}: {error.message}"
        return "ok"

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(told["threads"]) as pool:
        print(json.dumps(list(pool.map(read, range(told["threads"])))), flush=True)
    stack.sessions.close()
    stack.database.dispose()


if __name__ == "__main__":
    main()
