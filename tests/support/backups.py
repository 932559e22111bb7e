"""An instance with a database, backups and a mirror of them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from database import journal
from database.engine import Database
from database.journal import Intent, IntentKind, IntentState
from services.backup import BackupPlan, BackupService
from services.errors import Unavailable
from tests.support.clocks import ManualClock
from tests.support.databases import NOON, add_account

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978"
DAY = timedelta(days=1)


class Folder:
    """A mirror that is a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False

    def names(self) -> list[str]:
        if self.broken:
            raise Unavailable("the bucket is away")
        return [path.name for path in self.path.iterdir()]

    def put(self, path: Path) -> None:
        shutil.copy(path, self.path / path.name)

    def get(self, name: str, target: Path) -> None:
        shutil.copy(self.path / name, target)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()


class Kept:
    """An instance with backups."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.clock = ManualClock(NOON)
        self.folder = folder / "backups"
        self.mirror = Folder(folder / "bucket")
        self.mirror.path.mkdir()
        self.url = database.url.render_as_string(hide_password=False)
        self.account = add_account(database)
        self.settings = {"SECRET_KEY": "it's $a \"canary\"", "PORT": "5000"}
        self.count = 0

    def service(self, *, mirror: Folder | None = None, key: str = KEY) -> BackupService:
        plan = BackupPlan(self.url, self.folder, key, 30 * DAY, 7, self.settings)
        return BackupService(plan, self.clock, mirror)

    def order(self, quantity: int = 5) -> None:
        self.count += 1
        intent = Intent(
            f"REF{self.count}", f"TAG{self.count}", IntentKind.PLACE, self.account, None, "q", NOON,
            symbol="INFY", quantity=quantity, state=IntentState.ACCEPTED, broker_order_id="7",
        )
        with self.database.write() as conn:
            journal.new_intent(conn, intent)

    def orders(self) -> int:
        with self.database.read() as conn:
            return len(journal.list_intents(conn, [self.account], NOON - DAY))


def load_symbols(database: Database, generation: int = 1) -> None:
    with database.symbols_engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM symbol_generation")
        conn.exec_driver_sql(
            f"INSERT INTO symbol_generation VALUES ('wisdom', {generation}, 0, 'today', '{{}}')"
        )
