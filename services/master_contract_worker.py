"""What the process that loads a master contract does (`services.aside` starts it).

One order comes in as a line on standard input, answers go out as lines on standard output
(`services.contract_order`). When nobody reads them any more, the process ends and changes nothing.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import traceback
from typing import Any, TextIO

from broker.errors import BrokerError, SessionExpired
from services.contract_loader import ContractLoader, Implausible
from services.contract_order import ContractOrder

TELL_EVERY = 0.5  # seconds
_UNHEARD = 3


class _Teller:
    """Writes answers, and the progress every half second, until it is closed."""

    def __init__(self, out: TextIO, loader: ContractLoader) -> None:
        self._out = out
        self._loader = loader
        self._over = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, answer: dict[str, Any]) -> None:
        """Write one line; the end of the process when nobody reads it."""
        with self._writing:
            try:
                self._out.write(json.dumps(answer) + "\n")
                self._out.flush()
            except (OSError, ValueError):
                os._exit(_UNHEARD)  # an unpublished import is rolled back by its end

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._over.wait(TELL_EVERY):
            self.tell({"progress": self._loader.progress()})


def serve(order: ContractOrder, out: TextIO) -> int:
    """Carry out one order; the exit status: 0 when a contract was published."""
    loader = ContractLoader(order)
    teller = _Teller(out, loader)
    teller.start()
    try:
        answer: dict[str, Any] = {"done": loader.run()}
    except Implausible as error:
        answer = _failed(error.message, kind="implausible", report=error.report)
    except SessionExpired as error:
        answer = _failed(error.message, kind=error.kind, partial=error.partial)
    except BrokerError as error:
        answer = _failed(error.message, kind=error.kind)
    except Exception as error:  # whatever it is, the job must end with a reason
        traceback.print_exc()
        answer = _failed(
            f"The master contract could not be loaded ({type(error).__name__}); the log says more.",
            kind="internal_error",
        )
    teller.close()
    teller.tell(answer)
    loader.close()
    return 0 if "done" in answer else 1


def _failed(message: str, **rest: Any) -> dict[str, Any]:
    return {"failed": {"error": message, **rest}}


def main() -> int:
    """Read the order and carry it out."""
    gc.disable()  # rows make no cycles, and the process is short
    return serve(ContractOrder.from_line(sys.stdin.readline()), sys.stdout)

